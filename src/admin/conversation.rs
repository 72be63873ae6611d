//! One operator's conversation, from the welcome to the goodbye.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::answer::Row;
use super::command::Order;
use super::desk::Desk;
use super::inbox::{Inbox, NoMessage};
use super::reply::{Formats, Reply};
use super::statements::{Statements, malformed};
use crate::auth::Operator;
use crate::fault::{Blame, Fault, SqlState};
use crate::net::Stream;
use crate::wire::{CancelKey, Malformed, split_cstr, tag};

/// How long an operator may take to read an answer.
const READ_PATIENCE: Duration = Duration::from_secs(60);

/// How a message, or the conversation, comes to its end.
enum Trouble {
    /// The operator is told, and may go on.
    Refused(Fault),
    /// The operator is told, and the connection ends.
    Fatal(Fault),
    /// The operator is gone.
    Gone,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

impl From<NoMessage> for Trouble {
    fn from(why: NoMessage) -> Self {
        match why {
            NoMessage::Gone => Self::Gone,
            NoMessage::Malformed(why) => Self::Fatal(malformed(why)),
            NoMessage::TooLong => Self::Fatal(Fault::new(
                Blame::Client,
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "a message is longer than the console reads",
            )),
        }
    }
}

/// Talks to an operator until either side ends it. `refused` says why nobody more is let in.
pub(super) async fn hold(
    desk: &Desk,
    stream: Stream,
    operator: &Operator,
    refused: Option<&Fault>,
) {
    let mut talk = Talk {
        desk,
        stream,
        operator,
        inbox: Inbox::default(),
        reply: Reply::default(),
        statements: Statements::default(),
        skips: false,
    };
    if let Some(fault) = refused {
        fault.log();
        talk.reply.error("FATAL", fault);
    } else if let Trouble::Fatal(fault) = talk.go_on().await {
        fault.log();
        talk.reply.error("FATAL", &fault);
    }
    let _ = talk.send().await;
    let _ = tokio::time::timeout(READ_PATIENCE, talk.stream.shutdown()).await;
}

struct Talk<'a> {
    desk: &'a Desk,
    stream: Stream,
    operator: &'a Operator,
    inbox: Inbox,
    reply: Reply,
    statements: Statements,
    /// After an error of the extended protocol everything up to Sync is skipped.
    skips: bool,
}

