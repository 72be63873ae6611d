//! Phone numbers: which tenant each belongs to.
//!
//! A number has one owner. The registry says who; processes remember it and are told when it
//! changes hands. No log line and no metric holds a number.

mod e164;
mod numbers;
mod proof;

pub use e164::{E164, NotE164};
pub use numbers::{Held, Numbers};
pub use proof::{NumberProof, Proof};
