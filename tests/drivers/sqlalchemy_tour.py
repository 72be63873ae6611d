"""SQLAlchemy 2 over psycopg and over asyncpg: what an ORM does to a connection."""

import asyncio
import datetime
import decimal

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from common import CA, DATABASE, HOST, OPTIONS, PASSWORD, PORT, USER, libpq, say, section, tls_context

SCHEMA = "drv_sqlalchemy"


class Base(orm.DeclarativeBase):
    metadata = sa.MetaData(schema=SCHEMA)


class Author(Base):
    __tablename__ = "author"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(50), unique=True)
    born: orm.Mapped[datetime.date | None]
    tags: orm.Mapped[list[str]] = orm.mapped_column(sa.ARRAY(sa.Text), default=list)
    extra: orm.Mapped[dict] = orm.mapped_column(sa.JSON, default=dict)
    books: orm.Mapped[list["Book"]] = orm.relationship(back_populates="author", order_by="Book.id", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "book"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    title: orm.Mapped[str]
    price: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(10, 2))
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey(f"{SCHEMA}.author.id"))
    author: orm.Mapped[Author] = orm.relationship(back_populates="books")


def url(driver):
    return sa.URL.create(f"postgresql+{driver}", USER, PASSWORD or None, HOST, PORT, DATABASE)


def authors():
    return [Author(id=n, name=f"author {n}", born=datetime.date(1900 + n, 1, 2), tags=["x", str(n)], extra={"n": n},
                   books=[Book(id=10 * n + b, title=f"book {b}", price=decimal.Decimal("9.99") * b) for b in range(3)])
            for n in range(1, 30)]


def synchronous():
    section("psycopg")
    words = libpq()
    for used in ("host", "port", "user", "password", "dbname"):
        words.pop(used)
    engine = sa.create_engine(url("psycopg"), connect_args=words, pool_size=2, max_overflow=1, pool_pre_ping=True)
    with engine.begin() as conn:
        conn.execute(sa.text(f"set client_min_messages to warning"))
        conn.execute(sa.text(f"drop schema if exists {SCHEMA} cascade"))
        conn.execute(sa.schema.CreateSchema(SCHEMA))
    Base.metadata.create_all(engine)
    inspector = sa.inspect(engine)
    for table in sorted(inspector.get_table_names(SCHEMA)):
        say(table, [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table, SCHEMA)],
            inspector.get_foreign_keys(table, SCHEMA)[0]["referred_table"] if inspector.get_foreign_keys(table, SCHEMA) else None)
    with orm.Session(engine) as session:
        session.add_all(authors())
        session.commit()
        found = session.scalars(sa.select(Author).where(Author.name.like("author 2%")).order_by(Author.id).options(orm.selectinload(Author.books)))
        for author in found:
            say("author", author.id, author.name, author.born, author.tags, author.extra["n"], [(b.title, b.price) for b in author.books])
        session.get(Author, 3).name = "renamed"
        session.flush()
        session.rollback()
        say("rolled back", session.get(Author, 3).name)
        try:
            with session.begin_nested():
                session.add(Author(id=99, name="author 1"))
        except sa.exc.IntegrityError as error:
            say("nested", error.orig.sqlstate)
        session.add(Author(id=100, name="kept"))
        session.commit()
        session.delete(session.get(Author, 5))
        session.commit()
        say("totals", session.execute(sa.select(sa.func.count(Book.id), sa.func.sum(Book.price))).one())
        stream = session.execute(sa.select(Book.id).order_by(Book.id).execution_options(yield_per=10))
        say("streamed", sum(stream.scalars()))
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
        say("isolation", conn.scalar(sa.text("show transaction_isolation")))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(sa.text(f"vacuum {SCHEMA}.author"))
        say("autocommit", conn.scalar(sa.text("select 1")))
    engine.dispose()


async def asynchronous():
    section("asyncpg")
    settings = {"options": OPTIONS} if OPTIONS else {}
    engine = create_async_engine(url("asyncpg"), pool_size=2,
                                 connect_args={"ssl": tls_context() if CA else False, "server_settings": settings})
    make = async_sessionmaker(engine, expire_on_commit=False)

    async def raise_price(n):
        async with make() as session, session.begin():
            book = await session.get(Book, 10 + n % 3, with_for_update=True)
            book.price += 1

    await asyncio.gather(*(raise_price(n) for n in range(12)))
    async with make() as session:
        rows = await session.execute(sa.select(Book.id, Book.price).where(Book.author_id == 1).order_by(Book.id))
        say("prices", [tuple(r) for r in rows])
        result = await session.stream(sa.select(Book.id).order_by(Book.id))
        say("streamed", sum([row[0] async for row in result]))
        try:
            await session.execute(sa.text("select * from nowhere"))
        except sa.exc.ProgrammingError as error:
            say("error", error.orig.sqlstate)
        await session.rollback()
        inserted = await session.execute(sa.insert(Author).returning(Author.id, Author.name),
                                         [{"id": 200 + n, "name": f"bulk {n}", "tags": [], "extra": {}} for n in range(5)])
        say("bulk", sorted(tuple(r) for r in inserted))
        await session.commit()
    async with engine.begin() as conn:
        await conn.execute(sa.text("set local client_min_messages to warning"))
        await conn.execute(sa.schema.DropSchema(SCHEMA, cascade=True))
    await engine.dispose()


synchronous()
asyncio.run(asynchronous())
section("end")
