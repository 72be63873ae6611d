//! Stands between a client and PostgreSQL and checks the lexer against the catalog.
//!
//! `lexer_witness LISTEN-PORT SERVER-PORT` forwards every connection. After each transaction it asks
//! the server what session state there is now. Where that has changed, the lexer must have said of
//! the transaction's text that it may. At the end of its input it prints what it has seen as JSON.
//! Used by `tests/regress/lexer`.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use pgusher::session::lexer::{Hints, Lexer, body_settings};

/// Everything a session may keep, as one text; but for custom settings, which no view shows.
const STATE: &str = "SELECT pg_catalog.concat_ws('|', \
    (SELECT pg_catalog.string_agg(name || '=' || setting, ',' ORDER BY name) \
     FROM pg_catalog.pg_settings WHERE source = 'session' AND name !~ '^transaction_'), \
    pg_catalog.current_setting('role'), \
    (SELECT pg_catalog.string_agg(name, ',' ORDER BY name) FROM pg_catalog.pg_prepared_statements \
     WHERE from_sql), \
    (SELECT pg_catalog.string_agg(name, ',' ORDER BY name) FROM pg_catalog.pg_cursors \
     WHERE is_holdable), \
    (SELECT pg_catalog.string_agg(c, ',' ORDER BY c) FROM pg_catalog.pg_listening_channels() c), \
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' \
     AND pid = pg_catalog.pg_backend_pid()), \
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend \
     WHERE refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
     AND refobjid = pg_catalog.pg_my_temp_schema()))";

/// The bodies of all functions that are not PostgreSQL's own.
const BODIES: &str = "SELECT prosrc FROM pg_catalog.pg_proc WHERE oid >= 16384";

/// What the pool does before and after each question.
const QUIETLY: &str = "SET LOCAL statement_timeout = 0; SET LOCAL search_path = pg_catalog; \
    SET LOCAL client_encoding = 'UTF8'; ";

#[derive(Default)]
struct Seen {
    statements: u64,
    transactions: u64,
    changes: u64,
    /// The lexer said so, and nothing had changed.
    needless: u64,
    /// Unnamed, but only more of the temporary things that keep the session on its server already.
    more: u64,
    /// Changed out of a text's sight, in a database with functions that name session state.
    functions: Vec<String>,
    /// Changed, and the lexer had not said so.
    missed: Vec<String>,
    unread: u64,
}

fn main() {
    let ports: Vec<u16> = std::env::args().skip(1).map(|port| port.parse().unwrap()).collect();
    let listener = TcpListener::bind(("127.0.0.1", ports[0])).unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (server, shared) = (ports[1], Arc::clone(&seen));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let _ = Witness::serve(client, server, &shared);
            });
        }
    });
    // Until whoever started it closes the pipe.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    let seen = seen.lock().unwrap();
    println!(
        "{}",
        serde_json::json!({
            "statements": seen.statements, "transactions": seen.transactions,
            "changes": seen.changes, "more": seen.more, "needless": seen.needless, "unread": seen.unread,
            "functions": seen.functions, "missed": seen.missed,
        })
    );
}

struct Witness<'a> {
    client: TcpStream,
    server: TcpStream,
    seen: &'a Mutex<Seen>,
    lexer: Lexer,
    hints: Hints,
    texts: Vec<String>,
    state: String,
}

type Message = (u8, Vec<u8>);

impl<'a> Witness<'a> {
    fn serve(client: TcpStream, port: u16, seen: &'a Mutex<Seen>) -> io::Result<()> {
        let server = TcpStream::connect(("127.0.0.1", port))?;
        let (lexer, hints) = (Lexer::default(), Hints::NONE);
        let (texts, state) = (Vec::new(), String::new());
        let mut own = Self { client, server, seen, lexer, hints, texts, state };
        own.greet()?;
        let mut ready = own.answers()?;
        own.state = own.ask(STATE)?.concat();
        loop {
            if ready == b'I' {
                own.judge()?;
            }
            loop {
                let message = read(&mut own.client)?;
                own.hear(&message);
                write(&mut own.server, &message)?;
                match message.0 {
                    b'X' => return Ok(()),
                    b'Q' | b'S' | b'F' => break,
                    _ => {}
                }
            }
            ready = own.answers()?;
        }
    }

    /// The startup packet, without TLS.
    fn greet(&mut self) -> io::Result<()> {
        loop {
            let mut length = [0; 4];
            self.client.read_exact(&mut length)?;
            let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
            self.client.read_exact(&mut rest)?;
            let code = u32::from_be_bytes(rest[..4].try_into().unwrap());
            if code == 80_877_103 || code == 80_877_104 {
                self.client.write_all(b"N")?;
                continue;
            }
            self.server.write_all(&[&length[..], &rest].concat())?;
            return Ok(());
        }
    }

