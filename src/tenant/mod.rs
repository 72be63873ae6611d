//! Room `tenant`.
