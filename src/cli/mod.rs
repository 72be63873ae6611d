//! Room `cli`.

pub mod dev;
