"""psycopg 3, synchronous: the whole tour."""

import io
import threading

import psycopg
from psycopg import errors, sql

from common import PARAMETERS, TYPES, libpq, mask, say, section


def failed(what, call):
    try:
        result = call()
    except psycopg.Error as error:
        diag = error.diag
        say(what, type(error).__name__, error.sqlstate, diag.severity, diag.message_primary,
            diag.message_detail, diag.message_hint, diag.statement_position, diag.constraint_name,
            diag.context)
        return
    say(what, "no error", str(result)[:50])


def parameters(conn):
    section("parameters")
    for name in PARAMETERS:
        say(name, conn.info.parameter_status(name))
    say("encoding", conn.info.encoding)
    conn.execute("set timezone to 'Asia/Tokyo'")
    say("after set", conn.info.parameter_status("TimeZone"))
    conn.execute("set client_encoding to 'LATIN1'")
    say("latin1", conn.info.parameter_status("client_encoding"), conn.execute("select 'é'").fetchone())
    conn.execute("set client_encoding to 'UTF8'")
    conn.execute("begin")
    conn.execute("set local timezone to 'UTC'")
    say("local", conn.info.parameter_status("TimeZone"))
    conn.execute("rollback")
    say("after rollback", conn.info.parameter_status("TimeZone"), conn.execute("show timezone").fetchone())
    conn.execute("reset timezone")
    say("after reset", conn.info.parameter_status("TimeZone"))


def types(conn):
    section("types")
    conn.execute("set timezone to 'UTC'")
    for expression in TYPES:
        for binary in (False, True):
            cur = conn.cursor(binary=binary)
            try:
                cur.execute(f"select {expression}")
                say(expression, "binary" if binary else "text", cur.fetchone(), cur.description[0].type_code)
            except (psycopg.Error, NotImplementedError, UnicodeDecodeError) as error:
                say(expression, binary, type(error).__name__)
    for value in (None, True, 7, 2**40, 1.25, "té", b"\x00\x01", [1, 2], ["a", None]):
        say("parameter", conn.execute("select %s", (value,)).fetchone())
        say("binary parameter", conn.execute("select %b", (value,)).fetchone())


def transactions(conn):
    section("transactions")
    conn.execute("create table t (id int primary key, v text)")
    with conn.transaction():
        conn.execute("insert into t values (1, 'one')")
    try:
        with conn.transaction():
            conn.execute("insert into t values (2, 'two')")
            raise ValueError("no")
    except ValueError:
        pass
    with conn.transaction():
        conn.execute("insert into t values (3, 'three')")
        try:
            with conn.transaction():
                conn.execute("insert into t values (1, 'again')")
        except errors.UniqueViolation as error:
            say("savepoint", error.sqlstate)
        conn.execute("insert into t values (4, 'four')")
    say("rows", conn.execute("select * from t order by id").fetchall())
    conn.execute("begin isolation level serializable read only")
    say("isolation", conn.execute("show transaction_isolation").fetchone())
    failed("read only", lambda: conn.execute("insert into t values (9)"))
    failed("aborted", lambda: conn.execute("select 1"))
    say("status", conn.info.transaction_status.name)
    conn.rollback()
    say("status", conn.info.transaction_status.name)
    say("two phase", conn.execute("select count(*) from pg_prepared_xacts").fetchone())


def cursors(conn):
    section("cursors")
    with conn.transaction():
        with conn.cursor("c1") as cur:
            cur.execute("select g, repeat('x', g %% 7) from generate_series(1, %s) g", (1000,))
            say("first", cur.fetchmany(3))
            cur.scroll(500)
            say("scrolled", cur.fetchone())
            say("rest", len(cur.fetchall()))
    with conn.cursor("held", withhold=True, scrollable=True) as cur:
        cur.execute("select generate_series(1, 50)")
        conn.commit()
        say("held", cur.fetchmany(2))
        cur.scroll(40, mode="absolute")
        say("held scrolled", cur.fetchmany(2))
    failed("no cursor", lambda: conn.execute("fetch 1 from nothing"))


