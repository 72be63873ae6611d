"""asyncpg: binary throughout, its own prepared statements, its own pool."""

import asyncio
import io

import asyncpg

from common import CA, DATABASE, HOST, OPTIONS, PASSWORD, PORT, TYPES, USER, say, section, tls_context


def words():
    settings = {"application_name": "drivers"}
    if OPTIONS:
        settings["options"] = OPTIONS
    return dict(host=HOST, port=PORT, user=USER, password=PASSWORD or None, database=DATABASE,
                ssl=tls_context() if CA else False, server_settings=settings, timeout=20)


async def failed(what, coroutine):
    try:
        say(what, "no error", str(await coroutine)[:40])
    except asyncpg.PostgresError as error:
        say(what, type(error).__name__, error.sqlstate, str(error), error.detail, error.hint)


async def types(conn):
    section("types")
    for expression in TYPES:
        try:
            row = await conn.fetchrow(f"select {expression} as v")
            value = row["v"]
            say(expression, repr(value) if isinstance(value, asyncpg.Record) else value)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, NotImplementedError) as error:
            say(expression, type(error).__name__)
    await conn.execute("create type mood as enum ('sad', 'glad')")
    await conn.execute("create type pair as (a int, b mood)")
    say("enum", await conn.fetchval("select 'glad'::mood"))
    say("composite", tuple(await conn.fetchval("select row(1, 'sad')::pair")))
    say("enum parameter", await conn.fetchval("select $1::mood[]", ["sad", "glad"]))
    say("parameters", await conn.fetchrow("select $1::int8 + 1, $2::text, $3::bytea, $4::jsonb", 41, "x", b"\0", "{}"))


async def transactions(conn):
    section("transactions")
    await conn.execute("create table t (id int primary key, v text)")
    async with conn.transaction():
        await conn.executemany("insert into t values ($1, $2)", [(n, str(n)) for n in range(100)])
    try:
        async with conn.transaction(isolation="serializable"):
            await conn.execute("delete from t")
            async with conn.transaction():
                await conn.execute("insert into t values (500, 'in')")
            raise KeyError
    except KeyError:
        pass
    say("count", await conn.fetchval("select count(*) from t"))
    async with conn.transaction():
        try:
            async with conn.transaction():
                await conn.execute("insert into t values (1, 'dup')")
        except asyncpg.UniqueViolationError as error:
            say("savepoint", error.sqlstate, error.constraint_name)
        await conn.execute("insert into t values (101, 'x')")
        total = 0
        async for record in conn.cursor("select id from t order by id", prefetch=7):
            total += record["id"]
        say("cursor", total)
        cur = await conn.cursor("select id from t order by id")
        say("forward", await cur.forward(90), [r["id"] for r in await cur.fetch(5)])


async def statements(conn):
    section("statements")
    statement = await conn.prepare("select $1::int * $2::int as product")
    say("attributes", [(a.name, a.type.name) for a in statement.get_attributes()])
    say("parameters", [p.name for p in statement.get_parameters()])
    say("values", [await statement.fetchval(n, 7) for n in range(10)])
    say("status", statement.get_statusmsg())
    for n in range(150):
        await conn.fetchval(f"select {n} + $1::int", n)
    await conn.execute("create table shape (a int)")
    await conn.execute("insert into shape values (1)")
    say("before", [tuple(r) for r in await conn.fetch("select * from shape")])
    await conn.execute("alter table shape add b text default 'b'")
    say("after", [tuple(r) for r in await conn.fetch("select * from shape")])
    await failed("syntax in prepare", conn.prepare("selekt $1"))
    await failed("unknown column", conn.fetch("select nothing from t"))
    await failed("at execution", conn.fetch("select 1 / $1::int", 0))
    await failed("unique", conn.execute("insert into t values (1, '')"))
    say("empty", await conn.fetch(""))
    say("script", await conn.execute("create table s1 (a int); insert into s1 values (1), (2); delete from s1"))
    await failed("script", conn.execute("insert into s1 values (1); select 1/0"))
    say("rolled back", await conn.fetchval("select count(*) from s1"))


