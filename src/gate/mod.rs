//! The decision: the review as received, exemptions, the verdict and its wording. Pure: no clock, socket, disk or
//! task in here.

pub mod exemption;
pub mod review;
pub mod rules;

pub use exemption::{Exemption, ExemptionSpec, Traits};
pub use review::{Operation, Request, ReviewError, User};
pub use rules::{Rules, Uncovered};
