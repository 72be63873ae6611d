//! The `pgusher` binary: everything lives in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let code = pgusher::cli::run(std::env::args_os());
    pgusher::observe::flush();
    code
}
