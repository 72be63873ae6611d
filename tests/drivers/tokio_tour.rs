//! tokio-postgres: binary results, pipelining by joined futures, its own statement names.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls, SimpleQueryMessage};

use crate::rustls_connector::Rustls;

/// Where the words lead.
pub fn config(words: &HashMap<&'static str, String>) -> Config {
    let mut config = Config::new();
    config.host(&words["T_HOST"]).port(words["T_PORT"].parse().unwrap());
    config.user(&words["T_USER"]).dbname(&words["T_DATABASE"]);
    config.password(&words["T_PASSWORD"]).application_name("drivers");
    if !words["T_CA"].is_empty() {
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
    }
    if !words["T_OPTIONS"].is_empty() {
        config.options(&words["T_OPTIONS"]);
    }
    config
}

type Events = mpsc::UnboundedReceiver<String>;

async fn connect(config: &Config, tls: Option<Arc<ClientConfig>>) -> (Client, Events) {
    let (say, events) = mpsc::unbounded_channel();
    let client = match tls {
        None => {
            let (client, connection) = config.connect(NoTls).await.unwrap();
            tokio::spawn(listen(connection, say));
            client
        }
        Some(tls) => {
            let (client, connection) = config.connect(Rustls(tls)).await.unwrap();
            tokio::spawn(listen(connection, say));
            client
        }
    };
    (client, events)
}

async fn listen<S, T>(mut connection: Connection<S, T>, say: mpsc::UnboundedSender<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
    while let Some(event) = messages.next().await {
        tell(&say, event);
    }
}

fn tell(say: &mpsc::UnboundedSender<String>, event: Result<AsyncMessage, Error>) {
    let line = match event {
        Ok(AsyncMessage::Notice(notice)) => {
            format!("notice {} {} {}", notice.severity(), notice.code().code(), notice.message())
        }
        Ok(AsyncMessage::Notification(note)) => {
            format!("notification {} {}", note.channel(), note.payload())
        }
        Ok(_) => return,
        Err(error) => format!("connection {error}"),
    };
    let _ = say.send(line);
}

fn failure(error: &Error) -> String {
    let Some(db) = error.as_db_error() else { return error.to_string() };
    format!("{} {} {} {:?}", db.severity(), db.code().code(), db.message(), db.detail())
}

fn outcome<T>(result: Result<T, Error>) -> String {
    result.map_or_else(|e| failure(&e), |_| "no error".into())
}

/// Any value in its binary form.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The tour; returns its transcript.
pub async fn run(config: &Config, tls: Option<Arc<ClientConfig>>) -> String {
    let (mut client, mut events) = connect(config, tls.clone()).await;
    let mut out = String::new();
    client
        .batch_execute(
            "set client_min_messages to warning; drop schema if exists drv_tokio cascade;
             create schema drv_tokio; reset client_min_messages; set search_path to drv_tokio;
             set timezone to 'UTC'; create table t (id int primary key, v text)",
        )
        .await
        .unwrap();
    types(&client, &mut out).await;
    transactions(&mut client, &mut out).await;
    statements(&client, &mut out).await;
    copies(&client, &mut out).await;
    errors(&client, &mut out).await;
    cancel(&client, config, tls, &mut out).await;

    client.batch_execute("do $$ begin raise notice 'n'; raise warning 'w'; end $$").await.unwrap();
    client.batch_execute("listen drv_tokio; notify drv_tokio, 'payload'").await.unwrap();
    for _ in 0..3 {
        let event = tokio::time::timeout(Duration::from_secs(20), events.recv()).await;
        writeln!(out, "event {event:?}").unwrap();
    }
    let sent = "y".repeat(9_999_999);
    let sql = "select repeat('x', 50000000), length($1)";
    let big = client.query_one(sql, &[&sent]).await.unwrap();
    writeln!(out, "large {} {}", big.get::<_, &str>(0).len(), big.get::<_, i32>(1)).unwrap();
    let end = "unlisten *; set client_min_messages to warning; drop schema drv_tokio cascade";
    writeln!(out, "end {}", outcome(client.batch_execute(end).await)).unwrap();
    out
}

