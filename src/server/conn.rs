//! One connection to PostgreSQL, between clients or in the hands of one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::answer::{ANSWER_BYTES_MAX, Description};
use super::backends::{Backend, Backends};
use super::login::read_parameter;
use super::{Account, Answer, CancelGate, Described, DialError, Params, Prepared};
use super::{ServerStatements, Settings, StatementId};
use crate::net::{self, Stream};
use crate::pool::{Class, Conn, Slot};
use crate::wire::{HEADER_BYTES, Header, Writer, tag};

/// A server connection and what pgusher knows of its session.
#[derive(Debug)]
pub struct Server {
    /// The socket. Whoever holds the lease reads and writes it.
    pub stream: Stream,
    /// The values it last reported.
    pub params: Params,
    /// The settings last applied to it, those of its startup packet among them.
    pub settings: Settings,
    /// Those of its startup packet: what `RESET` returns to.
    startup: Settings,
    /// What is prepared on it.
    pub statements: ServerStatements,
    /// A session may have advanced a sequence here: `currval` and `lastval` would tell.
    pub knows_sequences: bool,
    /// The session that did something here of which nobody knows what it left. Others get the
    /// server only when it was cleaned.
    pub marked_by: Option<u64>,
    /// What that left may be in the process itself, where no command undoes it: nobody else gets
    /// the server.
    pub is_spoiled: bool,
    gate: Arc<CancelGate>,
    backend: Backend,
    class: Class,
    born: Instant,
    /// Whom the session began as, in PostgreSQL's own spelling.
    user: Option<Box<str>>,
}

/// The parameter in which PostgreSQL reports the session's user.
const SESSION_USER: &str = "session_authorization";

/// A closed connection's answer is thrown away in pieces of this size.
const DRAIN_BYTES: usize = 4_096;

/// How long one of pgusher's own questions may take. They wait for no lock of a tenant's, but a
/// machine with ten times its work answers late, and a session should outlive that.
const ASK_PATIENCE: Duration = Duration::from_secs(60);

/// How long a goodbye may take to be written.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

impl Server {
    pub(super) fn new(
        stream: Stream,
        gate: CancelGate,
        backends: &Arc<Backends>,
        params: Params,
        account: &Account,
    ) -> Box<Self> {
        let user = params.value(SESSION_USER).map(Box::from);
        let gate = Arc::new(gate);
        Box::new(Self {
            stream,
            params,
            settings: account.startup.clone(),
            startup: account.startup.clone(),
            statements: ServerStatements::default(),
            knows_sequences: false,
            marked_by: None,
            is_spoiled: false,
            backend: backends.enter(&gate),
            gate,
            class: account.class,
            born: Instant::now(),
            user,
        })
    }

    /// What `RESET` returns to.
    pub fn startup(&self) -> &Settings {
        &self.startup
    }

    /// Has the socket polled by the thread that is to use it now.
    ///
    /// # Errors
    /// As [`Stream::move_here`]: the connection is lost.
    pub fn come_here(&mut self) -> std::io::Result<()> {
        self.stream.move_here()
    }

    /// The way a cancel for it goes.
    pub fn gate(&self) -> &Arc<CancelGate> {
        &self.gate
    }

    /// When it was dialled.
    pub fn born(&self) -> Instant {
        self.born
    }

    /// The session's user, when it is no longer the one that logged in (SET SESSION
    /// AUTHORIZATION).
    pub fn assumed_user(&self) -> Option<&str> {
        self.params.value(SESSION_USER).filter(|user| Some(*user) != self.user.as_deref())
    }

