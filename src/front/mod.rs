//! The front: accepts sockets and hands them to sessions.
//!
//! It bounds how many there are, logged in or not, and knows nothing of what they say.

mod accept;
mod certificate;
mod settings;

pub use accept::Front;
pub use certificate::CertificateExpiry;
pub use settings::FrontSettings;
