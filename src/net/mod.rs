//! Sockets: one stream type whatever the transport, TLS on both sides, listeners.
//!
//! This room knows bytes and certificates; it knows no PostgreSQL message.

mod listen;
mod network;
mod stream;
mod thread;
pub mod tls;

pub use listen::{Arrived, Entrance, Listener, TcpOptions};
pub use network::network;
pub use stream::{Family, Socket, Stream};
pub use thread::{DataThread, Running, spawn};
