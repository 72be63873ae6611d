//! Configuration: file, then environment, then `--set`, into the Settings each room owns.
//!
//! This room knows where values come from and nothing of what they mean. It reports every problem
//! at once, each with the place and the key it was set by, before anything is started. The
//! commented reference, `config/pgusher.toml`, is written from the rooms' own documentation by
//! `tests/config_reference.rs`.

mod leaf;
mod nearest;
mod problem;
mod settings;
mod sources;
mod trial;

pub use problem::{Problem, Problems};
pub use settings::Config;
pub use sources::{Named, Sources};