async fn types(client: &Client, out: &mut String) {
    for expression in [
        "true",
        "null::int",
        "2147483647::int4",
        "1.5::float8",
        "'NaN'::numeric",
        "'ünï'::text",
        r"'\x00ff'::bytea",
        "'2026-02-28 12:34:56+02'::timestamptz",
        "'1 day 02:03'::interval",
        "array[1,null,3]",
        r#"'{"a": 1}'::jsonb"#,
        "'10.1.2.3'::inet",
        "row(1,'x')",
        "int4range(1,9)",
    ] {
        let sql = format!("select {expression}");
        let row = client.query_one(&sql, &[]).await.unwrap();
        let raw = row.get::<_, Option<Raw>>(0).map(|r| r.0);
        let text = match &client.simple_query(&sql).await.unwrap()[1] {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        let kind = row.columns()[0].type_().name();
        writeln!(out, "{expression}: {kind} {raw:?} {text:?}").unwrap();
    }
    let (number, bytes, floats) = (41_i64, &b"\0\x01"[..], vec![1.5_f64, f64::INFINITY]);
    let sql = "select $1::int8 + 1, $2::text, $3::bytea, $4::float8[]";
    let row = client.query_one(sql, &[&number, &"té", &bytes, &floats]).await.unwrap();
    let floats: Vec<f64> = row.get(3);
    writeln!(
        out,
        "{} {} {:?} {floats:?}",
        row.get::<_, i64>(0),
        row.get::<_, &str>(1),
        row.get::<_, &[u8]>(2)
    )
    .unwrap();
    client.batch_execute("create type mood as enum ('sad', 'glad')").await.unwrap();
    let statement = client.prepare("select $1::mood, 'glad'::mood").await.unwrap();
    writeln!(out, "enum {:?}", statement.params()[0].kind()).unwrap();
}

async fn transactions(client: &mut Client, out: &mut String) {
    let mut tx = client.transaction().await.unwrap();
    tx.execute("insert into t values ($1, $2)", &[&1, &"one"]).await.unwrap();
    let savepoint = tx.savepoint("s").await.unwrap();
    let clash = savepoint.execute("insert into t values (1, 'again')", &[]).await;
    writeln!(out, "savepoint {}", outcome(clash)).unwrap();
    savepoint.rollback().await.unwrap();
    let portal = tx.bind("select generate_series(1, $1::int)", &[&100]).await.unwrap();
    for count in [3, 50, 0, 0] {
        let rows = tx.query_portal(&portal, count).await.unwrap();
        let sum: i32 = rows.iter().map(|r| r.get::<_, i32>(0)).sum();
        writeln!(out, "portal {} {sum}", rows.len()).unwrap();
    }
    tx.commit().await.unwrap();
    let tx = client.transaction().await.unwrap();
    tx.execute("delete from t", &[]).await.unwrap();
    drop(tx);
    let left = client.query_one("select count(*) from t", &[]).await.unwrap();
    writeln!(out, "left {}", left.get::<_, i64>(0)).unwrap();
    let tx = client.build_transaction().read_only(true).start().await.unwrap();
    writeln!(out, "read only {}", outcome(tx.execute("delete from t", &[]).await)).unwrap();
    writeln!(out, "aborted {}", outcome(tx.query("select 1", &[]).await)).unwrap();
    tx.rollback().await.unwrap();
}

async fn statements(client: &Client, out: &mut String) {
    let statement = client.prepare("select $1::int * 2").await.unwrap();
    let values = (0..300).map(|n| {
        let statement = statement.clone();
        async move { client.query_one(&statement, &[&n]).await.unwrap().get::<_, i32>(0) }
    });
    writeln!(out, "pipelined {}", join_all(values).await.iter().sum::<i32>()).unwrap();
    let many =
        join_all((0..50).map(|n| async move {
            client.prepare(&format!("select {n}, $1::text")).await.unwrap()
        }));
    let many = many.await;
    drop(statement);
    for (n, statement) in many.iter().enumerate().step_by(7) {
        let row = client.query_one(statement, &[&"x"]).await.unwrap();
        writeln!(out, "statement {n} {} {}", row.get::<_, i32>(0), row.get::<_, &str>(1)).unwrap();
    }
    let rows = client.query_raw("select g from generate_series(1, 20000) g", &[] as &[i32]);
    let rows: Vec<_> = rows.await.unwrap().try_collect().await.unwrap();
    writeln!(out, "streamed {}", rows.len()).unwrap();
    let several = client.simple_query("select 1; select 2, 'x'; ; insert into t values (7, 's')");
    for message in several.await.unwrap() {
        match message {
            SimpleQueryMessage::Row(row) => {
                let cells: Vec<_> = (0..row.len()).map(|n| row.get(n)).collect();
                writeln!(out, "row {cells:?}").unwrap();
            }
            SimpleQueryMessage::CommandComplete(n) => writeln!(out, "complete {n}").unwrap(),
            _ => {}
        }
    }
    writeln!(out, "empty {}", client.simple_query("").await.unwrap().len()).unwrap();
}

async fn copies(client: &Client, out: &mut String) {
    client.batch_execute("create table c (a int, b text)").await.unwrap();
    let sink = client.copy_in("copy c from stdin").await.unwrap();
    let mut sink = pin!(sink);
    for n in 0..2000 {
        sink.send(bytes::Bytes::from(format!("{n}\trow\n"))).await.unwrap();
    }
    writeln!(out, "in {}", sink.finish().await.unwrap()).unwrap();
    let sink = client.copy_in("copy c from stdin (format binary)").await.unwrap();
    let writer = BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]);
    let mut writer = pin!(writer);
    for n in 0..500 {
        writer.as_mut().write(&[&n, &None::<&str>]).await.unwrap();
    }
    writeln!(out, "binary in {}", writer.finish().await.unwrap()).unwrap();
    let stream = client.copy_out("copy c to stdout (format csv)").await.unwrap();
    let chunks: Vec<_> = stream.try_collect().await.unwrap();
    writeln!(out, "out {} {}", chunks.len(), chunks.iter().map(bytes::Bytes::len).sum::<usize>())
        .unwrap();
    let stream = client.copy_out("copy c to stdout (format binary)").await.unwrap();
    let rows = BinaryCopyOutStream::new(stream, &[Type::INT4, Type::TEXT]);
    let rows: Vec<_> = rows.try_collect().await.unwrap();
    writeln!(out, "binary out {}", rows.iter().map(|r| i64::from(r.get::<i32>(0))).sum::<i64>())
        .unwrap();
    let sink = client.copy_in("copy c from stdin").await.unwrap();
    let mut sink = pin!(sink);
    sink.send(bytes::Bytes::from_static(b"1\tfine\nbad\n")).await.unwrap();
    writeln!(out, "broken {}", outcome(sink.finish().await)).unwrap();
    let given_up = client.copy_in::<_, bytes::Bytes>("copy c from stdin").await.unwrap();
    drop(given_up);
    let count = client.query_one("select count(*) from c", &[]).await.unwrap();
    writeln!(out, "count {}", count.get::<_, i64>(0)).unwrap();
    let stream = client.copy_out("copy (select 1/(50-g) from generate_series(1,99) g) to stdout");
    let read: Result<Vec<_>, _> = stream.await.unwrap().try_collect().await;
    writeln!(out, "broken out {}", outcome(read)).unwrap();
}

