//! What the server still owes: one entry for every message sent that will be answered.
//!
//! This is the protocol's state machine (PostgreSQL documentation, 55.2), pure and without bytes.
//! It knows when nothing is outstanding, which answers belong to messages pgusher put in itself,
//! and when the server says what it cannot be saying: then it is in [`Doubt`].

use std::collections::VecDeque;

use crate::server::StatementId;
use crate::wire::tag;

/// A message sent to the server, as far as its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Parse, of a statement known by content if it is a named one.
    Parse(Option<StatementId>),
    /// Bind.
    Bind,
    /// Describe, of a renamed statement known by content if it is one.
    Describe(Option<StatementId>),
    /// Execute.
    Execute,
    /// Close.
    Close,
    /// Sync.
    Sync,
    /// Query.
    Query,
    /// FunctionCall.
    Function,
    /// CopyDone or CopyFail sent before the server asked for data.
    CopyEnd,
}

/// What becomes of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The client asked: it gets the answer.
    Forward,
    /// pgusher asked: nobody gets it.
    Drop,
    /// A Close stood in for a Parse the server no longer needed: the client gets ParseComplete.
    AsParse,
}

/// What to do with a message from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Forward it.
    Forward,
    /// Drop it.
    Drop,
    /// Forward it as ParseComplete.
    AsParse,
}

/// The server said what it cannot be saying. The connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's message does not answer anything that was sent")]
pub(super) struct Doubt;

/// The outstanding answers of one lease, in order.
#[derive(Debug)]
pub(super) struct Exchange {
    owed: VecDeque<(Sent, Reply)>,
    /// The server met an error and reads nothing but Sync.
    skipping: bool,
    /// The server takes CopyData and ignores Sync.
    copying: bool,
    status: u8,
    /// Statements whose Parse was thrown away by an error.
    unmade: Vec<StatementId>,
    /// The renamed statement whose description has just come.
    described: Option<StatementId>,
}

/// More answers than a client may leave outstanding before it is read no further. The server
/// flushes every 8 KiB at the latest, which is far fewer answers than this.
const OWED_MAX: usize = 1 << 16;

impl Default for Exchange {
    fn default() -> Self {
        Self {
            owed: VecDeque::new(),
            skipping: false,
            copying: false,
            status: b'I',
            unmade: Vec::new(),
            described: None,
        }
    }
}

impl Exchange {
    /// Starts anew with an idle server.
    pub(super) fn reset(&mut self) {
        self.owed.clear();
        self.unmade.clear();
        (self.skipping, self.copying, self.status) = (false, false, b'I');
        if self.owed.capacity() > 256 {
            self.owed = VecDeque::new();
        }
    }

    /// Nothing is outstanding and no transaction is open.
    pub(super) fn is_done(&self) -> bool {
        self.owed.is_empty() && self.status == b'I' && !self.skipping
    }

    /// Nothing is outstanding.
    pub(super) fn is_quiet(&self) -> bool {
        self.owed.is_empty() && !self.skipping
    }

    /// Whether the client may send more before the server answers.
    pub(super) fn has_room(&self) -> bool {
        self.owed.len() < OWED_MAX
    }

    /// Whether the server skips everything up to a Sync.
    pub(super) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Notes that `sent` goes to the server.
    pub(super) fn sent(&mut self, sent: Sent, reply: Reply) {
        match sent {
            Sent::Sync if self.copying => return,
            Sent::Sync => self.skipping = false,
            _ if self.skipping => return,
            Sent::CopyEnd if self.copying => {
                self.copying = false;
                return;
            }
            Sent::CopyEnd if self.owed.is_empty() => return,
            _ => {}
        }
        self.owed.push_back((sent, reply));
    }

