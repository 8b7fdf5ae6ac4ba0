//! Codes of patches as the device's library takes them: the entries of all patches in a row, and where each begins.

use h5z_sae::sae::backend::CheckedCodes;

use crate::library::RawCodes;

/// One list of (index, number) for each patch.
#[derive(Default)]
struct Entries {
    start: Vec<u32>,
    index: Vec<u32>,
    number: Vec<i32>,
}

impl Entries {
    /// # Errors
    /// Where there are more entries than 32 bits count.
    fn push(&mut self, entries: impl Iterator<Item = (u32, i32)>) -> Result<(), String> {
        let (indices, numbers): (Vec<_>, Vec<_>) = entries.unzip();
        self.start.push(count(self.index.len())?);
        self.index.extend(indices);
        self.number.extend(numbers);
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        self.start.push(count(self.index.len())?);
        Ok(())
    }
}

/// Codes of a batch.
pub(crate) struct CodeLists {
    n_patches: u32,
    latents: Entries,
    linear: Entries,
    step_quarters: Vec<u8>,
}

impl CodeLists {
    /// As the codes are checked, every step of a latent is below 2²⁵.
    ///
    /// # Errors
    /// Where there are more entries than 32 bits count.
    pub(crate) fn try_new(checked: CheckedCodes<'_>) -> Result<Self, String> {
        let (codes, latent_frac_bits) = (checked.codes(), checked.model().latent_frac_bits());
        let (mut latents, mut linear) = (Entries::default(), Entries::default());
        for code in codes {
            let shift = latent_frac_bits - code.latent_step_log2;
            latents.push(code.latents.iter().map(|&(index, level)| (index, level << shift)))?;
            linear.push(code.linear.iter().copied())?;
        }
        latents.close()?;
        linear.close()?;
        let step_quarters = codes.iter().map(|code| code.linear_step_quarters).collect();
        Ok(Self { n_patches: count(codes.len())?, latents, linear, step_quarters })
    }

    /// Pointers that hold as long as the lists.
    pub(crate) fn raw(&self) -> RawCodes {
        RawCodes {
            n_patches: self.n_patches,
            latent_start: self.latents.start.as_ptr(),
            latent_index: self.latents.index.as_ptr(),
            latent_step: self.latents.number.as_ptr(),
            linear_start: self.linear.start.as_ptr(),
            linear_index: self.linear.index.as_ptr(),
            linear_level: self.linear.number.as_ptr(),
            linear_step_quarters: self.step_quarters.as_ptr(),
        }
    }
}

/// # Errors
/// A sentence where `len` is beyond 32 bits.
pub(crate) fn count(len: usize) -> Result<u32, String> {
    u32::try_from(len).map_err(|_| format!("{len} patches or levels at once: below 2^32 allowed"))
}