impl Talk<'_> {
    async fn go_on(&mut self) -> Trouble {
        tracing::info!(
            operator = self.operator.subject(),
            power = self.operator.power().as_str(),
            "an operator has come in"
        );
        self.reply.welcome(&key());
        loop {
            if let Err(trouble) = self.one().await {
                return trouble;
            }
        }
    }

    /// One message and its answer.
    async fn one(&mut self) -> Result<(), Trouble> {
        self.send().await?;
        let (tag, body) = self.inbox.next(&mut self.stream).await?;
        self.desk.still_valid(self.operator).map_err(Trouble::Fatal)?;
        if tag == tag::TERMINATE {
            return Err(Trouble::Gone);
        }
        if self.skips && tag != tag::SYNC {
            return Ok(());
        }
        let answered = match tag {
            tag::QUERY => self.query(&body).await,
            tag::SYNC => {
                self.skips = false;
                self.statements.sync();
                self.reply.ready();
                Ok(())
            }
            tag::FLUSH => Ok(()),
            tag::FUNCTION_CALL => {
                let text = "the console has no functions";
                let fault = Fault::new(Blame::Client, SqlState::FEATURE_NOT_SUPPORTED, text);
                self.reply.error("ERROR", &fault).ready();
                Ok(())
            }
            _ => self.extended(tag, &body).await,
        };
        match answered {
            Err(Trouble::Refused(fault)) => {
                fault.log();
                self.reply.error("ERROR", &fault);
                // A simple query is over with its error.
                if tag == tag::QUERY {
                    self.reply.ready();
                } else {
                    self.skips = true;
                }
                Ok(())
            }
            other => other,
        }
    }

    /// A simple query.
    async fn query(&mut self, body: &[u8]) -> Result<(), Trouble> {
        let (text, rest) = split_cstr(body).map_err(|why| Trouble::Fatal(malformed(why)))?;
        if !rest.is_empty() {
            return Err(Trouble::Fatal(malformed(Malformed::Body)));
        }
        let Some(order) = Order::read(&String::from_utf8_lossy(text))? else {
            self.reply.empty_query()?;
            self.reply.ready();
            return Ok(());
        };
        let rows = self.run(&order).await?;
        let columns = order.command.columns;
        if !columns.is_empty() {
            self.reply.columns(columns, &[])?;
        }
        for row in rows {
            self.row(&order, &[], &row).await?;
        }
        self.reply.complete(order.command.tag())?;
        self.reply.ready();
        Ok(())
    }

    /// A message of the extended query protocol.
    async fn extended(&mut self, tag: u8, body: &Bytes) -> Result<(), Trouble> {
        match tag {
            tag::PARSE => {
                self.statements.parse(body)?;
                self.reply.parse_complete()?;
            }
            tag::BIND => {
                self.statements.bind(body)?;
                self.reply.bind_complete()?;
            }
            tag::DESCRIBE => self.describe(body)?,
            tag::EXECUTE => self.execute(body).await?,
            tag::CLOSE => {
                self.statements.close(body)?;
                self.reply.close_complete()?;
            }
            _ => return Err(Trouble::Fatal(malformed(Malformed::Type))),
        }
        Ok(())
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Fault> {
        let (order, formats) = self.statements.describe(body)?;
        if formats.is_none() {
            self.reply.no_parameters()?;
        }
        match order.map(|order| order.command.columns) {
            Some(columns) if !columns.is_empty() => {
                self.reply.columns(columns, formats.unwrap_or_default())
            }
            _ => self.reply.no_data(),
        }
    }

    async fn execute(&mut self, body: &[u8]) -> Result<(), Trouble> {
        let (portal, most) = self.statements.execute(body)?;
        let Some(order) = portal.order.clone() else { return Ok(self.reply.empty_query()?) };
        let (formats, rest) = (portal.formats.clone(), portal.rows.take());
        let mut rows = match rest {
            Some(rest) => rest,
            None => self.run(&order).await?.into_iter(),
        };
        let most = if most == 0 { usize::MAX } else { most };
        for row in rows.by_ref().take(most) {
            self.row(&order, &formats, &row).await?;
        }
        if rows.len() == 0 {
            self.reply.complete(order.command.tag())?;
        } else {
            self.reply.suspended()?;
        }
        // Kept even when it is at its end: a second Execute finds no more rows, and does not run
        // the command again.
        let (portal, _) = self.statements.execute(body)?;
        portal.rows = Some(rows);
        Ok(())
    }

    async fn row(&mut self, order: &Order, formats: &Formats, row: &Row) -> Result<(), Trouble> {
        self.reply.row(order.command.columns, formats, row)?;
        if self.reply.is_full() { self.send().await } else { Ok(()) }
    }

    /// Carries a command out while the operator is there.
    async fn run(&mut self, order: &Order) -> Result<Vec<Row>, Trouble> {
        // What was answered before is not held back by a command that takes long.
        self.send().await?;
        let run = order.run(self.desk, self.operator);
        tokio::select! {
            biased;
            done = run => Ok(done?),
            () = self.inbox.closed(&mut self.stream) => Err(Trouble::Gone),
        }
    }

    async fn send(&mut self) -> Result<(), Trouble> {
        let sent = tokio::time::timeout(READ_PATIENCE, self.reply.send(&mut self.stream)).await;
        sent.map_err(|_| Trouble::Gone)?.map_err(Into::into)
    }
}

/// A key that cancels nothing: drivers expect one.
fn key() -> CancelKey {
    let mut secret = [0; 4];
    let _ = aws_lc_rs::rand::fill(&mut secret);
    CancelKey { pid: 1, secret: secret.into() }
}
