"""The world of one run: a cluster made anew, a registry with one adopted tenant, a pgusher."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time

from place import Failed, drop, fresh, run, say

TENANT = "regress"
# The regression suite runs twenty sessions at once, each may ask for one more by `\\c`.
SERVERS = 120
# As pg_regress sets up a temporary instance of its own.
SETTINGS = {
    "fsync": "off",
    "max_prepared_transactions": "2",
    "max_connections": str(SERVERS + 30),
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "log_lock_waits": "on",
    "log_min_messages": "warning",
    "shared_buffers": "128MB",
}
PATIENCE = 60
DRAIN = 10
# As pgusher marks the session tokens it signs itself.
HEADER = {"alg": "HS256", "typ": "tdb+jwt", "kid": "regress"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, test):
    """Asks until it is so. There is nothing to be told by: the programs only listen."""
    end = time.monotonic() + PATIENCE
    while not test():
        if time.monotonic() > end:
            raise Failed(f"{what} did not come up in {PATIENCE} s")
        time.sleep(0.05)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Cluster:
    """A PostgreSQL on loopback whose superuser `postgres` is trusted."""

    def __init__(self, binaries, home):
        self.binaries, self.home, self.port = binaries, home, free_port()
        self.log = home.with_suffix(".log")
        self.server = None

    @staticmethod
    def template(binaries, home):
        """What every cluster is a copy of."""
        fresh(home)
        run([binaries / "initdb", "-D", home, "-U", "postgres", "-A", "trust", "-E", "UTF8",
             "--no-locale", "--no-sync"], cwd="/", **drop())
        with open(home / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in SETTINGS.items())

    def start(self, template):
        shutil.rmtree(self.home, ignore_errors=True)
        run(["cp", "-a", template, self.home])
        with open(self.log, "wb") as log:
            self.server = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.home, "-p", str(self.port)],
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, **drop())
        until(f"PostgreSQL ({self.log})", self.answers)

    def answers(self):
        if self.server.poll() is not None:
            raise Failed(f"PostgreSQL ended: see {self.log}")
        ask = [self.binaries / "psql", "-qAtX", "-c", "select 1"]
        asked = subprocess.run(ask, env=self.environment("postgres"), check=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return asked.returncode == 0

    def environment(self, database):
        return clean_environment() | {
            "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres",
            "PGDATABASE": database}

    def sql(self, database, script):
        run([self.binaries / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1"], input=script,
            env=self.environment(database))

    def prepare(self, database, extensions=(), setup=""):
        """A database as pg_regress would make it, and what the suite has made in it beforehand."""
        if database != "postgres":
            self.sql("postgres", f'CREATE DATABASE "{database}" TEMPLATE template0')
        for name, value in [("lc_messages", "C"), ("lc_monetary", "C"), ("lc_numeric", "C"),
                            ("lc_time", "C"), ("bytea_output", "hex"),
                            ("timezone_abbreviations", "Default")]:
            self.sql("postgres", f"ALTER DATABASE \"{database}\" SET {name} TO '{value}'")
        for name in extensions:
            self.sql(database, f"CREATE EXTENSION {name}")
        if setup:
            self.sql(database, setup)

    def stop(self):
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            self.server.wait()
            self.server = None


def clean_environment():
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("PG", "LC_", "LANG"))}


class Pgusher:
    """A proxy in front of one database of one cluster, as an adopted tenant that is a superuser."""

    def __init__(self, binary, home, registry, cluster, database):
        self.binary, self.home, self.registry = binary, home, registry
        self.port, self.log = free_port(), home / "pgusher.log"
        self.key = secrets.token_urlsafe(48)
        # Not every driver can ask for it when it connects.
        self.mode = "transaction"
        self.url = f"postgresql://postgres@127.0.0.1:{cluster.port}/{database}?sslmode=disable"
        self.server = None

    def start(self):
        self.home.mkdir(parents=True, exist_ok=True)
        self.adopt()
        config = self.home / "pgusher.toml"
        config.write_text(self.config())
        command = [self.binary, "serve", "--config", config]
        with open(self.log, "wb") as log:
            self.server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, env=clean_environment())
        until(f"pgusher ({self.log})", self.answers)

    def answers(self):
        if self.server.poll() is not None:
            raise Failed(f"pgusher ended: {self.log.read_text()[-2000:]}")
        return listens(self.port)

    def adopt(self):
        """A registry row with a databaseUrl and nothing of pgusher's own beside it."""
        self.registry.sql("postgres", "DROP DATABASE IF EXISTS registry WITH (FORCE)")
        self.registry.sql("postgres", "CREATE DATABASE registry")
        run([self.binary, "migrate", "registry", "--registry", self.registry_url()],
            env=clean_environment())
        self.registry.sql("registry", f"""
            INSERT INTO "Church" (id, name, email) VALUES ('{TENANT}', 'R', 'r@example.com');
            INSERT INTO "Tenant" (id, "churchId", name, email, "databaseUrl", "databaseHost",
                                  "databaseName")
            VALUES ('{TENANT}', '{TENANT}', 'R', 'r@example.com', '{self.url}', '', '')""")

    def registry_url(self):
        return f"postgresql://postgres@127.0.0.1:{self.registry.port}/registry"

    def config(self):
        return f"""
            registry.url = "{self.registry_url()}"
            runtime.drain_timeout = "8s"
            listen.addresses = ["127.0.0.1:{self.port}"]
            http.address = "127.0.0.1:0"
            ops.address = "127.0.0.1:0"
            session.pool_mode = "{self.mode}"
            session.database_names = "own"
            auth.master_key = "{secrets.token_urlsafe(48)}"
            pool.server_budget = {SERVERS}
            pins.budget_share = 1.0
            pins.tenant_share = 1.0
            limits.server_max = {SERVERS}
            [[auth.signer.keys]]
            kid = "regress"
            algorithm = "HS256"
            secret = "{self.key}"
            """

    def token(self):
        """A token of the tenant, good for a day."""
        now = int(time.time())
        claims = {"iss": "pgusher", "aud": "pgusher", "sub": "regress", "tenantId": TENANT,
                  "role": "owner", "iat": now, "exp": now + 86_400, "jti": secrets.token_hex(8)}
        message = ".".join(map(part, (HEADER, claims)))
        signature = hmac.new(self.key.encode(), message.encode(), hashlib.sha256).digest()
        return f"{message}.{encoded(signature)}"

    def environment(self, database):
        return clean_environment() | {
            "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres",
            "PGDATABASE": database, "PGPASSWORD": self.token()}

    def stop(self):
        if self.server is not None:
            self.server.terminate()
            try:
                self.server.wait(DRAIN)
            except subprocess.TimeoutExpired:
                # Every client has gone: whatever still lives in there was forgotten.
                say(f"pgusher did not end within {DRAIN} s of SIGTERM, with nobody connected")
                self.server.kill()
                self.server.wait()
            self.server = None


def part(value):
    return encoded(json.dumps(value, separators=(",", ":")).encode())


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
