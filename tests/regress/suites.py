"""The suites: how each is run, and what it says of every test."""

import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import golang
import tours
from drivers import Drivers, Run, tests_of
from place import Failed, drop, fresh
from source import built

# A run that takes longer hangs.
PATIENCE = int(os.environ.get("PGUSHER_REGRESS_PATIENCE", "1500"))

# Modes of libpq_pipeline that send until nothing more is taken.
UNEVEN = {"uniqviol"}

VERDICT = re.compile(r"^(?:test)?\s+(\S+)\s+\.\.\. (ok|FAILED|failed \(ignored\))", re.MULTILINE)


@dataclass
class Outcome:
    """What one suite said of one road."""

    passed: set = field(default_factory=set)
    failed: set = field(default_factory=set)
    skipped: set = field(default_factory=set)
    # What every test printed, by its name.
    output: dict = field(default_factory=dict)
    # The run was ended before its end.
    hung: bool = False
    # Tests that hung, and were ended so that the others could go on.
    stuck: int = 0

    def everything(self):
        return self.passed | self.failed | self.skipped


def run_for(command, log, environment, folder, own=False):
    """Runs a program as PostgreSQL's account, or our own; all of its children are ended when it
    takes too long."""
    with open(log, "wb") as out:
        child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=subprocess.STDOUT, env=environment,
                                 cwd=folder, start_new_session=True,
                                 **({} if own else drop()))
    try:
        return child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return None


def scheduled(program, source, schedule, arguments, environment, folder):
    """pg_regress or its sister of the isolation suite."""
    command = [program, "--use-existing", f"--inputdir={source}", f"--outputdir={folder}",
               f"--schedule={schedule}", "--max-concurrent-tests=20", *arguments]
    log = folder.parent / f"{folder.name}.log"
    status = run_for(command, log, environment, folder)
    said = log.read_text(errors="replace")
    outcome = Outcome(hung=status is None)
    for name, verdict in VERDICT.findall(said):
        (outcome.passed if verdict == "ok" else outcome.failed).add(name)
    if not outcome.passed and not outcome.failed:
        raise Failed(f"{program} ran no test: {said[-2000:]}")
    for file in (folder / "results").glob("*.out"):
        outcome.output[file.stem] = file.read_text(errors="replace")
    return outcome


def regress(source, environment, folder):
    """The regression suite, twenty tests at once."""
    arguments = [f"--bindir={source.psql}", f"--dlpath={source.regress}", "--dbname=regression"]
    return scheduled(source.regress / "pg_regress", source.regress,
                     source.regress / "parallel_schedule", arguments, environment, folder)


def isolation(source, environment, folder):
    """The isolation suite: several sessions that block each other, step by step."""
    arguments = [f"--bindir={source.psql}", "--dbname=isolation_regression"]
    return scheduled(source.isolation / "pg_isolation_regress", source.isolation,
                     source.isolation / "isolation_schedule", arguments, environment, folder)


def pipeline(source, environment, folder):
    """libpq_pipeline, every mode, with libpq's trace of what came over the wire."""
    program = source.pipeline / "libpq_pipeline"
    names = subprocess.run([program, "tests"], text=True, check=True, env=environment,
                           stdout=subprocess.PIPE).stdout.split()
    outcome = Outcome()
    for name in names:
        trace, log = folder / f"{name}.trace", folder / f"{name}.log"
        command = [program, "-t", trace, "-r", "700", name]
        status = run_for(command, log, environment, folder)
        (outcome.failed if status else outcome.passed).add(name)
        outcome.hung |= status is None
        # How much goes over the wire before it is full is another figure each time.
        told = () if name in UNEVEN else (log, trace)
        texts = [file.read_text(errors="replace") for file in told if file.exists()]
        outcome.output[name] = f"exit {status}\n" + "".join(texts)
    return outcome


def driver(name, parts, variables=None, extensions=()):
    """A driver's own suite, as one of ours. All of them find their server by PGHOST and the rest;
    pg8000 takes no database but the one its user is called."""
    tests = tests_of(name, parts, variables)

    def suite(drivers, environment, folder, only):
        return tests(drivers, Run(environment, folder, run_for, only), Outcome())

    return Suite(name, "postgres", ROADS, suite, Drivers, extensions, chooses=True)


def go_suite(name, packages, extensions=(), setup=""):
    """What a driver for Go ships, as one of ours."""
    tests = golang.tests_of(packages)

    def suite(programs, environment, folder, only):
        return tests(programs, Run(environment, folder, run_for, only), Outcome())

    return Suite(name, "postgres", ROADS, suite, golang.go, extensions, setup, chooses=True)


def tour(name, tools, extensions=()):
    """A tour, as one of ours."""

    def suite(scripts, environment, folder):
        return tours.tour(scripts, environment, folder, run_for, Outcome())

    return Suite(name, "postgres", ROADS, suite, tools, extensions, by_words=True)


@dataclass(frozen=True)
class Suite:
    """A suite, the database it wants, the roads it is held to, and what makes its programs."""

    name: str
    database: str
    modes: tuple
    run: object
    tools: object = built
    extensions: tuple = ()
    # What is made in the database beforehand.
    setup: str = ""
    # Whether it can run some of its tests.
    chooses: bool = False
    # Whether a test that prints other words is another one, whatever its verdict.
    by_words: bool = False

    def on(self, tools, environment, folder: Path, only=()):
        chosen = (only,) if self.chooses else ()
        return self.run(tools, environment | tools.environment, fresh(folder), *chosen)


ROADS = ("direct", "session", "transaction")


SUITES = {suite.name: suite for suite in (
    Suite("regress", "regression", ROADS, regress),
    Suite("isolation", "isolation_regression", ("direct", "session"), isolation),
    Suite("pipeline", "pipeline", ROADS, pipeline),
    driver("asyncpg", ["tests"]),
    driver("psycopg2", ["tests"], {"PSYCOPG2_TESTDB": "postgres"}, ("hstore",)),
    driver("pg8000", ["test", "README.md"], None, ("hstore",)),
    go_suite("pgx", [f"github.com/jackc/pgx/v4{part}" for part in ("", "/pgxpool", "/stdlib")],
             ("hstore",), "CREATE DOMAIN uint64 AS numeric(20,0)"),
    go_suite("pq", ["github.com/lib/pq"]),
    tour("jdbc", tours.jdbc, ("hstore",)),
    tour("activerecord", tours.activerecord),
    tour("php", tours.php),
    tour("perl", tours.perl),
    tour("odbc", tours.odbc),
    tour("sqlx", tours.sqlx),
    tour("orms", tours.orms),
)}