    /// Takes a ParameterStatus body in.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn report(&mut self, body: &[u8]) -> Result<(), DialError> {
        read_parameter(body, &mut self.params)
    }

    /// Puts the process id that a notification's sender told its client in the place of its own. As
    /// much of the body as is there: what is shorter than an id stays.
    pub fn name_sender(&self, notification: &mut [u8]) {
        if let Some(pid) = notification.first_chunk_mut::<4>() {
            *pid = self.backend.alias_of(i32::from_be_bytes(*pid)).to_be_bytes();
        }
    }

    /// Asks pgusher's own question by the simple protocol and reads to ReadyForQuery. Nothing of
    /// a client's may be outstanding. Not cancel-safe: on a dropped future, destroy the server.
    ///
    /// # Errors
    /// When the connection ends or the answer is not believable. An SQL error is no such error:
    /// see [`Answer::error`].
    pub async fn ask(&mut self, sql: &str) -> Result<Answer, DialError> {
        let asked = self.ask_patiently(sql);
        tokio::time::timeout(ASK_PATIENCE, asked).await.map_err(|_| DialError::Timeout)?
    }

    async fn ask_patiently(&mut self, sql: &str) -> Result<Answer, DialError> {
        let mut packet = Writer::new();
        packet.query(sql);
        self.stream.write_all(packet.bytes()).await?;
        self.stream.flush().await?;
        let (mut answer, mut total) = (Answer::default(), 0_usize);
        let mut body = Vec::new();
        loop {
            let kind = self.read_message(&mut body).await?;
            total = total.saturating_add(body.len());
            if total > ANSWER_BYTES_MAX {
                return Err(DialError::Protocol("answer too long"));
            }
            match kind {
                tag::DATA_ROW => answer.take_row(&body)?,
                tag::ERROR_RESPONSE => answer.take_error(&body),
                tag::PARAMETER_STATUS => self.report(&body)?,
                tag::NOTIFICATION_RESPONSE => self.notified(&mut body, &mut answer.notifications),
                tag::READY_FOR_QUERY => {
                    answer.status = *body.first().ok_or(DialError::Protocol("ReadyForQuery"))?;
                    return Ok(answer);
                }
                _ => {}
            }
        }
    }

    /// Takes in a notification that is the session's.
    fn notified(&self, body: &mut [u8], notifications: &mut Vec<u8>) {
        self.name_sender(body);
        let mut whole = Writer::new();
        whole.message(tag::NOTIFICATION_RESPONSE, |b| b.extend_from_slice(body));
        notifications.extend_from_slice(whole.bytes());
    }

    /// Prepares `prepared` and asks what it is described as. As [`Self::ask`], not cancel-safe.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn describe(&mut self, prepared: &Prepared) -> Result<Description, DialError> {
        let name = prepared.id.server_name();
        let mut packet = Writer::new();
        // What an error or a DEALLOCATE out of sight has left there would be in the way.
        close_statement(&mut packet, prepared.id);
        let parse = [&name, &b"\0"[..], &prepared.body].concat();
        packet.message(tag::PARSE, |b| b.extend_from_slice(&parse));
        packet.message(tag::DESCRIBE, |b| b.extend_from_slice(&[b"S", &name[..], b"\0"].concat()));
        self.synced(packet).await
    }

    /// Closes statements, be they there or not. The notifications that came meanwhile.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn close_statements(&mut self, ids: &[StatementId]) -> Result<Vec<u8>, DialError> {
        let mut packet = Writer::new();
        for id in ids {
            close_statement(&mut packet, *id);
        }
        let closed = tokio::time::timeout(ASK_PATIENCE, self.synced(packet)).await;
        closed.map_err(|_| DialError::Timeout)?.map(|answer| answer.notifications)
    }

    /// Sends it with a Sync, and reads to the end of the answer.
    async fn synced(&mut self, mut packet: Writer) -> Result<Description, DialError> {
        packet.message(tag::SYNC, |_| {});
        self.stream.write_all(packet.bytes()).await?;
        self.stream.flush().await?;
        let (mut types, mut total) = (None, 0_usize);
        let (mut body, mut answer) = (Vec::new(), Description::default());
        loop {
            let kind = self.read_message(&mut body).await?;
            total = total.saturating_add(body.len());
            if total > ANSWER_BYTES_MAX {
                return Err(DialError::Protocol("answer too long"));
            }
            match kind {
                tag::PARAMETER_DESCRIPTION => types = Some(body.clone()),
                tag::ROW_DESCRIPTION | tag::NO_DATA => {
                    answer.described = Ok(Described::new(types.as_deref(), kind, Some(&body)));
                }
                tag::PARAMETER_STATUS => self.report(&body)?,
                tag::ERROR_RESPONSE => answer.described = Err(body.clone()),
                tag::NOTIFICATION_RESPONSE => {
                    self.notified(&mut body, &mut answer.notifications);
                }
                tag::READY_FOR_QUERY => return Ok(answer),
                _ => {}
            }
        }
    }

    async fn read_message(&mut self, body: &mut Vec<u8>) -> Result<u8, DialError> {
        let mut raw = [0; HEADER_BYTES];
        self.stream.read_exact(&mut raw).await?;
        let header = Header::backend(&raw).ok_or(DialError::Protocol("header"))??;
        if header.body > ANSWER_BYTES_MAX {
            return Err(DialError::Protocol("answer too long"));
        }
        body.resize(header.body, 0);
        self.stream.read_exact(body).await?;
        Ok(header.tag)
    }

    /// Brings the server's settings to `target`. Equal sets cost a pointer comparison.
    ///
    /// # Errors
    /// As [`Self::ask`], and when the server refuses a value: then its settings are unknown and it
    /// must be destroyed.
    pub async fn apply(&mut self, target: &Settings) -> Result<(), DialError> {
        let Some(mut script) = self.settings.script_to(target) else { return Ok(()) };
        if self.settings.value("default_transaction_deferrable").is_some() {
            // A deferrable transaction waits for others before its first statement.
            script.insert_str(0, "SET TRANSACTION NOT DEFERRABLE;");
        }
        let answer = self.ask_surely(&script).await?;
        if answer.is_clean() {
            self.settings = target.clone();
            return Ok(());
        }
        let message = answer.error.unwrap_or_else(|| "transaction left open".to_owned());
        Err(DialError::Refused { code: "22023".to_owned(), message })
    }

    /// As [`Self::apply`], for settings that were accepted once: a value that has become invalid
    /// meanwhile (what it names was dropped) is left out, where PostgreSQL would keep it in a
    /// session of its own. Who the session is is never left out.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn apply_again(&mut self, target: &Settings) -> Result<(), DialError> {
        let Err(error) = self.apply(target).await else { return Ok(()) };
        // One query, so one transaction: what was refused changed nothing.
        let DialError::Refused { .. } = error else { return Err(error) };
        let plain = target.without_identity();
        let kept = self.settings.without_identity().retain(|name, _| plain.value(name).is_some());
        self.apply(&kept).await?;
        for (name, value) in plain.iter() {
            match self.apply(&self.settings.with(name, value)).await {
                Ok(()) | Err(DialError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.apply(&self.settings.with_identity_of(target)).await
    }

    /// Ends whatever transaction is open and forgets all session state, so that another client of
    /// the same tenant and role may have the server.
    ///
    /// # Errors
    /// As [`Self::ask`], and when the server is not clean afterwards.
    pub async fn clean(&mut self) -> Result<(), DialError> {
        self.ask_until_answered("ROLLBACK").await?;
        let mut answer = self.ask("DISCARD ALL").await?;
        if answer.was_cut_short() {
            // No transaction may hold it, so the timeout has to go by itself.
            self.ask_until_answered("SET statement_timeout TO 0").await?;
            self.ask_until_answered("SET lock_timeout TO 0").await?;
            answer = self.ask("DISCARD ALL").await?;
        }
        if !answer.is_clean() {
            return Err(DialError::Protocol("DISCARD ALL failed"));
        }
        self.settings = self.startup.clone();
        self.statements.clear();
        self.knows_sequences = false;
        self.marked_by = None;
        Ok(())
    }

    /// Reads what came while nobody held the server. `false` when it can no longer be used.
    fn absorb(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        if self.stream.poll_readable(&mut cx).is_pending() {
            return true;
        }
        let mut bytes = [0; 512];
        loop {
            let mut room = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(&mut cx, &mut room) {
                Poll::Pending => return true,
                Poll::Ready(Err(_)) => return false,
                Poll::Ready(Ok(())) => {
                    let filled = room.filled().to_vec();
                    if filled.is_empty() || !self.absorb_messages(&filled) {
                        return false;
                    }
                }
            }
        }
    }

    /// An idle server may report parameters (its configuration was reloaded) and send notices and
    /// notifications nobody waits for. Anything else, or half a message, is doubt.
    fn absorb_messages(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let Some(Ok(header)) = Header::backend(bytes) else { return false };
            let Some(body) = bytes.get(HEADER_BYTES..header.total()) else { return false };
            let fine = match header.tag {
                tag::PARAMETER_STATUS => self.report(body).is_ok(),
                tag::NOTICE_RESPONSE | tag::NOTIFICATION_RESPONSE => true,
                _ => false,
            };
            if !fine {
                return false;
            }
            bytes = &bytes[header.total()..];
        }
        true
    }

    /// Says goodbye and reads to the end of the stream: PostgreSQL counts the connection until
    /// its backend has exited, so we do too.
    async fn farewell(mut self: Box<Self>) {
        let mut goodbye = Writer::new();
        goodbye.terminate();
        self.stream.lost_after(6 * CLOSE_PATIENCE);
        // Not awaited for ever: a server that reads nothing any more does not take it either.
        let write = async {
            let _ = self.stream.write_all(goodbye.bytes()).await;
            let _ = self.stream.shutdown().await;
        };
        if tokio::time::timeout(CLOSE_PATIENCE, write).await.is_err() {
            // It waits itself to be read. The end of the stream comes behind what it was sent.
            self.stream.end_writing().await;
        }
        let mut thrown = vec![0; DRAIN_BYTES];
        while !matches!(self.stream.read(&mut thrown).await, Ok(0) | Err(_)) {}
    }
}

impl Conn for Box<Server> {
    fn class(&self) -> Class {
        self.class
    }

    fn is_alive(&mut self) -> bool {
        self.absorb()
    }

    fn close(self, slot: Slot<Self>) {
        net::spawn(async move {
            self.farewell().await;
            drop(slot);
        });
    }
}

fn close_statement(packet: &mut Writer, id: StatementId) {
    packet.message(tag::CLOSE, |b| {
        b.push(b'S');
        b.extend_from_slice(&id.server_name());
        b.push(0);
    });
}