async fn errors(client: &Client, out: &mut String) {
    for sql in ["selekt", "select * from nowhere", "select 1/0", "insert into t values (1)"] {
        writeln!(out, "{sql}: {}", outcome(client.query(sql, &[]).await)).unwrap();
        writeln!(out, "{sql}: {}", outcome(client.batch_execute(sql).await)).unwrap();
    }
    let zero = client.query("select 1 / $1::int", &[&0]).await;
    writeln!(out, "executing {}", outcome(zero)).unwrap();
    // An error of one in a pipeline is not its neighbours'.
    let sql = ["select 1", "select 1/0", "select 2", "selekt", "select 3"];
    let together = join_all(sql.map(|sql| client.query(sql, &[]))).await;
    for (sql, result) in sql.iter().zip(together) {
        writeln!(out, "together {sql}: {}", outcome(result)).unwrap();
    }
}

async fn cancel(
    client: &Client,
    config: &Config,
    tls: Option<Arc<ClientConfig>>,
    out: &mut String,
) {
    let (watch, _events) = connect(config, tls.clone()).await;
    let token = client.cancel_token();
    let sleeping = client.batch_execute("select pg_sleep(60) /* cancel-tokio */");
    let cancelling = async {
        let sought = "select count(*) from pg_stat_activity where state = 'active' \
                      and query like '%cancel-tokio%' and pid <> pg_backend_pid()";
        while watch.query_one(sought, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
        let Host::Tcp(host) = &config.get_hosts()[0] else { panic!("a name or an address") };
        let stream = std::net::TcpStream::connect((host.as_str(), config.get_ports()[0])).unwrap();
        stream.set_nonblocking(true).unwrap();
        let end = TcpStream::from_std(stream.try_clone().unwrap()).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        match tls {
            Some(tls) => {
                let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut Rustls(tls), host);
                token.cancel_query_raw(stream, tls.unwrap()).await.unwrap();
            }
            None => token.cancel_query_raw(stream, NoTls).await.unwrap(),
        }
        ended(end).await;
    };
    let (slept, ()) = tokio::join!(sleeping, cancelling);
    writeln!(out, "cancelled {}", outcome(slept)).unwrap();
    writeln!(out, "alive {}", outcome(client.batch_execute("select 1").await)).unwrap();
}

/// As libpq does: PostgreSQL signals a process and then its group, and the second signal may hit the
/// statement after the one it was meant for. Both are sent when it closes the request's connection.
async fn ended(mut stream: TcpStream) {
    let mut left = [0; 1024];
    while stream.read(&mut left).await.is_ok_and(|read| read > 0) {}
}
