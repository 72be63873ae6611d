"""The two programs that are compared, and PostgreSQL itself as a third where that says something.

A peer has a name, an address, a process (or none), and for each tenant the user, the password and
the database a client gives to reach its data.
"""

import dataclasses
import os
import re
import subprocess

from . import account
from .process import Process, free_port
from .tokens import KEY, mint

SECRET = "a secret that signs the benchmark's tokens and nothing else"
MASTER_KEY = "a master key for a benchmark, long enough to be one"


@dataclasses.dataclass
class Target:
    """What a client needs to know to log in."""

    host: str
    port: int
    user: str
    password: str
    database: str
    tls: bool = False
    options: str = ""

    def environment(self):
        """As libpq wants it."""
        env = {**os.environ, "PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.user,
               "PGPASSWORD": self.password, "PGDATABASE": self.database,
               "PGSSLMODE": "require" if self.tls else "disable", "PGGSSENCMODE": "disable"}
        if self.options:
            env["PGOPTIONS"] = self.options
        return env


def database(tenant):
    return f"tenant_{tenant}"


class Direct:
    """No proxy."""

    name = "direct"
    process = None

    def __init__(self, world):
        self.world = world

    def target(self, tenant, tls=False):
        pg = self.world.postgres
        return Target("127.0.0.1", pg.port, pg.user, pg.password, database(tenant))

    def stop(self):
        pass


class Pgusher:
    """`pgusher serve` over the world's registry."""

    name = "pgusher"

    def __init__(self, world, setup):
        self.port = free_port()
        self.session = setup.session_mode
        home, pg = world.home, world.postgres
        config = home / "pgusher.toml"
        settings = {
            "runtime.drain_timeout": "1s",
            "listen.addresses": [f"127.0.0.1:{self.port}"],
            "listen.connections_max": 100000,
            "tls.certificate": str(world.certificate),
            "tls.key": str(world.key),
            "auth.master_key": MASTER_KEY,
            "auth.throttle.enabled": False,
            "registry.url": f"postgresql://{pg.user}@127.0.0.1:{pg.port}/{world.registry}",
            "session.pool_mode": "session" if setup.session_mode else "transaction",
            "pool.server_budget": setup.budget,
            "pins.budget_share": 1.0,
            "limits.server_max": setup.pool,
            "limits.client_max": 100000,
            "limits.queue_max": 100000,
            "limits.queue_timeout": "2m",
            "log.level": "warn",
            "auth.signer.keys": [{"kid": KEY, "algorithm": "HS256", "secret": SECRET}],
            **world.pgusher_settings,
            **setup.pgusher,
        }
        config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in settings.items()))
        command = [*setup.wrap, world.programs.pgusher, "serve", "--config", config,
                   "--set", "http.address=127.0.0.1:0", "--set", "ops.address=127.0.0.1:0"]
        self.process = Process(self.name, command, home / "pgusher.log")
        self.process.await_port(self.port)

    def target(self, tenant, tls=False):
        return Target("127.0.0.1", self.port, "app", mint(SECRET, tenant), "app", tls)

    def stop(self):
        self.process.stop()


class PgBouncer:
    """PgBouncer with one `*` database, one user and the same limits. The user is the one who logs in:
    1.18 counts a forced user of `*` for each database apart, and so limits nothing."""

    name = "pgbouncer"

    def __init__(self, world, setup):
        self.port = free_port()
        home, pg, who = world.home, world.postgres, account.unprivileged()
        config, users = home / "pgbouncer.ini", home / "users.txt"
        users.write_text(f'"{pg.user}" "{pg.password}"\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "plain",
            "auth_file": users,
            "pool_mode": "session" if setup.session_mode else "transaction",
            "default_pool_size": setup.pool,
            "max_user_connections": setup.budget,
            "max_client_conn": 100000,
            "query_wait_timeout": 120,
            "client_tls_sslmode": "allow",
            "client_tls_cert_file": world.certificate,
            "client_tls_key_file": world.key,
            "log_connections": 0,
            "log_disconnections": 0,
            "log_pooler_errors": 1,
            "ignore_startup_parameters": "extra_float_digits,options",
            **world.pgbouncer_settings,
            **setup.pgbouncer,
        }
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        config.write_text(
            f"[databases]\n* = host=127.0.0.1 port={pg.port}\n[pgbouncer]\n{lines}")
        for path in (config, users):
            account.give(path, who)
        self.process = Process(self.name, [*setup.wrap, world.programs.pgbouncer, config],
                               home / "pgbouncer.log", who)
        self.process.await_port(self.port)
        self.world = world

    def target(self, tenant, tls=False):
        pg = self.world.postgres
        return Target("127.0.0.1", self.port, pg.user, pg.password, database(tenant), tls)

    def stop(self):
        self.process.stop()


@dataclasses.dataclass
class Setup:
    """How the proxies are configured for a scenario."""

    pool: int = 20
    budget: int = 1200
    session_mode: bool = False
    pgusher: dict = dataclasses.field(default_factory=dict)
    pgbouncer: dict = dataclasses.field(default_factory=dict)
    # What they are run under.
    wrap: list = dataclasses.field(default_factory=list)


def toml(value):
    """A value as TOML spells it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, (int, float)):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def pgbouncer_version(program):
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part or 0) for part in found.groups())
