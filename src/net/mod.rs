//! Sockets: one stream type whatever the transport, TLS on both sides, listeners.
//!
//! This room knows bytes and certificates; it knows no PostgreSQL message.

mod home;
mod listen;
mod stream;
pub mod tls;

pub use home::Home;
pub use listen::{Listener, TcpOptions};
pub use stream::{Socket, Stream};