    /// Forwards what the server says up to ReadyForQuery, and COPY data the other way.
    fn answers(&mut self) -> io::Result<u8> {
        loop {
            let message = read(&mut self.server)?;
            match message.0 {
                b'S' => self.parameter(&message.1),
                b'C' if message.1.starts_with(b"SET") => self.hints |= Hints::SET,
                b'C' if message.1.starts_with(b"DISCARD ALL") => self.hints |= Hints::DISCARD,
                _ => {}
            }
            write(&mut self.client, &message)?;
            match message.0 {
                b'Z' => return Ok(message.1[0]),
                b'G' => loop {
                    let data = read(&mut self.client)?;
                    write(&mut self.server, &data)?;
                    if matches!(data.0, b'c' | b'f') {
                        break;
                    }
                },
                _ => {}
            }
        }
    }

    fn parameter(&mut self, body: &[u8]) {
        // Whatever set it: the pool hears it, too.
        self.hints |= Hints::SET;
        let mut parts = body.split(|byte| *byte == 0);
        match (parts.next(), parts.next()) {
            (Some(b"standard_conforming_strings"), Some(value)) => {
                self.lexer.standard_conforming_strings(value == b"on");
            }
            (Some(b"client_encoding"), Some(value)) => {
                let shifting = [&b"SJIS"[..], b"BIG5", b"GBK", b"UHC", b"GB18030", b"JOHAB"];
                self.lexer.shifting_encoding(shifting.contains(&value));
            }
            _ => {}
        }
    }

    fn hear(&mut self, (tag, body): &Message) {
        let text = match tag {
            b'Q' => &body[..],
            b'P' => &body[body.iter().position(|byte| *byte == 0).map_or(0, |end| end + 1)..],
            _ => return,
        };
        let facts = self.lexer.read(text);
        self.hints |= if facts.runs { facts.hints } else { facts.hints.without(facts.latent) };
        let mut seen = self.seen.lock().unwrap();
        seen.statements += u64::from(facts.statements);
        seen.unread += u64::from(facts.hints.contains(Hints::UNSURE));
        drop(seen);
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        self.texts.push(String::from_utf8_lossy(&text[..end]).into_owned());
    }

    /// A transaction is over.
    fn judge(&mut self) -> io::Result<()> {
        let state = self.ask(STATE)?.concat();
        let said = self.hints.intersects(Hints::STATE | Hints::CLOSE | Hints::DROP);
        let changed = state != self.state;
        let more = changed && !said && only_more_temporary(&self.state, &state);
        let said = said || more;
        let hidden = changed && !said && self.has_telling_functions()?;
        let what = format!("{} : {} -> {state}", self.texts.join("; "), self.state);
        let mut seen = self.seen.lock().unwrap();
        seen.transactions += 1;
        seen.changes += u64::from(changed);
        seen.more += u64::from(more);
        seen.needless += u64::from(self.hints.intersects(Hints::STATE) && !changed);
        if changed && !said {
            if hidden { seen.functions.push(what) } else { seen.missed.push(what) }
        }
        drop(seen);
        (self.state, self.hints) = (state, Hints::NONE);
        self.texts.clear();
        Ok(())
    }

    /// Whether some function's body names session state, or cannot be read.
    fn has_telling_functions(&mut self) -> io::Result<bool> {
        let bodies = self.ask(BODIES)?;
        Ok(bodies.iter().any(|body| body_settings(body.as_bytes()).0.intersects(Hints::STATE)))
    }

    /// The first column of what `sql` returns.
    fn ask(&mut self, sql: &str) -> io::Result<Vec<String>> {
        let text = [QUIETLY.as_bytes(), sql.as_bytes(), b"\0"].concat();
        write(&mut self.server, &(b'Q', text))?;
        let mut rows = Vec::new();
        loop {
            let (tag, body) = read(&mut self.server)?;
            match tag {
                b'D' => {
                    let length = i32::from_be_bytes(body[2..6].try_into().unwrap());
                    let length = usize::try_from(length).unwrap_or(0);
                    rows.push(String::from_utf8_lossy(&body[6..6 + length]).into_owned());
                }
                b'E' => rows.push(format!("error {}", String::from_utf8_lossy(&body))),
                // What is the client's own.
                b'A' => write(&mut self.client, &(tag, body))?,
                b'Z' => return Ok(rows),
                _ => {}
            }
        }
    }
}

/// Whether there were temporary things before, there are some now, and nothing else has changed: a
/// view over a temporary table is temporary without saying so.
fn only_more_temporary(before: &str, now: &str) -> bool {
    let (before, now) = (before.rsplit_once('|'), now.rsplit_once('|'));
    before.zip(now).is_some_and(|((a, some), (b, more))| a == b && some != "0" && more != "0")
}

fn read(from: &mut TcpStream) -> io::Result<Message> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
    let mut body = vec![0; length - 4];
    from.read_exact(&mut body)?;
    Ok((head[0], body))
}

fn write(to: &mut TcpStream, (tag, body): &Message) -> io::Result<()> {
    let length = u32::try_from(body.len() + 4).unwrap();
    to.write_all(&[&[*tag][..], &length.to_be_bytes(), body].concat())
}