    /// Judges a message from the server. `status` is the body's first byte, used for
    /// ReadyForQuery.
    pub(super) fn received(&mut self, tag: u8, status: u8) -> Result<Verdict, Doubt> {
        match tag {
            tag::DATA_ROW | tag::COPY_DATA => return Ok(Verdict::Forward),
            tag::NOTICE_RESPONSE | tag::NOTIFICATION_RESPONSE | tag::PARAMETER_STATUS => {
                return Ok(Verdict::Forward);
            }
            tag::ERROR_RESPONSE => return Ok(self.failed()),
            tag::READY_FOR_QUERY => return self.ready(status),
            _ => {}
        }
        while matches!(self.owed.front(), Some((Sent::CopyEnd, _))) {
            self.owed.pop_front();
        }
        let &(front, reply) = self.owed.front().ok_or(Doubt)?;
        let ends = match (tag, front) {
            (tag::PARSE_COMPLETE, Sent::Parse(_))
            | (tag::BIND_COMPLETE, Sent::Bind)
            | (tag::CLOSE_COMPLETE, Sent::Close)
            | (tag::ROW_DESCRIPTION | tag::NO_DATA, Sent::Describe(_))
            | (
                tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE | tag::PORTAL_SUSPENDED,
                Sent::Execute,
            ) => true,
            (tag::PARAMETER_DESCRIPTION, Sent::Describe(_))
            | (
                tag::ROW_DESCRIPTION | tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE,
                Sent::Query,
            )
            | (tag::COPY_OUT_RESPONSE | tag::COPY_DONE, Sent::Query | Sent::Execute)
            | (tag::FUNCTION_CALL_RESPONSE, Sent::Function) => false,
            (tag::COPY_IN_RESPONSE, Sent::Query | Sent::Execute) => {
                self.copy_starts();
                false
            }
            _ => return Err(Doubt),
        };
        if ends {
            self.owed.pop_front();
            if let Sent::Describe(id) = front {
                self.described = id;
            }
        }
        Ok(match reply {
            Reply::Forward => Verdict::Forward,
            Reply::Drop => Verdict::Drop,
            Reply::AsParse => Verdict::AsParse,
        })
    }

