//! The admin console: what an operator who connects to database `pgusher` talks to.
//!
//! Commands stand in one table ([`table`]) with the power each needs; what is not in it does not
//! exist, and whoever has not the power is refused, command by command. Words and columns are
//! PgBouncer's where it has them, so that tools made for it work. The console knows rooms and
//! sessions by their figures; what concerns the process as a whole it asks of [`Process`].

mod act;
mod answer;
mod averages;
mod command;
mod conversation;
mod desk;
mod door;
mod inbox;
mod process;
mod reply;
mod show;
mod statements;
mod table;
mod words;

pub use desk::AdminParts;
pub use door::Admin;
pub use process::{Process, Setting, Stop};
