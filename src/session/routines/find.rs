//! From the bodies that name session state to all the names that lead there.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Routines, sql};
use crate::server::{Answer, DialError, Server};
use crate::session::lexer::{Hints, Words, body_settings};

/// Pages of bodies that are read: 8 MiB of code, and more.
const PAGES_MAX: usize = 48;

/// Steps from a function to what calls it in the end.
const STEPS_MAX: usize = 12;

/// Names that are told apart. With more of them every statement counts as naming one.
const NAMES_MAX: usize = 1_000;

/// Views whose definition is read.
const VIEWS_MAX: usize = 200;

/// Names of what may advance a sequence. With more of them every statement may.
const ADVANCERS_MAX: usize = 1_000;

/// Settings that functions name.
const SETTINGS_MAX: usize = 64;

/// What a body says that a statement with the function's name in it has to be taken for. That a
/// procedure is called says nothing: it is a function of its own.
const TELLING: Hints = Hints::STATE.without(Hints::CALL).without(Hints::EXECUTE).or(Hints::LISTS);

/// What is passed on from a body to those who call it.
const PASSED_ON: Hints = Hints::of(&[
    Hints::READ_BY,
    Hints::SEQ_READ,
    Hints::LOAD,
    Hints::DYNAMIC,
    Hints::ROUTINE,
    Hints::FOREIGN,
    Hints::LISTS,
    Hints::SETSEED,
    Hints::SESSION_FUNCTION,
]);

/// What is said of code that was not read.
const UNREAD: Hints = Hints::ROUTINE.or(Hints::ADVANCER).or(Hints::READ_BY);

/// What those who call a body that says this are told.
fn passed_on(told: Hints) -> Hints {
    let sets = if told.contains(Hints::SET) { Hints::READ_BY } else { Hints::NONE };
    told.and(PASSED_ON) | sets
}

/// The functions and relations found so far, by object id, each with what it leads to.
#[derive(Debug, Default)]
pub(super) struct Found {
    functions: HashMap<u32, Hints>,
    relations: HashMap<u32, Hints>,
    words: Words,
    settings: Vec<String>,
    always: Hints,
    /// How bodies are asked for.
    bodies: sql::Bodies,
    notifications: Vec<u8>,
}

impl Found {
    /// Reads bodies, and if one tells, who calls it.
    pub(super) async fn read(server: &mut Server) -> Result<Self, DialError> {
        let mut found = Self::default();
        if found.is_nothing(server).await? {
            return Ok(found);
        }
        found.read_bodies(server).await?;
        found.read_views(server).await?;
        if !(found.functions.is_empty() && found.relations.is_empty()) {
            found.follow(server).await?;
        }
        // Behind that: who calls these is found by the same question.
        found.read_advancers(server).await?;
        Ok(found)
    }

