"""What every Python driver script shares: where to connect, and a transcript without accidents.

A script prints what any PostgreSQL would make it print: no pids, no oids, no times, and
never the database's or the role's name.
"""

import datetime
import decimal
import os
import re
import ssl
import zlib

HOST = os.environ["T_HOST"]
PORT = int(os.environ["T_PORT"])
USER = os.environ["T_USER"]
PASSWORD = os.environ.get("T_PASSWORD", "")
DATABASE = os.environ["T_DATABASE"]
CA = os.environ.get("T_CA", "")
OPTIONS = os.environ.get("T_OPTIONS", "")

#: Reported at login; the same set must come through with the same values.
PARAMETERS = [
    "server_version", "server_encoding", "client_encoding", "application_name", "is_superuser",
    "session_authorization", "DateStyle", "IntervalStyle", "TimeZone", "integer_datetimes",
    "standard_conforming_strings", "default_transaction_read_only", "in_hot_standby",
]

MASKS = [
    (re.compile(r"tenant_[a-z0-9_]+"), "<name>"),
    (re.compile(r'"?' + re.escape(os.environ.get("T_ROLE", "\0")) + r'"?'), "<name>"),
    (re.compile(r'"?' + re.escape(DATABASE) + r'"?'), "<name>"),
    (re.compile(r"\b(pid|PID) \d+"), "pid <pid>"),
    (re.compile(r"0x[0-9a-f]{6,}"), "<address>"),
]


def mask(text):
    for pattern, name in MASKS:
        text = pattern.sub(name, text)
    return text


def show(value):
    """A value without the driver's incidental representation."""
    if isinstance(value, (bytes, memoryview, bytearray)):
        data = bytes(value)
        return f"bytes[{len(data)}] {zlib.crc32(data):08x} {data[:40]!r}"
    if isinstance(value, str) and len(value) > 400:
        return f"str[{len(value)}] {zlib.crc32(value.encode()):08x} {value[:20]}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(show(v) for v in value) + "]"
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return f"decimal {value}"
    return repr(value)


def say(what, *values):
    line = what + ": " + " | ".join(show(v) for v in values)
    print(mask(line), flush=True)


def section(name):
    print(f"== {name}", flush=True)


def tls_context():
    """A verifying context, or None where the connection is direct."""
    return ssl.create_default_context(cafile=CA) if CA else None


def libpq(**more):
    """Keywords for the drivers over libpq."""
    words = dict(host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE,
                 application_name="drivers", connect_timeout=20)
    if CA:
        words.update(sslmode="verify-full", sslrootcert=CA)
    else:
        words.update(sslmode="disable")
    if OPTIONS:
        words["options"] = OPTIONS
    words.update(more)
    return words


#: Every common type once: the SQL, ordered, shared by all scripts.
TYPES = [
    "true", "null::int", "(-32768)::int2", "2147483647::int4", "(-9223372036854775808)::int8",
    "1.5::float4", "'NaN'::float8", "'-Infinity'::float8", "1e300::float8", "12345678901234567890.123456789::numeric",
    "'NaN'::numeric", "'plain'::text", "'ünïcödé ☃'::text", "''::text", "'c'::char(5)", "'v'::varchar(9)",
    r"'\x00ff10'::bytea", "'2026-02-28'::date", "'23:59:59.999999'::time", "'2026-02-28 12:34:56.789'::timestamp",
    "'2026-02-28 12:34:56+02'::timestamptz", "'1 day 02:03:04'::interval",
    "'6f1d1a0c-8f1e-4c1e-9b7e-0123456789ab'::uuid", """'{"a": [1, null, "x"]}'::json""",
    """'{"b": {"c": 2}}'::jsonb""", "array[1,2,null]::int[]", "array[array['a','b'],array['c',null]]::text[]",
    "'{}'::int[]", "'10.1.2.3'::inet", "'[1,10)'::int4range", "'b'::\"char\"", "row(1,'x')",
    "'(1,2)'::point", "'101'::bit(3)", "'08:00:2b:01:02:03'::macaddr", "'a fat cat'::tsvector", "'$12.50'::money",
]
