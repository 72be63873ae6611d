//! Room `session`.

pub mod lexer;