    /// What the server said meanwhile that is the session's.
    pub(super) fn take_notifications(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.notifications)
    }

    /// `None` when no statement can come to anything.
    pub(super) fn into_routines(self) -> Option<Routines> {
        if self.words.is_empty() && self.always.is_empty() {
            return None;
        }
        let Self { words, settings, always, .. } = self;
        Some(Routines { words: Arc::new(words), settings, always })
    }

    /// Whether there is nothing to read.
    async fn is_nothing(&mut self, server: &mut Server) -> Result<bool, DialError> {
        let answer = self.ask(server, &sql::anything()).await?;
        Ok(answer.is_some_and(|answer| answer.value(0, 0) == Some("f")))
    }

    async fn read_bodies(&mut self, server: &mut Server) -> Result<(), DialError> {
        let mut after = 0;
        for _ in 0..PAGES_MAX {
            let question = |bodies| sql::suspects(after, bodies);
            let Some(answer) = self.ask_for_bodies(server, question).await? else {
                return Ok(());
            };
            for row in &answer.rows {
                after = after.max(self.take_body(row));
            }
            let of_all = answer.value(0, 5).and_then(|n| n.parse().ok()).unwrap_or(0);
            if answer.rows.len() >= of_all {
                return Ok(());
            }
        }
        // More code than anybody wants to read on the way.
        self.always |= UNREAD;
        Ok(())
    }

    /// Views that name session state themselves.
    async fn read_views(&mut self, server: &mut Server) -> Result<(), DialError> {
        let question = |bodies| sql::views(VIEWS_MAX, bodies);
        let Some(answer) = self.ask_for_bodies(server, question).await? else { return Ok(()) };
        if answer.rows.len() == VIEWS_MAX {
            self.always |= UNREAD;
        }
        answer.rows.iter().for_each(|row| self.take_view(row));
        Ok(())
    }

    /// One row of [`sql::views`].
    fn take_view(&mut self, row: &[Option<String>]) {
        let [Some(oid), Some(name), Some(definition)] = row else { return };
        let (told, settings) = body_settings(definition.as_bytes());
        let cut = definition.len() >= sql::BODY_BYTES_MAX;
        let hints = if cut { UNREAD.or(Hints::LISTS) } else { passed_on(told) };
        if told.contains(Hints::SET) {
            self.keep_settings(settings);
        }
        if cut || told.intersects(TELLING) {
            let hints = hints | Hints::ROUTINE;
            self.relations.insert(oid.parse().unwrap_or(0), hints);
            self.words.insert(name, hints);
        }
    }

    /// The names of what a SELECT may advance a sequence by.
    async fn read_advancers(&mut self, server: &mut Server) -> Result<(), DialError> {
        let question = sql::advancers(ADVANCERS_MAX + 1);
        let Some(answer) = self.ask(server, &question).await? else { return Ok(()) };
        if answer.rows.len() > ADVANCERS_MAX {
            self.always |= Hints::ADVANCER;
            return Ok(());
        }
        let names = answer.rows.iter().filter_map(|row| row.first()?.as_deref());
        names.for_each(|name| self.words.insert(name, Hints::ADVANCER));
        Ok(())
    }

    /// Asks for bodies. When PostgreSQL refuses, to wait for a lock say, what they name has to do until
    /// they are read again.
    async fn ask_for_bodies(
        &mut self,
        server: &mut Server,
        question: impl Fn(sql::Bodies) -> String,
    ) -> Result<Option<Answer>, DialError> {
        if self.bodies == sql::Bodies::Written {
            if let Some(answer) = self.try_to_ask(server, &question(self.bodies)).await? {
                return Ok(Some(answer));
            }
            self.bodies = sql::Bodies::Named;
        }
        self.ask(server, &question(self.bodies)).await
    }

    /// Asks. When PostgreSQL refuses, nothing is known: every statement counts.
    async fn ask(&mut self, server: &mut Server, sql: &str) -> Result<Option<Answer>, DialError> {
        let answer = self.try_to_ask(server, sql).await?;
        if answer.is_none() {
            self.always |= UNREAD | Hints::DYNAMIC;
        }
        Ok(answer)
    }

    /// Asks; `None` when PostgreSQL refuses.
    async fn try_to_ask(
        &mut self,
        server: &mut Server,
        sql: &str,
    ) -> Result<Option<Answer>, DialError> {
        let mut answer = server.ask(sql).await?;
        self.notifications.append(&mut answer.notifications);
        if answer.is_clean() {
            return Ok(Some(answer));
        }
        tracing::debug!(error = answer.error, "the tenant's functions could not be read");
        if answer.status != b'I' {
            return Err(DialError::Protocol("transaction left open"));
        }
        Ok(None)
    }

    /// One row of [`sql::suspects`]; gives its object id.
    fn take_body(&mut self, row: &[Option<String>]) -> u32 {
        let [Some(oid), Some(name), readable, body, length, _] = row else { return 0 };
        let oid = oid.parse().unwrap_or(0);
        let body = body.as_deref().unwrap_or_default();
        let length = length.as_deref().and_then(|n| n.parse().ok()).unwrap_or(0_usize);
        let (told, settings) = body_settings(body.as_bytes());
        let mut hints = passed_on(told);
        if readable.as_deref() != Some("t") {
            hints |= Hints::FOREIGN | Hints::READ_BY;
        }
        if told.intersects(TELLING) || length > sql::BODY_BYTES_MAX {
            hints |= Hints::ROUTINE;
        }
        if length > sql::BODY_BYTES_MAX {
            hints |= UNREAD | Hints::LISTS;
        }
        if hints.intersects(Hints::ROUTINE | Hints::FOREIGN | Hints::READ_BY) {
            if told.contains(Hints::SET) {
                self.keep_settings(settings);
            }
            self.functions.insert(oid, hints);
            self.words.insert(name, hints);
        }
        oid
    }

    fn keep_settings(&mut self, settings: Vec<String>) {
        for name in settings {
            if self.settings.contains(&name) {
                continue;
            }
            if self.settings.len() < SETTINGS_MAX {
                self.settings.push(name);
            } else {
                self.always |= Hints::DYNAMIC;
            }
        }
    }

    /// Adds what calls what was found, until there is nothing more.
    async fn follow(&mut self, server: &mut Server) -> Result<(), DialError> {
        for _ in 0..STEPS_MAX {
            if self.words.len() > NAMES_MAX {
                break;
            }
            let functions: Vec<u32> = self.functions.keys().copied().collect();
            let relations: Vec<u32> = self.relations.keys().copied().collect();
            let words: Vec<&str> = self.words.names().collect();
            let question = sql::callers(&functions, &relations, &words);
            let Some(answer) = self.ask(server, &question).await? else { return Ok(()) };
            if answer.rows.len() > sql::CALLERS_MAX {
                break;
            }
            let mut news = false;
            for row in &answer.rows {
                news |= self.take_caller(row);
            }
            if !news {
                return Ok(());
            }
        }
        let all = self.functions.values().fold(UNREAD, |all, hints| all | *hints);
        self.always |= all.and(PASSED_ON.or(UNREAD));
        Ok(())
    }

    /// One row of [`sql::callers`]; whether it is news.
    fn take_caller(&mut self, row: &[Option<String>]) -> bool {
        let [Some(kind), Some(oid), Some(name), Some(leads)] = row else { return false };
        let oid = oid.parse().unwrap_or(0_u32);
        let hints = if leads == sql::TOO_MANY {
            self.functions.values().fold(Hints::ROUTINE, |all, hints| all | *hints)
        } else if kind == "w" {
            let words = leads.split('\u{1}');
            words.fold(Hints::NONE, |all, word| all | self.words.of(word))
        } else {
            let to = leads.parse().unwrap_or(0_u32);
            let known = [self.functions.get(&to), self.relations.get(&to)];
            known.into_iter().flatten().fold(Hints::NONE, |all, hints| all | *hints)
        };
        let book = match &**kind {
            "r" => &mut self.relations,
            "f" | "w" => &mut self.functions,
            _ => {
                // A type, an operator, a cast in C computes.
                if hints.contains(Hints::ROUTINE) {
                    self.always |= hints;
                }
                return false;
            }
        };
        let known = book.entry(oid).or_default();
        let news = !known.contains(hints);
        *known |= hints;
        if news {
            self.words.insert(name, hints);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<Option<String>> {
        cells.iter().map(|cell| Some((*cell).to_owned())).collect()
    }

    #[test]
    fn a_body_is_kept_if_it_names_session_state() {
        let mut found = Found::default();
        found.take_body(&row(&["20000", "calm", "t", "UPDATE t SET a = 1", "18", "3"]));
        assert!(found.functions.is_empty());
        let body = "BEGIN PERFORM set_config('app.x', v, false); END";
        assert_eq!(found.take_body(&row(&["20001", "f", "t", body, "48", "3"])), 20_001);
        assert_eq!(found.settings, ["app.x"]);
        found.take_body(&row(&["20002", "c", "f", "symbol", "6", "3"]));
        assert_eq!(found.words.of("F"), Hints::ROUTINE | Hints::READ_BY);
        assert_eq!(found.words.of("c"), Hints::FOREIGN | Hints::READ_BY);
    }

    #[test]
    fn who_calls_is_taken_for_what_is_called() {
        let mut found = Found::default();
        found.take_body(&row(&["1", "f", "t", "SELECT lastval()", "16", "2"]));
        assert!(found.take_caller(&row(&["r", "2", "orders", "1"])));
        assert!(!found.take_caller(&row(&["r", "2", "orders", "1"])));
        assert!(found.take_caller(&row(&["w", "3", "buy", "orders\u{1}f"])));
        assert_eq!(found.words.of("buy"), Hints::ROUTINE | Hints::SEQ_READ);
        assert!(found.always.is_empty());
        found.take_caller(&row(&["*", "0", "", "1"]));
        assert!(found.always.contains(Hints::ROUTINE));
    }
}
