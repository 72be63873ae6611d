//! sqlx: its pool, its statement cache in three sizes, COPY, listeners and advisory locks.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use sqlx::postgres::{
    PgAdvisoryLock, PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgSslMode,
};
use sqlx::{Acquire, Connection, Either, Executor, Row, query, query_scalar, raw_sql};
use tokio::time::timeout;

type Outcome = Result<(), sqlx::Error>;

/// How many statements a connection keeps prepared.
const CACHES: [usize; 3] = [100, 0, 2];
const TABLES: &str = "set client_min_messages to warning;
    drop schema if exists drv_sqlx cascade; create schema drv_sqlx;
    create type drv_sqlx.k as enum ('a', 'b');
    create table drv_sqlx.t (id serial primary key, v text unique, k drv_sqlx.k);
    reset client_min_messages";
const INSERT: &str = "insert into drv_sqlx.t (v) values ($1)";

fn say(what: &str, value: impl Debug) {
    println!("{what}: {value:?}");
}

/// What a statement came to, without the accidents of an error.
fn told(what: &str, result: Result<impl Debug, sqlx::Error>) {
    match result {
        Ok(value) => println!("{what}: no error, {value:?}"),
        Err(sqlx::Error::Database(error)) => {
            println!("{what}: {:?} {}", error.code(), error.message());
        }
        Err(error) => println!("{what}: {error}"),
    }
}

async fn section(name: &str, part: impl Future<Output = Outcome>) {
    println!("== {name}");
    if let Err(error) = part.await {
        println!("ENDED {error}");
    }
}

struct Tour {
    options: PgConnectOptions,
    pool: PgPool,
    cache: usize,
}

impl Tour {
    async fn new(cache: usize) -> Result<Self, sqlx::Error> {
        let env = |name: &str| std::env::var(name).unwrap_or_default();
        let options = PgConnectOptions::new_without_pgpass()
            .host(&env("PGHOST"))
            .port(env("PGPORT").parse().expect("a port"))
            .username(&env("PGUSER"))
            .password(&env("PGPASSWORD"))
            .database(&env("PGDATABASE"))
            .ssl_mode(PgSslMode::Disable)
            .statement_cache_capacity(cache)
            .options([("work_mem", "7MB")]);
        let pool = PgPoolOptions::new().max_connections(5).connect_with(options.clone()).await?;
        pool.execute(TABLES).await?;
        Ok(Self { options, pool, cache })
    }

