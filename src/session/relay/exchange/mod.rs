//! What the server still owes: one entry for every message sent that will be answered.
//!
//! This is the protocol's state machine (PostgreSQL documentation, 55.2), pure and without bytes.
//! It knows when nothing is outstanding, which answers belong to messages pgusher put in itself,
//! and when the server says what it cannot be saying: then it is in [`Doubt`].

mod kept;
mod state;
mod undo;
mod words;

use std::collections::VecDeque;

use kept::Kept;
pub(super) use words::{Behind, Doubt, Own, Reply, Retaken, Sent, Undo, Verdict};

use crate::server::StatementId;
use crate::session::statements::Asked;
use crate::wire::tag;

/// How far back it is looked whether a statement is being described.
const DESCRIBES_MAX: usize = 64;

/// The outstanding answers of one lease, in order.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of the protocol by itself")]
pub(super) struct Exchange {
    owed: VecDeque<(Sent, Reply)>,
    /// The server met an error and reads nothing but Sync.
    skipping: bool,
    /// The server takes CopyData and ignores Sync.
    copying: bool,
    batch: Batch,
    /// Syncs of which it is not known whether the server read them in copy mode.
    doubtful: usize,
    /// The server refused something that it did not owe an answer to.
    strayed: bool,
    status: u8,
    /// Statements whose Parse was thrown away by an error.
    unmade: Vec<StatementId>,
    /// Messages sent and answered so far, to number those between.
    numbers: (u64, u64),
    /// The number of the first message behind the last Sync.
    group: u64,
    /// Of the last message that changed the unnamed statement behind others of its group.
    unnamed_at: u64,
    /// Behind the last message that changed what named statement there is.
    named_until: u64,
    /// A message that may fail was sent since the last Sync.
    risky: bool,
    /// What has to be taken back if the message of that number is thrown away.
    undo: VecDeque<(u64, Undo)>,
    /// Bytes of all that.
    undo_bytes: usize,
    /// What has to be taken back now.
    undone: Vec<Undo>,
    /// The renamed statement whose description has just come.
    described: Option<Asked>,
    retaken: Option<Box<Retaken>>,
    /// What may be sent again, oldest first.
    kept: Vec<Kept>,
    /// The number of an EXECUTE whose statement could not be prepared: the client has been told.
    echo: Option<u64>,
    /// Of the last error.
    behind: Behind,
    own: Own,
    /// How often the server has refused.
    refusals: u32,
}

/// What the server was sent behind the last message that ends an implicit transaction: Sync, Query or
/// FunctionCall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Batch {
    None,
    /// No more than Closes of pgusher's own, which nothing throws away.
    Closing,
    /// What an error throws away.
    Begun,
    /// And a statement has been bound or executed.
    Acted,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            owed: VecDeque::new(),
            skipping: false,
            copying: false,
            batch: Batch::None,
            doubtful: 0,
            strayed: false,
            status: b'I',
            unmade: Vec::new(),
            numbers: (0, 0),
            group: 0,
            unnamed_at: u64::MAX,
            named_until: 0,
            risky: false,
            undo: VecDeque::new(),
            undo_bytes: 0,
            undone: Vec::new(),
            described: None,
            retaken: None,
            kept: Vec::new(),
            echo: None,
            behind: Behind::Nothing,
            own: Own::Settled,
            refusals: 0,
        }
    }
}

impl Exchange {
    /// Starts anew with an idle server.
    pub(super) fn reset(&mut self) {
        self.owed.clear();
        self.unmade.clear();
        self.undo.clear();
        self.undone.clear();
        (self.numbers, self.undo_bytes) = ((0, 0), 0);
        (self.group, self.unnamed_at, self.named_until) = (0, u64::MAX, 0);
        self.risky = false;
        (self.skipping, self.copying, self.status) = (false, false, b'I');
        self.batch = Batch::None;
        (self.doubtful, self.strayed) = (0, false);
        self.kept.clear();
        (self.echo, self.own, self.refusals) = (None, Own::Settled, 0);
        if self.owed.capacity() > 256 {
            (self.owed, self.undo) = (VecDeque::new(), VecDeque::new());
        }
    }

    /// Notes that `sent` goes to the server.
    pub(super) fn sent(&mut self, sent: Sent, reply: Reply) {
        match sent {
            Sent::Sync if self.copying => {
                self.doubtful += 1;
                return;
            }
            Sent::Sync => self.skipping = false,
            _ if self.skipping => return,
            Sent::CopyEnd if self.copying => {
                (self.copying, self.risky) = (false, true);
                return;
            }
            Sent::CopyEnd if self.owed.is_empty() => return,
            // The server reads it when the copy has failed, or ends the session.
            _ => self.copying = false,
        }
        match sent {
            Sent::Sync | Sent::Query | Sent::Function => self.batch = Batch::None,
            Sent::CopyEnd | Sent::Read => {}
            Sent::Bind | Sent::Execute => self.batch = Batch::Acted,
            Sent::Close if reply == Reply::Drop => self.batch = self.batch.max(Batch::Closing),
            _ => self.batch = self.batch.max(Batch::Begun),
        }
        if (sent, reply) == (Sent::Query, Reply::Drop) {
            self.own = Own::Asked;
        }
        self.owed.push_back((sent, reply));
        self.numbers.0 += 1;
        match sent {
            Sent::Sync => (self.group, self.risky) = (self.numbers.0, false),
            // An error of these throws nothing away, and there is none of a Close.
            Sent::Query | Sent::Function | Sent::Read | Sent::Close => {}
            Sent::Parse(_) | Sent::Bind | Sent::Describe(_) | Sent::Execute | Sent::CopyEnd => {
                self.risky = true;
            }
        }
    }

