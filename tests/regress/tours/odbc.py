"""psqlODBC under pyodbc: how it prepares and fetches, with and without autocommit.

Without autocommit it keeps a savepoint for every statement, and closes what it has prepared by
`SAVEPOINT …;DEALLOCATE "_PLAN…";RELEASE …`.
"""

import os

import pyodbc

ENV = os.environ
VARIANTS = {
    "as it comes": "",
    "prepared by itself": "UseServerSidePrepare=0;",
    "by cursors": "UseDeclareFetch=1;Fetch=7;",
    "rolls back a statement": "Protocol=7.4-2;",
    "rolls back a transaction": "Protocol=7.4-1;",
    "rolls nothing back": "Protocol=7.4-0;",
}


def connect(options, autocommit):
    place = (f"DRIVER=PostgreSQL Unicode;SERVER={ENV['PGHOST']};PORT={ENV['PGPORT']};"
             f"DATABASE={ENV['PGDATABASE']};UID={ENV['PGUSER']};PWD={ENV.get('PGPASSWORD', 'none')};"
             "SSLMode=disable;")
    return pyodbc.connect(place + options, autocommit=autocommit)


def say(what, *values):
    print(f"{what}: {' | '.join(map(repr, values))}", flush=True)


def section(name):
    print(f"== {name}", flush=True)


class Tour:
    """One connection's."""

    def __init__(self, options, autocommit):
        self.connection = connect(options, autocommit)
        self.cursor = self.connection.cursor()
        self.autocommit = autocommit

    def rows(self, sql, *values):
        return self.cursor.execute(sql, *values).fetchall()

    def failed(self, what, sql, *values):
        try:
            say(what, "no error", self.rows(sql, *values))
        except pyodbc.Error as error:
            say(what, error.args[0], error.args[1].split("\n")[0])

    def commit(self):
        if not self.autocommit:
            self.connection.commit()

    def rollback(self):
        if not self.autocommit:
            self.connection.rollback()

    def make(self):
        section("made")
        for sql in ("set client_min_messages to warning",
                    "drop schema if exists drv_odbc cascade",
                    "create schema drv_odbc",
                    "create table drv_odbc.t (id serial primary key, v varchar(50) unique, "
                    "n numeric(10,2), b bytea, d timestamp)"):
            self.cursor.execute(sql)
        self.commit()
        insert = "insert into drv_odbc.t (v, n) values (?, ?)"
        for number in range(30):
            self.cursor.execute(insert, f"row {number}", number * 1.5)
        self.commit()
        self.cursor.executemany("insert into drv_odbc.t (v) values (?)",
                                [(f"more {number}",) for number in range(50)])
        self.commit()
        say("count", self.rows("select count(*) from drv_odbc.t"))
        self.commit()

    def read(self):
        section("read")
        for number in range(8):
            say("row", self.rows("select v, n from drv_odbc.t where id = ?", number + 1))
        other = self.connection.cursor()
        self.cursor.execute("select g from generate_series(1, 100) g")
        some = self.cursor.fetchmany(15)
        between = other.execute("select v from drv_odbc.t where id = ?", 3).fetchall()
        say("two at once", len(some), between, len(self.cursor.fetchall()))
        other.close()
        self.commit()

    def fail(self):
        section("errors")
        self.failed("unique", "insert into drv_odbc.t (v) values (?)", "row 1")
        self.failed("behind it", "select 1")
        self.rollback()
        self.failed("division", "select 1 / 0")
        self.failed("behind it", "select count(*) from drv_odbc.t")
        self.rollback()
        self.failed("nowhere", "select * from drv_odbc.nowhere where a = ?", 1)
        self.rollback()
        say("alive", self.rows("select 'alive'"))
        self.commit()

    def several(self):
        section("several")
        self.cursor.execute("select 1 as a; select 2 as b")
        say("results", self.cursor.fetchall(), self.cursor.nextset(), self.cursor.fetchall())
        self.cursor.execute("update drv_odbc.t set n = 5 where id < 4")
        say("updated", self.cursor.rowcount)
        self.rollback()

    def catalog(self):
        section("catalog")
        say("tables", [table.table_name for table in self.cursor.tables(schema="drv_odbc")])
        for what in ("columns", "primaryKeys", "statistics"):
            say(what, len(getattr(self.cursor, what)(table="t", schema="drv_odbc").fetchall()))
        say("server", self.connection.getinfo(pyodbc.SQL_DBMS_NAME))
        self.commit()

    def change(self):
        section("changed")
        say("columns", len(self.rows("select * from drv_odbc.t where id = ?", 1)[0]))
        self.commit()
        self.cursor.execute("alter table drv_odbc.t add column z int default 3")
        self.commit()
        say("columns", len(self.rows("select * from drv_odbc.t where id = ? ", 1)[0]))
        self.commit()
        section("large")
        row, = self.rows("select length(?), repeat('x', 100000)", "y" * 100_000)
        say("lengths", row[0], len(row[1]))
        self.commit()

    def close(self):
        self.cursor.execute("drop schema drv_odbc cascade")
        self.commit()
        self.cursor.close()
        self.connection.close()


def main():
    for name, options in VARIANTS.items():
        for autocommit in (True, False):
            print(f"=== {name}, {'auto' if autocommit else 'own'} commit", flush=True)
            tour = Tour(options, autocommit)
            for part in (tour.make, tour.read, tour.fail, tour.several, tour.catalog, tour.change):
                part()
            tour.close()
    section("end")


main()