def pipelines(conn):
    section("pipelines")
    with conn.pipeline():
        cursors = [conn.execute("select %s::int * 2", (n,)) for n in range(200)]
        say("sum", sum(c.fetchone()[0] for c in cursors))
    try:
        with conn.pipeline() as pipe:
            conn.execute("insert into t values (100, 'pipe')")
            conn.execute("insert into t values (1, 'clash')")
            lost = conn.execute("insert into t values (101, 'lost')")
            pipe.sync()
            kept = conn.execute("select 'after sync'")
            pipe.sync()
    except errors.UniqueViolation as error:
        say("pipeline error", error.sqlstate)
    say("rows", conn.execute("select id from t where id >= 100 order by 1").fetchall())
    with conn.pipeline():
        with conn.transaction():
            conn.execute("insert into t values (102, 'in tx')")
        say("in pipeline", conn.execute("select v from t where id = 102").fetchone())
    cur = conn.cursor()
    cur.executemany("insert into t values (%s, %s) returning id", [(200 + n, str(n)) for n in range(50)],
                    returning=True)
    total = 0
    while True:
        total += cur.fetchone()[0]
        if not cur.nextset():
            break
    say("executemany", total)


def copies(conn):
    section("copy")
    conn.execute("create table c (a int, b text, d date)")
    with conn.cursor().copy("copy c from stdin") as copy:
        for n in range(5000):
            copy.write_row((n, None if n % 3 == 0 else f"tab\tnl\n\\ {n}", "2026-01-02"))
    say("in text", conn.execute("select count(*), count(b), sum(a) from c").fetchone())
    for kind in ("text", "csv", "binary"):
        data = io.BytesIO()
        with conn.cursor().copy(f"copy (select * from c order by a) to stdout (format {kind})") as copy:
            for block in copy:
                data.write(block)
        say(f"out {kind}", data.getvalue())
        conn.execute("truncate c")
        with conn.cursor().copy(f"copy c from stdin (format {kind})") as copy:
            copy.write(data.getvalue())
        say(f"in {kind}", conn.execute("select count(*), count(b), sum(a), max(b) from c").fetchone())
    with conn.cursor().copy("copy (select * from c order by a limit 3) to stdout (format binary)") as copy:
        copy.set_types(["int4", "text", "date"])
        say("rows", list(copy.rows()))

    def broken_row():
        with conn.cursor().copy("copy c from stdin") as copy:
            copy.write("1\tx\t2026-01-01\nnot a number\n")
            copy.write("2\ty\t2026-01-01\n" * 20000)

    failed("in copy", broken_row)

    def given_up():
        with conn.cursor().copy("copy c from stdin") as copy:
            copy.write("1\tx\t2026-01-01\n")
            raise ZeroDivisionError

    try:
        given_up()
    except ZeroDivisionError:
        say("copy given up", conn.info.transaction_status.name)

    def breaks_off():
        with conn.cursor().copy("copy (select 1/(5000-g) from generate_series(1,9000) g) to stdout") as copy:
            for _ in copy:
                pass

    failed("mid copy out", breaks_off)
    say("alive", conn.execute("select 1").fetchone())


def statements(conn):
    section("statements")
    for n in range(8):
        conn.execute("select %s::int + 1", (n,), prepare=True)
    say("prepared", conn.execute("select count(*) > 0 from pg_prepared_statements").fetchone())
    conn.execute("prepare mine (int) as select $1 * 3")
    say("sql prepare", conn.execute("execute mine(14)").fetchone())
    failed("twice", lambda: conn.execute("prepare mine (int) as select $1"))
    conn.execute("deallocate mine")
    failed("deallocated", lambda: conn.execute("execute mine(1)"))
    conn.execute("create table shape (a int)")
    conn.execute("insert into shape values (1)")
    for step in range(3):
        failed_cur = lambda: conn.execute("select * from shape", prepare=True).fetchall()
        try:
            say("shape", failed_cur())
        except psycopg.Error as error:
            say("shape", error.sqlstate)
        if step == 0:
            conn.execute("alter table shape add b int")
    conn.execute("discard all")
    conn.execute("set search_path to drv_psycopg_sync")
    say("after discard", conn.execute("select %s::text", ("x",)).fetchone())