    /// Notes that data goes to the server: it may be refused, and the Sync ahead of it is not read.
    pub(super) fn sent_copy_data(&mut self) {
        self.risky = true;
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
        self.drop_copy_ends();
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
        if tag == tag::COMMAND_COMPLETE {
            // It read CopyDone, so what came before that was read in copy mode.
            self.doubtful = 0;
        }
        if ends {
            self.pop();
            self.drop_copy_ends();
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

    /// The statements that are being prepared.
    pub(super) fn preparing(&self) -> impl Iterator<Item = StatementId> {
        self.owed.iter().filter_map(|(sent, _)| match sent {
            Sent::Parse(id) => *id,
            _ => None,
        })
    }

    /// Whether a description of this statement is yet to come, in the group that is being sent. Looks
    /// no further than [`DESCRIBES_MAX`] messages back.
    pub(super) fn is_asked_for(&self, id: StatementId) -> bool {
        let ends = |sent: &Sent| matches!(sent, Sent::Sync | Sent::Query | Sent::Function);
        let group = self.owed.iter().rev().take(DESCRIBES_MAX).take_while(|(sent, _)| !ends(sent));
        group.into_iter().any(|(sent, _)| *sent == Sent::Describe(Some(id)))
    }

    /// What the last message has answered: what a renamed statement is described as.
    pub(super) fn take_described(&mut self) -> Option<Asked> {
        self.described.take()
    }

    /// In copy mode the server ignores Sync, so those sent ahead of the data will not be answered.
    fn copy_starts(&mut self) {
        self.copying = true;
        for (sent, reply) in self.owed.iter_mut().skip(1) {
            match sent {
                Sent::Sync => {
                    self.doubtful += 1;
                    self.batch = self.batch.max(Batch::Begun);
                    // Not answered; kept in its place so that the others keep their numbers.
                    (*sent, *reply) = (Sent::Read, Reply::Forward);
                }
                Sent::CopyEnd => {
                    // It ends this copy, and no other of the same query.
                    (*sent, self.copying) = (Sent::Read, false);
                    return;
                }
                Sent::Read => {}
                // It is not read in copy mode, and what is behind it neither.
                _ => {
                    self.copying = false;
                    return;
                }
            }
        }
    }

    /// After an error in the extended protocol the server skips to the next Sync; a simple query
    /// or a function call is ended by its own ReadyForQuery.
    fn failed(&mut self) -> Verdict {
        self.copying = false;
        self.drop_copy_ends();
        self.fail_use();
        match self.owed.front() {
            // A question of pgusher's own has no answer that the client could be told.
            Some((Sent::Query, Reply::Drop)) => {
                self.own = Own::Refused;
                self.refusals = self.refusals.saturating_add(1);
                return Verdict::Drop;
            }
            Some((Sent::Query | Sent::Function | Sent::Sync, _)) => {
                self.fail_close();
                return Verdict::Forward;
            }
            None => {
                // Nothing says what it reads next: it may be skipping to a Sync.
                self.strayed = true;
                return Verdict::Forward;
            }
            Some(_) => {}
        }
        self.skipping = true;
        self.fail_unnamed();
        while let Some((sent, _)) = self.owed.front() {
            match *sent {
                Sent::Sync => {
                    self.skipping = false;
                    break;
                }
                Sent::Parse(Some(id)) => self.unmade.push(id),
                _ => {}
            }
            self.throw_away();
        }
        self.hand_on_unnamed();
        if let Some((Sent::Sync, Reply::Drop)) = self.owed.front() {
            self.echo = Some(self.numbers.1 + 1);
        }
        Verdict::Forward
    }

    fn ready(&mut self, status: u8) -> Result<Verdict, Doubt> {
        self.copying = false;
        if !matches!(status, b'I' | b'T' | b'E') {
            return Err(Doubt);
        }
        loop {
            match self.pop() {
                Some((Sent::CopyEnd | Sent::Read, _)) => {}
                Some((sent @ (Sent::Sync | Sent::Query | Sent::Function), reply)) => {
                    self.status = status;
                    if sent == Sent::Query && reply == Reply::Drop && self.own == Own::Asked {
                        self.own = Own::Settled;
                    }
                    self.drop_copy_ends();
                    if self.owed.is_empty() {
                        self.batch = Batch::None;
                    }
                    let ours = reply == Reply::Drop;
                    return Ok(if ours { Verdict::Drop } else { Verdict::Forward });
                }
                None if self.doubtful > 0 => {
                    self.doubtful -= 1;
                    self.batch = Batch::None;
                    (self.skipping, self.status) = (false, status);
                    return Ok(Verdict::Forward);
                }
                _ => return Err(Doubt),
            }
        }
    }

    fn drop_copy_ends(&mut self) {
        while matches!(self.owed.front(), Some((Sent::CopyEnd | Sent::Read, _))) {
            self.pop();
        }
    }
}

#[cfg(test)]
mod tests;
