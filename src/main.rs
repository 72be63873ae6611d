//! The `pgusher` binary: everything lives in the library.

fn main() {}
