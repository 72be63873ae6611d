"""psycopg2: simple protocol only, large objects by function call, COPY by file."""

import io
import select
import threading

import psycopg2
import psycopg2.extras
from psycopg2 import extensions

from common import PARAMETERS, TYPES, libpq, say, section


def failed(conn, what, statement, values=None):
    with conn.cursor() as cur:
        try:
            cur.execute(statement, values)
            say(what, "no error", cur.statusmessage)
        except psycopg2.Error as error:
            say(what, type(error).__name__, error.pgcode, error.diag.message_primary, error.diag.message_detail)


def large_objects(conn):
    section("large objects")
    big = conn.lobject(0, "wb")
    oid = big.oid
    data = bytes(range(256)) * 4096
    say("written", big.write(data))
    big.close()
    conn.commit()
    big = conn.lobject(oid, "rb")
    say("read", big.read(300), big.tell())
    say("seek", big.seek(1000), big.read(10), big.seek(-3, 2), big.read())
    big.close()
    big = conn.lobject(oid, "rwb")
    big.truncate(500)
    big.seek(0)
    say("truncated", big.read())
    big.unlink()
    conn.commit()
    try:
        conn.lobject(oid, "rb")
    except psycopg2.Error as error:
        say("unlinked", str(error).replace(str(oid), "<oid>").strip())
    conn.rollback()


def copies(conn):
    section("copy")
    with conn.cursor() as cur:
        cur.execute("create table c (a int, b text)")
        cur.copy_expert("copy c from stdin", io.StringIO("".join(f"{n}\tx{n}\n" for n in range(4000))))
        say("in", cur.rowcount, cur.statusmessage)
        for kind in ("text", "csv", "binary"):
            out = io.BytesIO()
            cur.copy_expert(f"copy (select * from c order by a) to stdout (format {kind})", out)
            say("out", kind, out.getvalue(), cur.statusmessage)
            out.seek(0)
            cur.copy_expert(f"copy c from stdin (format {kind})", out)
            say("back", cur.statusmessage)
    conn.commit()
    with conn.cursor() as cur:
        for text in ("1\tx\nbad\n", "1\n"):
            try:
                cur.copy_expert("copy c from stdin", io.StringIO(text))
            except psycopg2.Error as error:
                say("broken", error.pgcode, error.diag.message_primary, error.diag.context)
            conn.rollback()
        cur.execute("select count(*) from c")
        say("count", cur.fetchone())
    conn.commit()


def main():
    conn = psycopg2.connect(**libpq())
    with conn.cursor() as cur:
        cur.execute("set client_min_messages to warning")
        cur.execute("drop schema if exists drv_psycopg2 cascade; create schema drv_psycopg2")
        cur.execute("reset client_min_messages")
        cur.execute("set search_path to drv_psycopg2")
    conn.commit()
    section("parameters")
    for name in PARAMETERS:
        say(name, conn.get_parameter_status(name))
    say("encoding", conn.encoding, conn.server_version > 150000)
    section("types")
    for expression in TYPES:
        with conn.cursor() as cur:
            cur.execute(f"select {expression}".replace("%", "%%"))
            say(expression, cur.fetchone(), cur.description[0].type_code)
    conn.commit()
    section("transactions")
    with conn, conn.cursor() as cur:
        cur.execute("create table t (id int primary key, v text)")
        psycopg2.extras.execute_values(cur, "insert into t values %s", [(n, str(n)) for n in range(500)])
        say("inserted", cur.rowcount)
    failed(conn, "unique", "insert into t values (%s, 'x')", (1,))
    failed(conn, "aborted", "select 1")
    say("status", conn.get_transaction_status())
    conn.rollback()
    with conn.cursor() as cur:
        cur.execute("savepoint a; insert into t values (1000, 'a'); rollback to a; insert into t values (1001, 'b')")
    conn.commit()
    with conn.cursor("named") as cur:
        cur.itersize = 50
        cur.execute("select id from t order by id")
        say("named", sum(row[0] for row in cur))
    conn.commit()
    section("errors")
    for statement in ("selekt", "select 1/0", "select * from nowhere", "insert into t values (null)"):
        failed(conn, statement, statement)
        conn.rollback()
    failed(conn, "several", "insert into t values (5000, ''); select 1/0")
    conn.rollback()
    failed(conn, "empty", ";")
    conn.rollback()
    copies(conn)
    large_objects(conn)
    section("notices")
    with conn.cursor() as cur:
        cur.execute("do $$ begin raise notice 'hello'; end $$")
    say("notices", conn.notices[-1:])
    conn.commit()
    section("notify")
    conn.set_session(autocommit=True)
    with conn.cursor() as cur:
        cur.execute("listen drv_psycopg2; notify drv_psycopg2, 'payload'")
        cur.execute("select 1")
    while not conn.notifies:
        select.select([conn], [], [], 20)
        conn.poll()
    say("got", conn.notifies[0].channel, conn.notifies[0].payload)
    section("cancel")
    watch = psycopg2.connect(**libpq())
    watch.autocommit = True

    def when_running():
        with watch.cursor() as cur:
            while True:
                cur.execute("select count(*) from pg_stat_activity where state = 'active' and query like '%cancel-psycopg2%' and pid <> pg_backend_pid()")
                if cur.fetchone()[0]:
                    break
        conn.cancel()

    thread = threading.Thread(target=when_running)
    thread.start()
    failed(conn, "cancelled", "select pg_sleep(60) /* cancel-psycopg2 */")
    thread.join()
    watch.close()
    failed(conn, "alive", "select 1")
    section("large")
    with conn.cursor() as cur:
        cur.execute("select repeat('x', 5000000), length(%s)", ("y" * 5_000_000,))
        say("row", cur.fetchone())
        cur.execute("set client_min_messages to warning; drop schema drv_psycopg2 cascade")
    say("status", conn.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE)
    conn.close()
    section("end")


main()