    /// The statements an error left unmade since the last call.
    pub(super) fn unmade(&mut self) -> impl Iterator<Item = StatementId> + '_ {
        self.unmade.drain(..)
    }

    /// The renamed statement that the last message described.
    pub(super) fn take_described(&mut self) -> Option<StatementId> {
        self.described.take()
    }

    /// In copy mode the server ignores Sync, so those sent ahead of the data will not be answered.
    fn copy_starts(&mut self) {
        self.copying = true;
        let mut at = 1;
        while let Some((sent, _)) = self.owed.get(at) {
            match sent {
                Sent::Sync => drop(self.owed.remove(at)),
                Sent::CopyEnd => {
                    self.owed.remove(at);
                    self.copying = false;
                    return;
                }
                _ => at += 1,
            }
        }
    }

    /// After an error in the extended protocol the server skips to the next Sync; a simple query
    /// or a function call is ended by its own ReadyForQuery.
    fn failed(&mut self) -> Verdict {
        self.copying = false;
        while matches!(self.owed.front(), Some((Sent::CopyEnd, _))) {
            self.owed.pop_front();
        }
        if let Some((Sent::Query | Sent::Function | Sent::Sync, _)) | None = self.owed.front() {
            return Verdict::Forward;
        }
        self.skipping = true;
        while let Some((sent, _)) = self.owed.front() {
            match *sent {
                Sent::Sync => {
                    self.skipping = false;
                    break;
                }
                Sent::Parse(Some(id)) => self.unmade.push(id),
                _ => {}
            }
            self.owed.pop_front();
        }
        Verdict::Forward
    }

    fn ready(&mut self, status: u8) -> Result<Verdict, Doubt> {
        self.copying = false;
        if !matches!(status, b'I' | b'T' | b'E') {
            return Err(Doubt);
        }
        loop {
            match self.owed.pop_front() {
                Some((Sent::CopyEnd, _)) => {}
                Some((Sent::Sync | Sent::Query | Sent::Function, reply)) => {
                    self.status = status;
                    let ours = reply == Reply::Drop;
                    return Ok(if ours { Verdict::Drop } else { Verdict::Forward });
                }
                _ => return Err(Doubt),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends every letter of `sent` as the message of that tag.
    fn after(sent: &str) -> Exchange {
        let mut exchange = Exchange::default();
        send(&mut exchange, sent);
        exchange
    }

    fn send(exchange: &mut Exchange, sent: &str) {
        for letter in sent.bytes() {
            let message = match letter {
                b'P' => Sent::Parse(None),
                b'B' => Sent::Bind,
                b'D' => Sent::Describe(None),
                b'E' => Sent::Execute,
                b'C' => Sent::Close,
                b'S' => Sent::Sync,
                b'Q' => Sent::Query,
                b'F' => Sent::Function,
                b'c' => Sent::CopyEnd,
                other => panic!("{other}"),
            };
            exchange.sent(message, Reply::Forward);
        }
    }

    fn receive(exchange: &mut Exchange, tags: &str) {
        for tag in tags.bytes() {
            exchange.received(tag, b'I').unwrap_or_else(|_| panic!("{}", char::from(tag)));
        }
    }

    #[test]
    fn a_conversation_is_done_when_every_answer_came() {
        for (sent, received) in [
            ("Q", "TDDCZ"),
            ("Q", "TDCTDCIZ"),
            ("PBDES", "12TDDCZ"),
            ("PDS", "1tnZ"),
            ("PBESPBES", "12CZ12CZ"),
            ("BES", "2DDsZ"),
            ("F", "VZ"),
            ("Q", "HddcCZ"),
            ("CS", "3Z"),
            ("Q", "EZ"),
        ] {
            let mut exchange = after(sent);
            assert!(!exchange.is_done(), "{sent}");
            receive(&mut exchange, received);
            assert!(exchange.is_done(), "{sent} {received}");
        }
    }

    #[test]
    fn an_error_skips_to_the_next_sync_and_no_further() {
        let mut exchange = after("PBDESPBES");
        receive(&mut exchange, "1EZ12CZ");
        assert!(exchange.is_done());
    }

    #[test]
    fn what_is_sent_while_the_server_skips_is_not_answered() {
        let mut exchange = after("PB");
        receive(&mut exchange, "E");
        assert!(exchange.is_skipping());
        send(&mut exchange, "DEQPB");
        assert!(!exchange.is_done());
        send(&mut exchange, "S");
        receive(&mut exchange, "Z");
        assert!(exchange.is_done());
    }

    #[test]
    fn a_sync_ahead_of_copy_data_is_not_answered() {
        let mut exchange = after("PBDES");
        receive(&mut exchange, "12nG");
        assert!(!exchange.is_done());
        send(&mut exchange, "cS");
        receive(&mut exchange, "CZ");
        assert!(exchange.is_done());
    }

    #[test]
    fn copy_data_may_be_sent_before_it_is_asked_for() {
        let mut exchange = after("PBEcS");
        receive(&mut exchange, "12GCZ");
        assert!(exchange.is_done());
        let mut exchange = after("Qc");
        receive(&mut exchange, "GCZ");
        assert!(exchange.is_done());
    }

    #[test]
    fn a_copy_that_fails_ends_at_the_sync_behind_it() {
        let mut exchange = after("PBES");
        receive(&mut exchange, "12GE");
        send(&mut exchange, "cS");
        receive(&mut exchange, "Z");
        assert!(exchange.is_done());
    }

    #[test]
    fn own_messages_are_dropped_and_stand_ins_translated() {
        let mut exchange = Exchange::default();
        exchange.sent(Sent::Parse(None), Reply::Drop);
        exchange.sent(Sent::Close, Reply::AsParse);
        exchange.sent(Sent::Sync, Reply::Forward);
        assert_eq!(exchange.received(b'1', 0), Ok(Verdict::Drop));
        assert_eq!(exchange.received(b'3', 0), Ok(Verdict::AsParse));
        assert_eq!(exchange.received(b'Z', b'T'), Ok(Verdict::Forward));
        assert!(exchange.is_quiet() && !exchange.is_done());
    }

    #[test]
    fn a_statement_behind_an_error_is_unmade() {
        let id = crate::server::Prepared::new(b"x", 0).id;
        let mut exchange = after("B");
        exchange.sent(Sent::Parse(Some(id)), Reply::Forward);
        receive(&mut exchange, "E");
        assert_eq!(exchange.unmade().collect::<Vec<_>>(), [id]);
    }

    #[test]
    fn what_answers_nothing_is_doubted() {
        assert_eq!(Exchange::default().received(b'Z', b'I'), Err(Doubt));
        assert_eq!(Exchange::default().received(b'C', 0), Err(Doubt));
        assert_eq!(after("P").received(b'2', 0), Err(Doubt));
        assert_eq!(after("PS").received(b'Z', b'I'), Err(Doubt));
        assert_eq!(after("Q").received(b'Z', b'X'), Err(Doubt));
        assert_eq!(after("Q").received(b'R', 0), Err(Doubt));
    }
}
