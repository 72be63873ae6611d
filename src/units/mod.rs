//! Values as operators write them: durations, sizes, secrets.
//!
//! Every setting uses these, so that one spelling is read the same everywhere and a secret can
//! not be printed by accident.

mod hex;
mod secret;
mod size;
mod span;
mod utc;

pub use hex::hex;
pub use secret::Secret;
pub use size::Size;
pub use span::Span;
pub use utc::Utc;
