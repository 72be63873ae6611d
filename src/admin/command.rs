//! One command: its words, who may give it, what it answers.

use futures_util::future::BoxFuture;

use super::answer::{Column, Row};
use super::desk::Desk;
use super::table;
use super::words::words;
use crate::auth::{Operator, Power};
use crate::fault::{Blame, Fault, SqlState};

/// An entry of the table.
pub(super) struct Command {
    /// What is typed, in capitals.
    pub(super) words: &'static str,
    /// What may stand behind it, for `SHOW HELP`.
    pub(super) argument: Argument,
    /// Who may give it.
    pub(super) power: Power,
    /// What it answers; empty for commands that only act.
    pub(super) columns: &'static [Column],
    /// What it does.
    pub(super) run: Run,
}

/// What stands behind a command's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    None,
    Optional(&'static str),
    Required(&'static str),
}

/// What a command comes to, in time.
pub(super) type Outcome<'a, T> = BoxFuture<'a, Result<T, Fault>>;

/// How a command is carried out.
pub(super) enum Run {
    /// From what is in memory.
    Show(fn(&Desk) -> Vec<Row>),
    /// With questions to the registry.
    Look(for<'a> fn(&'a Desk, Option<&'a str>) -> Outcome<'a, Vec<Row>>),
    /// By changing something.
    Act(for<'a> fn(&'a Desk, Option<&'a str>) -> Outcome<'a, ()>),
}

/// A command as it was given.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) command: &'static Command,
    pub(super) argument: Option<String>,
}

impl Order {
    /// Reads a command; `None` when nothing was typed.
    ///
    /// # Errors
    /// 42601 for whatever is not in the table, in the words it is there.
    pub(super) fn read(text: &str) -> Result<Option<Self>, Fault> {
        if is_driver_setting(text) {
            return Ok(Some(Self { command: &SET, argument: None }));
        }
        let words = words(text).ok_or_else(unknown)?;
        if words.is_empty() {
            return Ok(None);
        }
        // The longer match first: `SHOW STATS_TOTALS` is a word of its own, `SHUTDOWN
        // WAIT_FOR_CLIENTS` are two.
        for count in (1..=words.len().min(2)).rev() {
            let name = words[..count].join(" ").to_ascii_uppercase();
            let Some(command) = table::find(&name) else { continue };
            let argument = match (command.argument, &words[count..]) {
                (Argument::None | Argument::Optional(_), []) => None,
                (Argument::Optional(_) | Argument::Required(_), [one]) => Some(one.clone()),
                _ => return Err(unknown().detail(format!("It is: {}", command.usage()))),
            };
            return Ok(Some(Self { command, argument }));
        }
        Err(unknown())
    }

    /// Refuses an operator whose power does not reach so far. The only way to [`Run`] is behind
    /// it.
    fn authorise(&self, operator: &Operator) -> Result<(), Fault> {
        if operator.power() >= self.command.power {
            return Ok(());
        }
        let text = format!("{} needs the power of an admin", self.command.words);
        Err(Fault::new(Blame::Client, SqlState::INSUFFICIENT_PRIVILEGE, text))
    }

    /// Carries it out for `operator`.
    ///
    /// # Errors
    /// 42501 without the power; else what the command says.
    pub(super) async fn run(&self, desk: &Desk, operator: &Operator) -> Result<Vec<Row>, Fault> {
        self.authorise(operator)?;
        let argument = self.argument.as_deref();
        match &self.command.run {
            Run::Show(show) => Ok(show(desk)),
            Run::Look(look) => look(desk, argument).await,
            Run::Act(act) => {
                let (command, operator) = (self.command.words, operator.subject());
                tracing::info!(operator, command, argument, "console command");
                act(desk, argument).await.map(|()| Vec::new())
            }
        }
    }
}

impl Command {
    /// How it is typed.
    pub(super) fn usage(&self) -> String {
        match self.argument {
            Argument::None => self.words.to_owned(),
            Argument::Optional(what) => format!("{} [{what}]", self.words),
            Argument::Required(what) => format!("{} {what}", self.words),
        }
    }

    /// The tag of its CommandComplete: its first word, as PgBouncer has it.
    pub(super) fn tag(&self) -> &'static str {
        self.words.split(' ').next().unwrap_or(self.words)
    }
}

/// What drivers set unasked when they connect: heard and not heeded.
static SET: Command = Command {
    words: "SET",
    argument: Argument::None,
    power: Power::Stats,
    columns: &[],
    run: Run::Show(|_| Vec::new()),
};

/// The settings that [`SET`] is for.
const DRIVER_SETTINGS: [&str; 7] = [
    "application_name",
    "client_encoding",
    "datestyle",
    "default_transaction_isolation",
    "extra_float_digits",
    "standard_conforming_strings",
    "timezone",
];

fn is_driver_setting(text: &str) -> bool {
    let mut words = text.split(|c: char| c.is_whitespace() || c == '=').filter(|w| !w.is_empty());
    words.next().is_some_and(|word| word.eq_ignore_ascii_case("set"))
        && words.next().is_some_and(|name| {
            DRIVER_SETTINGS.iter().any(|known| known.eq_ignore_ascii_case(name))
        })
}

fn unknown() -> Fault {
    Fault::new(Blame::Client, SqlState::SYNTAX_ERROR, "the console has no such command")
        .hint("SHOW HELP lists the commands; one at a time, without BEGIN and COMMIT.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, Option<String>)> {
        let order = Order::read(text).ok()??;
        Some((order.command.words.to_owned(), order.argument))
    }

    #[test]
    fn commands_are_read_whatever_their_case() {
        for (text, words, argument) in [
            ("show pools;", "SHOW POOLS", None),
            ("SHOW STATS_TOTALS", "SHOW STATS_TOTALS", None),
            ("pause", "PAUSE", None),
            ("Pause \"tenant_a\"", "PAUSE", Some("tenant_a")),
            ("shutdown wait_for_clients", "SHUTDOWN WAIT_FOR_CLIENTS", None),
            ("SHOW TENANTS a", "SHOW TENANTS", Some("a")),
            ("SET extra_float_digits = 3", "SET", None),
        ] {
            assert_eq!(read(text), Some((words.to_owned(), argument.map(str::to_owned))), "{text}");
        }
        assert!(matches!(Order::read(" ; "), Ok(None)));
    }

    #[test]
    fn what_is_not_in_the_table_is_refused() {
        for text in [
            "select 1",
            "show",
            "show pools extra",
            "disable",
            "pause a b",
            "set work_mem = 1",
            "begin",
            "show fds",
            "kill; resume",
        ] {
            let fault = Order::read(text).err().unwrap_or_else(|| panic!("{text} was read"));
            assert_eq!(fault.state(), SqlState::SYNTAX_ERROR, "{text}");
            assert!(fault.hint_text().is_some_and(|hint| hint.contains("SHOW HELP")));
        }
    }

    #[test]
    fn every_command_that_acts_needs_an_admin() {
        for command in &table::COMMANDS {
            let acts = matches!(command.run, Run::Act(_));
            assert_eq!(command.power == Power::Admin, acts, "{}", command.words);
            assert_eq!(command.columns.is_empty(), acts, "{}", command.words);
            assert_eq!(command.words, command.words.to_ascii_uppercase());
            let same = table::COMMANDS.iter().filter(|other| other.words == command.words);
            assert_eq!(same.count(), 1, "{} stands twice", command.words);
        }
    }
}