def refusals(conn):
    section("errors")
    failed("syntax", lambda: conn.execute("selekt 1"))
    failed("no table", lambda: conn.execute("select * from nowhere"))
    failed("division", lambda: conn.execute("select 1/%s", (0,)))
    failed("parameter", lambda: conn.execute("select %s::int", ("x",)))
    failed("unique", lambda: conn.execute("insert into t values (1, 'again')"))
    failed("not null", lambda: conn.execute("insert into t values (null, 'x')"))
    failed("raise", lambda: conn.execute("do $$ begin raise exception 'mine' using errcode='P1234', detail='d', hint='h'; end $$"))
    conn.execute("create table child (id int references t deferrable initially deferred)")

    def deferred():
        with conn.transaction():
            conn.execute("insert into child values (777)")

    failed("at commit", deferred)
    failed("too many columns", lambda: conn.execute("insert into t values (1, 2, 3)"))
    failed("statement timeout", lambda: conn.execute("set statement_timeout = '50ms'; select pg_sleep(30)"))
    conn.execute("reset statement_timeout")
    failed("vacuum in a block", lambda: conn.execute("begin; vacuum t"))
    conn.rollback()


def the_rest(conn):
    section("notices")
    conn.add_notice_handler(lambda d: say("notice", d.severity, d.sqlstate, d.message_primary, d.message_hint))
    conn.execute("do $$ begin raise notice 'one'; raise warning 'two' using hint = 'h'; end $$")
    conn.execute("drop table if exists nowhere")
    section("notify")
    conn.execute("listen drv_sync")
    conn.execute("notify drv_sync, 'hello'")
    with psycopg.connect(**libpq(), autocommit=True) as other:
        other.execute("select pg_notify('drv_sync', 'from another')")
    for n in conn.notifies(timeout=20, stop_after=2):
        say("got", n.channel, n.payload)
    conn.execute("unlisten *")
    section("simple")
    cur = conn.cursor()
    cur.execute("select 1; select 'two', 3; create table m (a int); insert into m values (1),(2); select * from m")
    while True:
        say("result", cur.statusmessage, cur.fetchall() if cur.description else None)
        if not cur.nextset():
            break
    failed("in the middle", lambda: conn.execute("insert into m values (3); select 1/0; insert into m values (4)"))
    say("implicit transaction", conn.execute("select count(*) from m").fetchone())
    say("empty", conn.execute("").statusmessage, conn.execute(" ; ; -- nothing").statusmessage)
    section("large")
    row = conn.execute("select repeat('x', 50000000), 1").fetchone()
    say("row", row)
    say("parameter", conn.execute("select length(%s)", ("y" * 20_000_000,)).fetchone())
    say("many", len(conn.execute("select g, md5(g::text) from generate_series(1, 100000) g").fetchall()))
    section("temporary")
    conn.execute("create temp table tmp (a int)")
    conn.execute("insert into tmp values (1)")
    say("temp", conn.execute("select * from tmp").fetchall())
    conn.execute("select pg_advisory_lock(4711)")
    say("unlock", conn.execute("select pg_advisory_unlock(4711), pg_advisory_unlock(4712)").fetchone())
    section("large objects")
    with conn.transaction():
        oid = conn.execute("select lo_from_bytea(0, %s)", (b"abc" * 1000,)).fetchone()[0]
        say("lo", conn.execute("select length(lo_get(%s))", (oid,)).fetchone())
        conn.execute("select lo_unlink(%s)", (oid,))


def cancel(conn):
    section("cancel")
    with psycopg.connect(**libpq(), autocommit=True) as watch:
        def when_running():
            sought = "select count(*) from pg_stat_activity where state = 'active' and query like '%cancel-sync%' and pid <> pg_backend_pid()"
            while watch.execute(sought).fetchone()[0] == 0:
                pass
            conn.cancel_safe(timeout=20)

        for _ in range(3):
            thread = threading.Thread(target=when_running)
            thread.start()
            failed("cancelled", lambda: conn.execute("select pg_sleep(60) /* cancel-sync */"))
            thread.join()
    say("alive", conn.execute("select 1").fetchone())


def main():
    with psycopg.connect(**libpq(), autocommit=True) as conn:
        conn.execute("set client_min_messages to warning")
        conn.execute("drop schema if exists drv_psycopg_sync cascade")
        conn.execute("create schema drv_psycopg_sync")
        conn.execute("reset client_min_messages")
        conn.execute("set search_path to drv_psycopg_sync")
        for part in (parameters, types, transactions, cursors, pipelines, copies, statements,
                     refusals, the_rest, cancel):
            part(conn)
        conn.execute("set client_min_messages to warning")
        conn.execute("drop schema drv_psycopg_sync cascade")
    section("end")


main()