async def copies(conn):
    section("copy")
    await conn.execute("create table c (a int, b text)")
    say("records", await conn.copy_records_to_table("c", schema_name="drv_asyncpg", records=[(n, f"r{n}\t\\") for n in range(3000)]))
    for kind in ("text", "csv", "binary"):
        data = io.BytesIO()
        say("out", kind, await conn.copy_from_query("select * from c order by a", output=data, format=kind), data.getvalue())
        data.seek(0)
        say("in", kind, await conn.copy_to_table("c", schema_name="drv_asyncpg", source=data, format=kind))
    await failed("broken", conn.copy_to_table("c", schema_name="drv_asyncpg", source=io.BytesIO(b"1\tx\nbad\n"), format="text"))
    await failed("out", conn.copy_from_query("select 1/(50-g) from generate_series(1,90) g", output=io.BytesIO()))
    say("count", await conn.fetchval("select count(*) from c"))


async def cancel(conn):
    section("cancel")
    other = await asyncpg.connect(**words())
    task = asyncio.create_task(conn.execute("select pg_sleep(60) /* cancel-asyncpg */"))
    sought = "select count(*) from pg_stat_activity where state = 'active' and query like '%cancel-asyncpg%' and pid <> pg_backend_pid()"
    while await other.fetchval(sought) == 0:
        pass
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        say("cancelled", "by the client")
    say("alive", await conn.fetchval("select 1"))
    try:
        await conn.fetchval("select pg_sleep(60)", timeout=0.2)
    except asyncio.TimeoutError:
        say("timeout", "by the client")
    say("alive", await conn.fetchval("select 2"))
    await other.close()


async def the_rest(conn):
    section("notices")
    conn.add_log_listener(lambda _, m: say("notice", m.severity, m.sqlstate, m.message))
    await conn.execute("do $$ begin raise notice 'n1'; raise warning 'w1'; end $$")
    section("notify")
    got = asyncio.Queue()
    await conn.add_listener("drv_asyncpg", lambda c, pid, channel, payload: got.put_nowait((channel, payload)))
    await conn.execute("notify drv_asyncpg, 'one'")
    other = await asyncpg.connect(**words())
    await other.execute("notify drv_asyncpg, 'two'")
    say("got", [await asyncio.wait_for(got.get(), 20) for _ in range(2)])
    await other.close()
    section("settings")
    settings = conn.get_settings()
    for name in ("client_encoding", "server_encoding", "application_name", "TimeZone", "DateStyle", "is_superuser", "server_version"):
        say(name, getattr(settings, name))
    await conn.execute("set timezone = 'Asia/Tokyo'")
    say("TimeZone", conn.get_settings().TimeZone)
    section("large")
    say("out", await conn.fetchval("select repeat('z', 10000000)"))
    say("in", await conn.fetchval("select length($1)", "q" * 10_000_000))


async def pool():
    section("pool")
    async with asyncpg.create_pool(min_size=1, max_size=3, **words()) as pool:
        async def one(n):
            async with pool.acquire() as conn:
                async with conn.transaction():
                    await conn.execute("update drv_asyncpg.t set v = v || $1 where id = $2", "+", n % 3)
                return await conn.fetchval("select $1::int * 2", n)

        say("values", await asyncio.gather(*(one(n) for n in range(40))))
        say("rows", [tuple(r) for r in await pool.fetch("select id, length(v) from drv_asyncpg.t where id < 3 order by 1")])


async def main():
    conn = await asyncpg.connect(**words())
    await conn.execute("set client_min_messages to warning; drop schema if exists drv_asyncpg cascade; create schema drv_asyncpg; reset client_min_messages")
    await conn.execute("set search_path to drv_asyncpg")
    for part in (types, transactions, statements, copies, cancel, the_rest):
        await part(conn)
    await pool()
    await conn.execute("set client_min_messages to warning; drop schema drv_asyncpg cascade")
    await conn.close()
    section("end")


asyncio.run(main())
