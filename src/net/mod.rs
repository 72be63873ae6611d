//! Sockets: one stream type whatever the transport, TLS on both sides, listeners.
//!
//! This room knows bytes and certificates; it knows no PostgreSQL message.

mod stream;

pub use stream::{Socket, Stream};
