//! All commands there are. What is not here is refused.

use super::act;
use super::answer::Column;
use super::command::Argument::{None, Optional, Required};
use super::command::{Argument, Command, Run};
use super::show;
use crate::auth::Power;

const fn show(words: &'static str, columns: &'static [Column], run: Run) -> Command {
    Command { words, argument: None, power: Power::Stats, columns, run }
}

const fn act(words: &'static str, argument: Argument, run: Run) -> Command {
    Command { words, argument, power: Power::Admin, columns: &[], run }
}

/// The commands, in the order `SHOW HELP` lists them.
pub(super) static COMMANDS: [Command; 34] = [
    show("SHOW HELP", show::HELP, Run::Show(show::help)),
    show("SHOW POOLS", show::POOLS, Run::Show(show::pools)),
    show("SHOW CLIENTS", show::CLIENTS, Run::Show(show::clients)),
    show("SHOW SERVERS", show::SOCKETS, Run::Show(show::servers)),
    show("SHOW STATS", show::STATS, Run::Show(show::stats)),
    show("SHOW STATS_TOTALS", show::STATS_PART, Run::Show(show::stats_totals)),
    show("SHOW STATS_AVERAGES", show::STATS_PART, Run::Show(show::stats_averages)),
    show("SHOW TOTALS", show::TOTALS, Run::Show(show::totals)),
    show("SHOW DATABASES", show::DATABASES, Run::Show(show::databases)),
    show("SHOW USERS", show::USERS, Run::Show(show::users)),
    show("SHOW LISTS", show::LISTS, Run::Show(show::lists)),
    show("SHOW STATE", show::KEY_VALUE, Run::Show(show::state)),
    show("SHOW CONFIG", show::CONFIG, Run::Show(show::config)),
    show("SHOW VERSION", show::VERSION, Run::Show(show::version)),
    Command {
        argument: Optional("tenant"),
        ..show("SHOW TENANTS", show::TENANTS, Run::Look(show::tenants))
    },
    show("SHOW BUDGETS", show::BUDGETS, Run::Show(show::budgets)),
    show("SHOW WAITS", show::WAITS, Run::Show(show::waits)),
    show("SHOW PINS", show::PINS, Run::Show(show::pins)),
    // What drivers ask of any server.
    show("SHOW CLIENT_ENCODING", show::ENCODING, Run::Show(|_| show::one("UTF8"))),
    show("SHOW DATESTYLE", show::DATE_STYLE, Run::Show(|_| show::one("ISO"))),
    show("SHOW TIMEZONE", show::TIME_ZONE, Run::Show(|_| show::one("GMT"))),
    show("SHOW STANDARD_CONFORMING_STRINGS", show::STRINGS, Run::Show(|_| show::one("on"))),
    show("SHOW TRANSACTION_ISOLATION", show::ISOLATION, Run::Show(|_| show::one("read committed"))),
    act("PAUSE", Optional("tenant"), Run::Act(act::pause)),
    act("RESUME", Optional("tenant"), Run::Act(act::resume)),
    act("DISABLE", Required("tenant"), Run::Act(act::disable)),
    act("ENABLE", Required("tenant"), Run::Act(act::enable)),
    act("KILL", Optional("tenant"), Run::Act(act::kill)),
    act("KILL_CLIENT", Required("id"), Run::Act(act::kill_client)),
    act("RECONNECT", Optional("tenant"), Run::Act(act::reconnect)),
    act("RELOAD", None, Run::Act(act::reload)),
    act("SHUTDOWN", None, Run::Act(act::shut_down)),
    act("SHUTDOWN WAIT_FOR_CLIENTS", None, Run::Act(act::drain)),
    act("SHUTDOWN WAIT_FOR_SERVERS", None, Run::Act(act::drain)),
];

/// The command of this name, in capitals.
pub(super) fn find(words: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.words == words)
}
