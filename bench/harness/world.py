"""All that runs during a benchmark: PostgreSQL with a registry and tenants, and the peers."""

import contextlib
import dataclasses
import pathlib
import resource
import shutil
import subprocess
import tempfile

from . import certificate
from .peers import Direct, PgBouncer, Pgusher, Setup, database
from .postgres import Postgres

REGISTRY = "pgusher_registry"


@dataclasses.dataclass
class Programs:
    """What is measured."""

    pgusher: pathlib.Path
    pgbouncer: pathlib.Path


class World:
    """The cluster, the tenants that have a database, and the proxies on demand."""

    registry = REGISTRY

    def __init__(self, programs, scale, pgusher_settings=None, pgbouncer_settings=None):
        self.programs = programs
        self.pgusher_settings = pgusher_settings or {}
        self.pgbouncer_settings = pgbouncer_settings or {}
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="pgusher-bench-", dir="/var/tmp"))
        # PostgreSQL and PgBouncer get in under their own account.
        self.home.chmod(0o755)
        self.certificate, self.key = certificate.make(self.home)
        # What a program writes about itself while it is looked into.
        self.dumps = self.home / "dumps"
        self.dumps.mkdir()
        self.dumps.chmod(0o777)
        allow_many_files()
        try:
            self.postgres = Postgres(self.home)
            self._prepare(scale)
        except BaseException:
            self.close()
            raise

    def _prepare(self, scale):
        pg = self.postgres
        pg.sql(f"CREATE DATABASE {REGISTRY}")
        url = f"postgresql://{pg.user}@127.0.0.1:{pg.port}/{REGISTRY}"
        subprocess.run([self.programs.pgusher, "migrate", "registry", "--registry", url],
                       check=True, stdout=subprocess.DEVNULL)
        # A lean database for tenants of which only the name matters.
        pg.sql("CREATE DATABASE lean")
        pg.sql("CREATE TABLE whose AS SELECT current_database() AS name", "lean")
        self.tenant("main", scale)

    def tenant(self, name, scale):
        """A tenant with pgbench's tables."""
        self.databases([name])
        self.register([name])
        self.postgres.tool("pgbench", "-i", "-q", "-s", str(scale), database(name))
        self.postgres.sql("CHECKPOINT")

    def databases(self, tenants):
        """Lean databases of tenants, where there are none yet."""
        known = set(self.postgres.sql("SELECT datname FROM pg_database").split())
        missing = [name for name in tenants if database(name) not in known]
        for name in missing:
            # Each its own statement: none of them may share a transaction.
            self.postgres.tool("createdb", "-T", "lean", "-S", "file_copy", database(name))

    def register(self, tenants, into=None):
        """Rows of the registry, as an adopted one has them. `into` names the tenants whose
        databases they get, in turn: who never queries needs none of its own."""
        pg, into = self.postgres, into or tenants
        rows = [(name, database(into[n % len(into)])) for n, name in enumerate(tenants)]
        values = ",".join(f"('{name}','{db}')" for name, db in rows)
        where = f"postgresql://{pg.user}:{pg.password}@127.0.0.1:{pg.port}/"
        pg.sql(f"""
            CREATE TEMP TABLE asked (id text, db text);
            INSERT INTO asked VALUES {values};
            DELETE FROM "Church" USING asked WHERE "Church".id = asked.id;
            INSERT INTO "Church" (id, name, email)
                SELECT id, id, id || '@example.org' FROM asked;
            INSERT INTO "Tenant" (id, "churchId", name, email, "databaseUrl", "databaseHost",
                                  "databasePort", "databaseName")
                SELECT id, id, id, id || '@example.org', '{where}' || db, '127.0.0.1', {pg.port}, db
                FROM asked;""", REGISTRY)

    def unregister(self, prefix):
        self.postgres.sql(f"""DELETE FROM "Church" WHERE id LIKE '{prefix}%'""", REGISTRY)

    def settle(self):
        """What PostgreSQL would do of itself in a while behind many new rows is done."""
        self.postgres.sql("VACUUM ANALYZE", REGISTRY)
        self.postgres.sql("CHECKPOINT")

    def drop_databases(self, tenants):
        for name in tenants:
            self.postgres.tool("dropdb", "--if-exists", "--force", database(name))

    @contextlib.contextmanager
    def peers(self, setup=None, names=("pgusher", "pgbouncer")):
        """Fresh proxies, side by side, in the order of `names`."""
        setup = setup or Setup()
        makers = {"pgusher": lambda: Pgusher(self, setup),
                  "pgbouncer": lambda: PgBouncer(self, setup),
                  "direct": lambda: Direct(self)}
        running = []
        try:
            for name in names:
                running.append(makers[name]())
            yield running
            for peer in running:
                if peer.process is not None and not peer.process.is_alive():
                    raise RuntimeError(f"{peer.name} has died: {peer.process.tail()}")
        finally:
            for peer in running:
                peer.stop()

    def close(self):
        if hasattr(self, "postgres"):
            self.postgres.stop()
        shutil.rmtree(self.home, ignore_errors=True)


def allow_many_files():
    """As many open files as the kernel lets us: children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (200_000, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
            return
        except (ValueError, OSError):
            continue
