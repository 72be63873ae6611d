"""A PostgreSQL of the benchmark's own. It forgets everything at a crash (fsync is off): what is
measured is the proxies, not the disk."""

import glob
import os
import pathlib
import re
import signal
import subprocess
import time

from . import account
from .process import Process, free_port

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": 1300,
    "shared_buffers": "512MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "4GB",
    "log_min_messages": "fatal",
    "jit": "off",
}


def binaries():
    """The directory of the newest PostgreSQL here."""
    found = glob.glob("/usr/lib/postgresql/*/bin") + glob.glob("/usr/pgsql-*/bin")
    found = [d for d in found if os.path.exists(f"{d}/initdb") and os.path.exists(f"{d}/pgbench")]
    if not found:
        raise RuntimeError("no PostgreSQL with initdb and pgbench (scripts/install bench)")
    return pathlib.Path(max(found, key=lambda d: int(re.search(r"(\d+)/bin", d)[1])))


class Postgres:
    """The cluster, its superuser `bench` (trusted on loopback), its databases."""

    user = "bench"
    password = "bench-password"

    def __init__(self, home, settings=None):
        self.bin = binaries()
        self.port = free_port()
        who = account.unprivileged()
        base = home / "postgres"
        base.mkdir()
        account.give(base, who)
        data, env = base / "data", {**os.environ, "LC_ALL": "C", "HOME": str(base)}
        subprocess.run(
            [self.bin / "initdb", "-D", data, "-U", self.user, "-E", "UTF8", "--auth=trust",
             "--no-sync", "--no-instructions"],
            check=True, stdout=subprocess.DEVNULL, cwd=base, env=env, **account.options(who))
        settings = {**SETTINGS, "port": self.port, "unix_socket_directories": str(base),
                    **(settings or {})}
        flags = [part for pair in settings.items() for part in ("-c", f"{pair[0]}={pair[1]}")]
        self.process = Process("postgres", [self.bin / "postgres", "-D", data, *flags],
                               home / "postgres.log", who, cwd=base, env=env)
        try:
            self._await()
            self.sql(f"ALTER ROLE {self.user} PASSWORD '{self.password}'")
        except BaseException:
            self.stop()
            raise

    def _await(self, patience=60):
        self.process.await_port(self.port)
        deadline = time.monotonic() + patience
        while True:
            try:
                return self.sql("SELECT 1")
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def version(self):
        return self.sql("SHOW server_version").strip()

    def sql(self, text, database="postgres"):
        """Runs a script by psql; what it prints, unaligned."""
        return self.tool("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database,
                         stdin=text)

    def tool(self, program, *arguments, stdin=None):
        env = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port),
               "PGUSER": self.user, "PGPASSWORD": self.password}
        done = subprocess.run([self.bin / program, *arguments], input=stdin, text=True, env=env,
                              capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr.strip()[-800:]}")
        return done.stdout

    def stop(self):
        self.process.stop(signal.SIGINT)
