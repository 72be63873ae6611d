//! pgusher's own questions where the client's settings would spoil them: a `statement_timeout` of
//! a millisecond, a `lock_timeout`, a transaction that waits for others before it begins.

use super::{Answer, DialError, Server};

/// How often a question that was cut short is asked again. Each is answered within some tens of
/// microseconds, on an idle machine; PostgreSQL's shortest timeout is a millisecond.
const ATTEMPTS: usize = 100;

/// A transaction in which a client's timeouts do not count. One statement after the other takes
/// far less than the shortest of them.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;SET LOCAL statement_timeout TO 0;\
    SET LOCAL lock_timeout TO 0;SET LOCAL idle_in_transaction_session_timeout TO 0";

/// The settings that [`BEGIN`] hides, in the order of [`HIDDEN`]'s columns.
const HIDDEN_NAMES: [&str; 3] =
    ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];

const HIDDEN: &str = "SELECT pg_catalog.current_setting('statement_timeout'),\
    pg_catalog.current_setting('lock_timeout'),\
    pg_catalog.current_setting('idle_in_transaction_session_timeout')";

impl Server {
    /// As [`Server::ask`], for a question that the session's own timeouts must not end: then it is
    /// asked again in a transaction without them. It must be one that can be, and that a
    /// transaction may hold.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn ask_surely(&mut self, sql: &str) -> Result<Answer, DialError> {
        let answer = self.ask(sql).await?;
        if !answer.was_cut_short() {
            return Ok(answer);
        }
        self.ask_unhurried(sql).await
    }

    /// As [`Server::ask_surely`], and tells what the settings are that the second attempt hides;
    /// empty where there was none.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn ask_seeing(
        &mut self,
        sql: &str,
    ) -> Result<(Answer, Vec<(&'static str, String)>), DialError> {
        let first = self.ask(sql).await?;
        if !first.was_cut_short() {
            return Ok((first, Vec::new()));
        }
        let seen = self.ask_until_answered(HIDDEN).await?;
        let values = seen.rows.into_iter().next().unwrap_or_default();
        let named = HIDDEN_NAMES.into_iter().zip(values);
        let hidden = named.filter_map(|(name, value)| value.map(|value| (name, value))).collect();
        let mut answer = self.ask_unhurried(sql).await?;
        for earlier in [seen.notifications, first.notifications] {
            answer.notifications.splice(0..0, earlier);
        }
        Ok((answer, hidden))
    }

    async fn ask_unhurried(&mut self, sql: &str) -> Result<Answer, DialError> {
        let mut heard = Vec::new();
        for _ in 0..ATTEMPTS {
            let begun = self.ask(BEGIN).await?;
            heard.extend(begun.notifications);
            if begun.error.is_some() {
                heard.extend(self.ask_until_answered("ROLLBACK").await?.notifications);
                continue;
            }
            let mut answer = self.ask(sql).await?;
            let ended = self.ask("COMMIT").await?;
            if answer.was_cut_short() || ended.was_cut_short() {
                // By a cancel this time.
                let undone = self.ask_until_answered("ROLLBACK").await?;
                heard.extend([answer, ended, undone].into_iter().flat_map(|a| a.notifications));
                continue;
            }
            answer.status = ended.status;
            answer.error = answer.error.or(ended.error);
            heard.append(&mut answer.notifications);
            heard.extend(ended.notifications);
            answer.notifications = heard;
            return Ok(answer);
        }
        Err(DialError::Timeout)
    }

    /// For the shortest of questions.
    pub(super) async fn ask_until_answered(&mut self, sql: &str) -> Result<Answer, DialError> {
        for _ in 0..ATTEMPTS {
            let answer = self.ask(sql).await?;
            if !answer.was_cut_short() {
                return Ok(answer);
            }
        }
        Err(DialError::Timeout)
    }
}
