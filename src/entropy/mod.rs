//! Binary arithmetic coding with mixed, adaptive probabilities, in integer arithmetic: docs/format.md, "Entropy
//! coding". Nothing here knows what a symbol means.
//!
//! One function describes the syntax for both directions: it is generic over [`BitCoder`], and a decoder ignores
//! the bit that it is given and returns the one that it read.

mod adaptive;
mod binarize;
mod logistic;
mod logit_mixer;
mod mixer;
mod range_coder;

pub(crate) use adaptive::AdaptiveBit;
pub(crate) use binarize::{
    EXP_GOLOMB_DECISIONS, MagnitudeBit, code_bits, code_exp_golomb, code_magnitude, code_symbol,
};
pub(crate) use logistic::{squash, stretch};
pub(crate) use logit_mixer::LogitMixer;
pub(crate) use mixer::{ContextMixer, Decision, MixerRules, MixerStart, ONE};
pub(crate) use range_coder::{BitCoder, CostCounter, RangeDecoder, RangeEncoder};
