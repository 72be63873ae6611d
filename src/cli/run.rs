//! From the command line to the exit code.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Builder;

use super::check::check;
use super::dev::dev;
use super::healthcheck::healthcheck;
use super::migrate::migrate;
use super::serve::serve;
use super::tenant::tenant;
use super::token::token;
use super::version::version;
use super::{Answer, Arguments, Command, Failure};

/// Runs one command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Clap's own words, to the stream it chooses; help and version are no failures.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let as_json = arguments.common.json;
    match dispatch(&arguments) {
        Ok(answer) => {
            drop(writeln!(std::io::stdout(), "{}", answer.print(as_json)));
            ExitCode::SUCCESS
        }
        Err(failure) if as_json => {
            drop(writeln!(std::io::stdout(), "{}", failure.print(true)));
            failure.code()
        }
        Err(failure) => {
            drop(writeln!(std::io::stderr(), "pgusher: {}", failure.print(false)));
            failure.code()
        }
    }
}

fn dispatch(arguments: &Arguments) -> Result<Answer, Failure> {
    match &arguments.command {
        Command::Serve => serve(&arguments.common),
        Command::Dev(asked) => dev(&arguments.common, asked),
        Command::Tenant(asked) => block_on(tenant(&arguments.common, asked)),
        Command::Token(asked) => block_on(token(&arguments.common, asked)),
        Command::Migrate(asked) => block_on(migrate(&arguments.common, asked)),
        Command::Check(asked) => block_on(check(&arguments.common, asked)),
        Command::Healthcheck(asked) => block_on(healthcheck(&arguments.common, asked)),
        Command::Version => Ok(version()),
    }
}

/// Runs a command that is one short conversation.
fn block_on<F>(future: F) -> Result<Answer, Failure>
where
    F: Future<Output = Result<Answer, Failure>>,
{
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Failure::new(format!("no runtime: {e}")))?.block_on(future)
}
