"""Django: migrations, the ORM and its management commands, in every way it keeps connections."""

import asyncio
import io
import threading

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management import call_command

from common import DATABASE, HOST, OPTIONS, PASSWORD, PORT, USER, libpq, say, section

SCHEMA = "drv_django"


def database(options=None, **more):
    """Settings of a database; options are those of libpq and of the backend."""
    words = libpq(options=f"-c search_path={SCHEMA} {OPTIONS}".strip())
    for named in ("host", "port", "user", "password", "dbname"):
        words.pop(named)
    return {"ENGINE": "django.db.backends.postgresql", "HOST": HOST, "PORT": PORT, "USER": USER,
            "PASSWORD": PASSWORD, "NAME": DATABASE, "OPTIONS": words | (options or {}), **more}


# The plain one is first: its migrations make the tables, whatever connects behind it.
VARIANTS = {
    "default": database(),
    "kept": database(CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True),
    "client_cursors": database(DISABLE_SERVER_SIDE_CURSORS=True),
    "server_binding": database({"server_side_binding": True}),
    "pooled": database({"pool": {"min_size": 1, "max_size": 4}}),
    "prepared": database({"prepare_threshold": 0}),
    "serializable": database({"isolation_level": 4}),
}

settings.configure(
    DATABASES=VARIANTS, USE_TZ=True, TIME_ZONE="America/New_York",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.postgres"],
    # A hash that takes its time is no part of this.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
django.setup()

# pylint: disable=wrong-import-position
from django.contrib.auth.models import Group, User
from django.contrib.postgres.aggregates import ArrayAgg
from django.db import connections, transaction


def failed(what, act):
    try:
        say(what, "no error", act())
    except Exception as error:
        say(what, type(error).__name__, str(error).splitlines()[0])


class Tour:
    """All of it over one of the databases, which are one."""

    def __init__(self, using):
        self.using, self.connection = using, connections[using]
        self.users, self.groups = User.objects.using(using), Group.objects.using(using)

    def atomic(self):
        return transaction.atomic(using=self.using)

    def settings(self):
        with self.connection.cursor() as cursor:
            for name in ("timezone", "search_path", "transaction_isolation"):
                cursor.execute(f"show {name}")
                say(name, cursor.fetchone())

    def rows(self):
        self.users.bulk_create([User(username=f"u{n}") for n in range(1000)], batch_size=300)
        failed("unique", lambda: self.users.create(username="u1"))
        changed = [User(username="u1", email="e"), User(username="new")]
        kept = self.users.bulk_create(changed, update_conflicts=True, unique_fields=["username"],
                                      update_fields=["email"])
        say("upsert", len(kept))
        some = self.users.filter(username__startswith="u1").order_by("username")
        say("filter", some.count(), [user.username for user in some[:5]], some.last().email)
        say("in bulk", len(self.users.in_bulk(["u1", "u2", "nobody"], field_name="username")))
        say("get or create", [self.groups.get_or_create(name=f"g{n % 3}")[1] for n in range(5)])
        self.users.get(username="u1").groups.set(self.groups.all())
        related = self.users.prefetch_related("groups").get(username="u1").groups.all()
        say("related", sorted(group.name for group in related))
        joined = self.users.filter(groups__name="g1").values_list("username", "groups__name")
        say("joined", list(joined))
        say("aggregate", self.groups.aggregate(names=ArrayAgg("name", ordering="name")))

    def cursors(self):
        say("iterator", sum(1 for _ in self.users.iterator(chunk_size=100)))
        with self.atomic():
            say("iterator", sum(1 for _ in self.users.iterator(chunk_size=100)))
        some = self.users.iterator(chunk_size=10)
        next(some)
        say("beside an open one", self.users.count())
        some.close()

    def transactions(self):
        done = []
        with self.atomic():
            transaction.on_commit(lambda: done.append("committed"), using=self.using)
            self.users.filter(username="u2").update(email="z")
            failed("savepoint", self.nested)
            locked = self.users.select_for_update(skip_locked=True).filter(username="u5")
            say("locked", len(locked), done)
        say("done", done, self.users.get(username="u2").email)
        failed("rolled back", self.rolled_back)
        say("rolled back", self.users.filter(username="x").exists())

    def nested(self):
        with self.atomic():
            self.users.create(username="u1")

    def rolled_back(self):
        with self.atomic():
            self.users.create(username="x")
            raise ValueError("no")

    def threads(self):
        def work():
            for n in range(20):
                self.groups.get_or_create(name=f"t{n}")
            self.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say("groups", self.groups.filter(name__startswith="t").count())

    def close(self):
        """The connection of this thread: each has its own."""
        connections[self.using].close()

    async def asynchronous(self):
        names = [group.name async for group in self.groups.order_by("name")[:3]]
        say("async", names, await self.groups.acount())
        await sync_to_async(self.close)()

    def management(self):
        models = io.StringIO()
        call_command("inspectdb", "auth_user", database=self.using, stdout=models)
        say("inspectdb", models.getvalue().count(" = models."))
        call_command("flush", database=self.using, verbosity=0, interactive=False)
        say("flushed", self.users.count(), self.groups.count())
        say("tables", self.connection.introspection.table_names())

    def run(self):
        section(f"django {self.using}")
        for part in (self.settings, self.rows, self.cursors, self.transactions):
            part()
        # Who is serializable would have to try again.
        if self.using != "serializable":
            self.threads()
        asyncio.run(self.asynchronous())
        self.management()
        if "pool" in VARIANTS[self.using]["OPTIONS"]:
            self.connection.close_pool()
        self.close()


def execute(*statements):
    with connections["default"].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


execute("set client_min_messages to warning", f"drop schema if exists {SCHEMA} cascade",
        f"create schema {SCHEMA}")
section("migrate")
call_command("migrate", verbosity=0)
say("applied", connections["default"].introspection.table_names())
for name in VARIANTS:
    Tour(name).run()
section("back")
call_command("migrate", "auth", "zero", verbosity=0)
say("tables", connections["default"].introspection.table_names())
execute(f"drop schema {SCHEMA} cascade")
connections.close_all()
section("end")
