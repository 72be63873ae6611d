"""The suites asyncpg, psycopg2 and pg8000 ship in their source packages, run by pytest."""

import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from place import Failed, run, say

HERE = Path(__file__).resolve().parent
# The longest a single test may take. One that takes longer is called failed, and the others go on.
TEST_SECONDS = 300
# More hung tests than this, and the rest is not worth the wait.
HUNG_MAX = 8


class Drivers:
    """The unpacked source packages, and a Python that has the drivers."""

    environment = {"PYTHONDONTWRITEBYTECODE": "1"}

    def __init__(self, home):
        self.home = home / "drivers"
        self.python = self.home / "venv/bin/python"
        wanted = (HERE / "driver-requirements.txt").read_text() + (HERE / "sdists.txt").read_text()
        stamp = self.home / "wanted.txt"
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(self.home, ignore_errors=True)
            self.home.mkdir(parents=True)
            self.fetch()
            stamp.write_text(wanted)

    def fetch(self):
        say("fetching the drivers and their source packages")
        run([sys.executable, "-m", "venv", self.home / "venv"])
        pip = [self.python, "-m", "pip", "--disable-pip-version-check", "-q"]
        run([*pip, "install", "-r", HERE / "driver-requirements.txt"])
        names = re.findall(r"^(\w+)==", (HERE / "sdists.txt").read_text(), re.MULTILINE)
        with tempfile.TemporaryDirectory(dir=self.home) as folder:
            # pip asks a source package about itself; psycopg2 then wants pg_config (libpq-dev).
            run([*pip, "download", "--no-deps", "--require-hashes", "-d", folder,
                 "--no-binary", ",".join(names), "-r", HERE / "sdists.txt"])
            for tarball in Path(folder).glob("*.tar.gz"):
                run(["tar", "-xf", tarball, "-C", self.home])

    def source(self, name):
        found, = self.home.glob(f"{name}-*/")
        return found


def excluded(name):
    """The tests that are left out, and why, as excluded.txt says."""
    lines = (HERE / "excluded.txt").read_text().splitlines()
    words = [line.split("#")[0].split() for line in lines]
    return [said[1] for said in words if said and said[0] == name]


@dataclass(frozen=True)
class Run:
    """One run of a suite: against what, where, by what, and of which tests (none: of all)."""

    environment: dict
    folder: Path
    run_for: object
    only: tuple


def tests_of(name, parts, variables=None):
    """A function that runs what of the source package of `name` is its tests."""

    def suite(drivers, run_of, outcome):
        for part in parts:
            # Without the package's own code: the driver is the one installed.
            source = drivers.source(name) / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, run_of.folder / part)
        left_out = excluded(name)
        for test in left_out:
            if not (run_of.folder / test.split("::")[0]).exists():
                raise Failed(f"excluded.txt names {test}, which {name} does not have")
        (run_of.folder / "verdicts").touch()
        while True:
            done = left_out + sorted(outcome.everything())
            if run_of.only and set(run_of.only) <= set(done):
                return outcome
            status = once(drivers, run_of, variables or {}, done)
            hung = take(run_of.folder / "verdicts", outcome)
            if status in (0, 1) and hung is None:
                return outcome
            if hung is None:
                raise Failed(f"pytest did not run ({status}): see {log_of(run_of)}")
            say(f"{name}: {hung} hung")
            outcome.stuck += 1
            if outcome.stuck > HUNG_MAX:
                outcome.hung = True
                return outcome

    return suite


def log_of(run_of):
    return run_of.folder.parent / f"{run_of.folder.name}.log"


def once(drivers, run_of, variables, left_out):
    """pytest, over all that is not left out."""
    options = run_of.folder / "options.txt"
    chosen = sorted(set(run_of.only) - set(left_out)) or ["."]
    words = chosen + [f"--deselect={test}" for test in left_out]
    options.write_text("".join(f"{word}\n" for word in words))
    command = [drivers.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "verdicts",
               "-o", f"faulthandler_timeout={TEST_SECONDS}",
               "-o", "faulthandler_exit_on_timeout=true", "--benchmark-disable",
               f"--rootdir={run_of.folder}", f"@{options}"]
    told = run_of.environment | variables | {
        "PYTHONPATH": str(HERE), "PGUSHER_VERDICTS": str(run_of.folder / "verdicts")}
    return run_of.run_for(command, log_of(run_of), told, run_of.folder, own=True)


def take(file, outcome):
    """Reads what the plugin wrote; the test it says no end of is the one that hung."""
    begun = None
    for line in map(json.loads, file.read_text().splitlines()):
        name, verdict = line["name"], line["verdict"]
        begun = name if verdict == "began" else None
        if verdict != "began":
            getattr(outcome, verdict).add(name)
            outcome.output[name] = line["text"]
    if begun is not None:
        outcome.failed.add(begun)
        outcome.output[begun] = f"took more than {TEST_SECONDS} s"
    return begun
