//! Room `boot`.
