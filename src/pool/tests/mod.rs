//! The pool as a whole: rooms and budgets with a PostgreSQL that counts.

mod ages;
mod bed;
mod bench;
mod clients;
mod closes;
mod fair;
mod fake;
mod handing;
mod history;
mod holds;
mod late;
mod moving;
mod promises;
mod round;
mod stalls;
mod stress;
mod ways;
