//! The PostgreSQL protocol as bytes: frames, the startup packets, the messages pgusher itself
//! says, and the buffer they travel in.
//!
//! Pure code on slices. Every length is bounded before it is used and every message is read
//! within its own declared length; nothing here allocates by a length from the wire.
//! PostgreSQL documentation, chapter 55 (Frontend/Backend Protocol).

mod buffer;
mod cstr;
mod frame;
mod message;
mod notice;
mod query;
mod startup;
pub mod tag;

pub use buffer::Buffer;
pub use cstr::{Fields, split_cstr};
pub use frame::{BODY_BYTES_MAX, HEADER_BYTES, Header, Malformed, SMALL_BYTES_MAX};
pub use message::{CancelKey, Writer};
pub use notice::ErrorFields;
pub use query::{Named, bind_names, describe_target, execute_portal, parse_name};
pub use startup::{
    Greeting, GreetingHeader, ProtocolVersion, STARTUP_BYTES_MAX, StartupMessage, negotiate,
};