    async fn connection(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&self.options).await
    }

    async fn rows(&self) -> Outcome {
        say("work_mem", query_scalar::<_, String>("show work_mem").fetch_one(&self.pool).await?);
        for n in 0..20 {
            query(INSERT).bind(format!("r{n}")).execute(&self.pool).await?;
        }
        told("unique", query(INSERT).bind("r1").execute(&self.pool).await);
        told("syntax", query("selekt").execute(&self.pool).await);
        let nowhere = query("select * from nowhere where a = $1").bind(1);
        told("nowhere", nowhere.execute(&self.pool).await);
        told("division", query("select 1 / $1").bind(0).execute(&self.pool).await);
        let one = |n: i32| query_scalar::<_, i32>("select $1::int").bind(n).fetch_one(&self.pool);
        let all: Result<Vec<i32>, _> = join_all((0..200).map(one)).await.into_iter().collect();
        say("all", all?.iter().sum::<i32>());
        Ok(())
    }

    async fn transactions(&self) -> Outcome {
        let mut outer = self.pool.begin().await?;
        query(INSERT).bind("outer").execute(&mut *outer).await?;
        let mut inner = outer.begin().await?;
        told("inner", query(INSERT).bind("outer").execute(&mut *inner).await);
        inner.rollback().await?;
        outer.commit().await?;
        let mut dropped = self.pool.begin().await?;
        query(INSERT).bind("dropped").execute(&mut *dropped).await?;
        drop(dropped);
        let count = "select count(*) from drv_sqlx.t";
        say("count", query_scalar::<_, i64>(count).fetch_one(&self.pool).await?);
        Ok(())
    }

    async fn streams(&self) -> Outcome {
        let series = "select g from generate_series(1, $1) g";
        let rows = query_scalar::<_, i32>(series).bind(1000).fetch(&self.pool);
        say("sum", rows.try_fold(0, |sum, n| async move { Ok(sum + n) }).await?);
        let mut rows = query(series).bind(100_000).fetch(&self.pool);
        say("first", rows.next().await.expect("a row")?.get::<i32, _>(0));
        // Broken off: its connection goes back to the pool as it is.
        drop(rows);
        say("alive", query_scalar::<_, i32>("select 7").fetch_one(&self.pool).await?);
        Ok(())
    }

    /// With a small cache sqlx drops the statement it describes before it has described it.
    async fn described(&self) -> Outcome {
        let text = "select id, v, k from drv_sqlx.t where id = $1 and k = $2";
        if self.cache >= 100 {
            let described = self.connection().await?.describe(text).await?;
            say("columns", described.columns().len());
            say("nullable", (0..3).map(|n| described.nullable(n)).collect::<Vec<_>>());
        }
        Ok(())
    }

    async fn copies(&self) -> Outcome {
        let mut connection = self.connection().await?;
        let into = "copy drv_sqlx.t (v) from stdin";
        let mut rows = connection.copy_in_raw(into).await?;
        rows.send(&b"c1\nc2\n"[..]).await?;
        say("in", rows.finish().await?);
        let mut rows = connection.copy_in_raw(into).await?;
        rows.send(&b"c3\n"[..]).await?;
        told("aborted", rows.abort("no").await);
        let text = "copy (select v from drv_sqlx.t order by id) to stdout";
        let out: Vec<_> = connection.copy_out_raw(text).await?.try_collect().await?;
        say("out", out.iter().map(|chunk| chunk.len()).sum::<usize>());
        connection.close().await
    }

    /// A table that gets a column by the connection that has a statement over it, and by another.
    async fn changed(&self) -> Outcome {
        let mut connection = self.connection().await?;
        for by in ["own", "other"] {
            let text = format!("select *, '{by}' as by from drv_sqlx.t where id = $1");
            self.columns("before", &mut connection, &text).await;
            if by == "own" {
                connection.execute("alter table drv_sqlx.t add column y int default 5").await?;
            } else {
                self.pool.execute("alter table drv_sqlx.t add column z int default 5").await?;
            }
            self.columns(by, &mut connection, &text).await;
            self.columns(by, &mut connection, &text).await;
            connection.clear_cached_statements().await?;
            self.columns("cleared", &mut connection, &text).await;
        }
        connection.close().await
    }

    async fn columns(&self, what: &str, connection: &mut PgConnection, text: &str) {
        let row = query(text).bind(1).fetch_one(connection).await;
        told(what, row.map(|row| row.len()));
    }

    async fn listeners(&self) -> Outcome {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen_all(["drv_sqlx_a", "drv_sqlx_b"]).await?;
        let notify = query("select pg_notify($1, 'x')").bind("drv_sqlx_b");
        notify.execute(&self.pool).await?;
        let heard = timeout(Duration::from_secs(10), listener.recv()).await;
        say("heard", heard.ok().transpose()?.map(|heard| heard.payload().to_owned()));
        Ok(())
    }

    async fn locks(&self) -> Outcome {
        let lock = PgAdvisoryLock::new("drv_sqlx");
        let held = lock.acquire(self.connection().await?).await?;
        let mut other = self.connection().await?;
        let locked = lock.try_acquire(&mut other).await?;
        say("locked", matches!(locked, Either::Left(_)));
        drop(locked);
        held.release_now().await?;
        let locked = lock.try_acquire(&mut other).await?;
        say("locked", matches!(locked, Either::Left(_)));
        Ok(())
    }

    async fn given_up(&self) -> Outcome {
        let mut connection = self.connection().await?;
        let sleep = query("select pg_sleep(1)").execute(&mut connection);
        say("late", timeout(Duration::from_millis(200), sleep).await.is_err());
        told("then", query_scalar::<_, i32>("select 8").fetch_one(&mut connection).await);
        let several = raw_sql("select 1; select 2; select 1 / 0").fetch_all(&mut connection).await;
        told("several", several.map(|rows| rows.len()));
        connection.ping().await?;
        connection.close().await
    }

    async fn run(&self) -> Outcome {
        section("rows", self.rows()).await;
        section("transactions", self.transactions()).await;
        section("streams", self.streams()).await;
        section("described", self.described()).await;
        section("copy", self.copies()).await;
        section("changed", self.changed()).await;
        section("listeners", self.listeners()).await;
        section("locks", self.locks()).await;
        section("given up", self.given_up()).await;
        self.pool.execute("drop schema drv_sqlx cascade").await?;
        self.pool.close().await;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Outcome {
    for cache in CACHES {
        println!("=== sqlx with {cache} statements");
        Tour::new(cache).await?.run().await?;
    }
    println!("== end");
    Ok(())
}
