//! Parts of the encoder that a benchmark may leave out, to see what each gives and costs. Every stream decodes as ever.
//!
//! With the feature `testing` a thread chooses; without it all parts are always there.

/// A part that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), allow(dead_code))]
pub enum Part {
    /// A centre of symmetry, and with it mirrored predictors, contexts and blocks.
    Symmetry,
    /// Prediction that is not rounded to the grid of steps.
    Aligned,
    /// Prediction that is.
    Grid,
    /// Pixels under the noise model.
    Modelled,
    /// The network's latents.
    Latents,
    /// Linear atoms of the network's basis.
    Linear,
    /// Long searches for the levels of linear atoms.
    LongSearch,
    /// Whether to ask a sample if the built-in model is worth its time.
    Sampling,
}

#[cfg(feature = "testing")]
thread_local! {
    static LEFT_OUT: std::cell::Cell<Option<Part>> = const { std::cell::Cell::new(None) };
}

/// Chunks that this thread compresses do without a part from now on; with all where it is `None`.
#[cfg(feature = "testing")]
pub fn leave_out(part: Option<Part>) {
    LEFT_OUT.set(part);
}

/// Whether a part is there.
#[cfg(feature = "testing")]
pub(crate) fn has(part: Part) -> bool {
    LEFT_OUT.get() != Some(part)
}

/// Whether a part is there.
#[cfg(not(feature = "testing"))]
pub(crate) const fn has(_: Part) -> bool {
    true
}
