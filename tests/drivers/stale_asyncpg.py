"""asyncpg and psycopg over a table that is changed past the pool while others have it prepared."""

import asyncio
import os

import asyncpg
import psycopg

HOST, DATABASE = os.environ["T_HOST"], os.environ["T_DATABASE"]
LOGIN = dict(host=HOST, port=int(os.environ["T_PORT"]), user=os.environ["T_USER"],
             password=os.environ["T_PASSWORD"])
OUTSIDE = dict(host=HOST, port=int(os.environ["T_OUTSIDE_PORT"]), user=os.environ["T_OUTSIDE"])
TEXT = "select * from shape"


async def outside(sql):
    conn = await asyncpg.connect(database=DATABASE, **OUTSIDE)
    await conn.execute(sql)
    await conn.close()


async def asyncpg_rows(inside):
    conn = await asyncpg.connect(database=DATABASE, ssl=False, **LOGIN)
    if inside:
        async with conn.transaction():
            rows = await conn.fetch(TEXT)
    else:
        rows = await conn.fetch(TEXT)
    return conn, len(rows[0])


def psycopg_rows(inside):
    conn = psycopg.connect(dbname=DATABASE, sslmode="disable", autocommit=not inside, **LOGIN)
    width = len(conn.execute(TEXT, prepare=True).fetchone())
    conn.commit()
    return conn, width


async def main():
    kept = []
    for turn in range(4):
        inside = turn % 2 == 1
        # Whoever was here has it prepared as it is; who comes gets it as it has become.
        await outside(f"alter table shape add c{turn} int default 1")
        conn, width = await asyncpg_rows(inside)
        kept.append(conn)
        print("asyncpg", inside, width)
        await outside(f"alter table shape add d{turn} text default 'd'")
        conn, width = psycopg_rows(inside)
        print("psycopg", inside, width)
        conn.close()
        # asyncpg goes by what it was told, hears of the change, and asks again.
        print("kept", [len((await conn.fetch(TEXT))[0]) for conn in kept])
    for conn in kept:
        await conn.close()
    print("== end")


asyncio.run(main())
