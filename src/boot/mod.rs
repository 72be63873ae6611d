//! The composition root: builds the rooms from the configuration, starts the two runtimes, and
//! takes everything down again in order.
//!
//! The only room that knows all the others. It decides nothing they could decide.

mod applying;
mod build;
mod catch_up;
mod changes;
mod console;
mod data;
mod doors;
mod figures;
mod logins;
mod office;
mod peers;
mod run;
mod seams;
mod settings;
mod split;
mod subscriptions;
mod suspended;
mod texting;
mod turns;

pub use build::{BuildProblems, Built};
pub use office::Office;
pub use run::{Addresses, Running, start};
pub use settings::{MetricsSettings, RuntimeSettings};
