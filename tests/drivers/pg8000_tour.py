"""pg8000: a driver in pure Python with a protocol implementation of its own."""

import io

import pg8000.dbapi
import pg8000.native

from common import CA, DATABASE, HOST, OPTIONS, PASSWORD, PORT, TYPES, USER, say, section, tls_context


def connect(module):
    words = dict(user=USER, host=HOST, port=PORT, database=DATABASE, password=PASSWORD or None,
                 ssl_context=tls_context() if CA else None, application_name="drivers", timeout=60)
    if OPTIONS:
        words["startup_params"] = {"options": OPTIONS}
    return module.Connection(**words) if module is pg8000.native else module.connect(**words)


def failed(what, call):
    try:
        say(what, "no error", call())
    except (pg8000.native.DatabaseError, pg8000.dbapi.DatabaseError) as error:
        fields = error.args[0]
        say(what, fields["S"], fields["C"], fields["M"], fields.get("D"))


def main():
    conn = connect(pg8000.native)
    conn.run("set client_min_messages to warning")
    conn.run("drop schema if exists drv_pg8000 cascade")
    conn.run("create schema drv_pg8000")
    conn.run("reset client_min_messages")
    conn.run("set search_path to drv_pg8000")
    section("parameters")
    for name in ("server_version", "client_encoding", "DateStyle", "TimeZone", "application_name"):
        say(name, conn.parameter_statuses.get(name))
    section("types")
    for expression in TYPES:
        try:
            say(expression, conn.run(f"select {expression}".replace(":", "::").replace("::::", "::"))[0])
        except Exception as error:  # what the driver cannot read is not the proxy's matter
            say(expression, type(error).__name__)
    section("statements")
    prepared = conn.prepare("select :a * 2, :b")
    for n in range(5):
        say("prepared", prepared.run(a=n, b=str(n)))
    prepared.close()
    conn.run("create table t (id int primary key, v text)")
    conn.run("begin")
    conn.run("insert into t select g, g::text from generate_series(1, 100) g")
    say("count", conn.row_count)
    conn.run("rollback")
    say("rows", conn.run("select count(*) from t"))
    conn.run("insert into t values (:id, :v)", id=1, v="one")
    section("errors")
    failed("unique", lambda: conn.run("insert into t values (1, 'x')"))
    failed("syntax", lambda: conn.run("selekt"))
    failed("division", lambda: conn.run("select 1 / :n", n=0))
    conn.run("begin")
    failed("in a block", lambda: conn.run("select * from nowhere"))
    failed("aborted", lambda: conn.run("select 1"))
    conn.run("rollback")
    say("several", conn.run("select 1; select 2, 'x'"), conn.run(""), conn.run(";"))
    section("copy")
    out = io.BytesIO()
    conn.run("copy t from stdin", stream=io.BytesIO(b"".join(b"%d\tv%d\n" % (n, n) for n in range(10, 1000))))
    conn.run("copy (select * from t order by id) to stdout (format csv)", stream=out)
    say("out", out.getvalue())
    failed("broken", lambda: conn.run("copy t from stdin", stream=io.BytesIO(b"bad\n")))
    section("notices")
    conn.run("do $$ begin raise notice 'hello'; end $$")
    say("notices", [n[b"M"] for n in conn.notices])
    conn.run("listen drv_pg8000")
    conn.run("notify drv_pg8000, 'x'")
    conn.run("select 1")
    say("notifications", [n[1:] for n in conn.notifications])
    section("large")
    say("row", conn.run("select repeat('x', 2000000), length(:v)", v="y" * 1_000_000)[0])
    conn.close()
    section("dbapi")
    conn = connect(pg8000.dbapi)
    cur = conn.cursor()
    cur.execute("set search_path to drv_pg8000")
    cur.executemany("insert into t values (%s, %s)", [(n, "m") for n in range(2000, 2020)])
    conn.rollback()
    cur.execute("select count(*) from drv_pg8000.t")
    say("rolled back", cur.fetchone()[0])
    cur.execute("set local client_min_messages to warning")
    cur.execute("drop schema drv_pg8000 cascade")
    conn.commit()
    conn.close()
    section("end")


main()
