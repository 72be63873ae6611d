//! `cargo bench`: how many instructions a transaction costs in user space, by callgrind.
//!
//! Counted in the real program before a real PostgreSQL, because what it costs to be woken is part
//! of it. The counting itself is `bench/scenarios/instructions.py`; where valgrind is missing it
//! says so. Figures of a busy machine are as good as of a quiet one.
#![expect(clippy::print_stderr, reason = "what a benchmark is for")]

use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/run");
    let status = Command::new(&run)
        .args(["--only", "instructions", "--dry", "--pgusher", env!("CARGO_BIN_EXE_pgusher")])
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("instructions: {} ended with {status}", run.display());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("instructions: {}: {error} (it needs Python 3)", run.display());
            ExitCode::FAILURE
        }
    }
}
