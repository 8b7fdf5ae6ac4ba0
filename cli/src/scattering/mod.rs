//! Simulated small-angle scattering: the intensity |F(q)|² of one oriented particle on a flat detector.
//!
//! A particle is a sum of homogeneous bodies with contrasts; F is the sum of their analytic form factor amplitudes
//! (Pedersen, Adv. Colloid Interface Sci. 70 (1997) 171; Guinier & Fournet, 1955). Lengths are in Å, q in 1/Å.

pub mod body;
pub mod family;
pub mod frame;

pub use family::{BROAD_FAMILIES, Family};
pub use frame::{Detector, Orientation};
