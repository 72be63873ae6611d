"""psycopg 3, asynchronous, behind psycopg_pool."""

import asyncio

import psycopg
from psycopg_pool import AsyncConnectionPool

from common import libpq, say, section


async def worker(pool, n, totals):
    for step in range(20):
        async with pool.connection() as conn:
            async with conn.transaction():
                await conn.execute("update p set v = v + 1 where id = %s", (n % 4,))
                cur = await conn.execute("select %s::int * %s::int", (n, step))
                totals[n] += (await cur.fetchone())[0]


async def main():
    async with await psycopg.AsyncConnection.connect(**libpq(), autocommit=True) as conn:
        await conn.execute("set client_min_messages to warning")
        await conn.execute("drop schema if exists drv_psycopg_async cascade")
        await conn.execute("create schema drv_psycopg_async")
        await conn.execute("create table drv_psycopg_async.p (id int primary key, v int)")
        await conn.execute("insert into drv_psycopg_async.p select g, 0 from generate_series(0, 3) g")

    async def configure(conn):
        await conn.set_autocommit(True)
        await conn.execute("set search_path to drv_psycopg_async")
        await conn.execute("set timezone to 'UTC'")

    async with AsyncConnectionPool(kwargs=libpq(), min_size=2, max_size=4, timeout=60,
                                   configure=configure, check=AsyncConnectionPool.check_connection) as pool:
        section("pool")
        totals = [0] * 8
        await asyncio.gather(*(worker(pool, n, totals) for n in range(8)))
        say("totals", totals)
        async with pool.connection() as conn:
            cur = await conn.execute("select * from p order by id")
            say("rows", await cur.fetchall())

            section("pipeline")
            async with conn.pipeline():
                cursors = [await conn.execute("select %s::text", (str(n),)) for n in range(100)]
                say("joined", "".join([(await c.fetchone())[0] for c in cursors]))

            section("server cursor")
            async with conn.transaction():
                async with conn.cursor("many") as cur:
                    await cur.execute("select generate_series(1, 10000)")
                    cur.itersize = 100
                    say("sum", sum([row[0] async for row in cur]))

            section("copy")
            await conn.execute("create table c (a int, b text)")
            async with conn.cursor().copy("copy c from stdin (format binary)") as copy:
                copy.set_types(["int4", "text"])
                for n in range(1000):
                    await copy.write_row((n, f"row {n}"))
            size = 0
            async with conn.cursor().copy("copy c to stdout") as copy:
                async for block in copy:
                    size += len(block)
            say("size", size)

            section("cancel")
            task = asyncio.create_task(conn.execute("select pg_sleep(60) /* cancel-async */"))
            async with pool.connection() as watch:
                sought = "select count(*) from pg_stat_activity where state = 'active' and query like '%cancel-async%' and pid <> pg_backend_pid()"
                while (await (await watch.execute(sought)).fetchone())[0] == 0:
                    pass
            await conn.cancel_safe(timeout=20)
            try:
                await task
            except psycopg.errors.QueryCanceled as error:
                say("cancelled", error.sqlstate, error.diag.message_primary)

            section("errors")
            for query in ("selekt", "select 1/0", "insert into p values (0, 0)"):
                try:
                    await conn.execute(query)
                except psycopg.Error as error:
                    say(query, error.sqlstate, error.diag.message_primary)
            say("status", conn.info.transaction_status.name)

            section("notify")
            await conn.execute("listen drv_async")
            async with pool.connection() as other:
                await other.execute("notify drv_async, 'x'")
            async for note in conn.notifies(timeout=20, stop_after=1):
                say("got", note.channel, note.payload)
            await conn.execute("unlisten *")

    async with await psycopg.AsyncConnection.connect(**libpq(), autocommit=True) as conn:
        await conn.execute("set client_min_messages to warning")
        await conn.execute("drop schema drv_psycopg_async cascade")
    section("end")


asyncio.run(main())
