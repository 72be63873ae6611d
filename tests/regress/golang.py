"""The suites pgx and pq ship, from Debian's packages of their sources."""

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from place import Failed, Missing, run, say
from tours import wants

GOPATH = Path("/usr/share/gocode")
# The longest a package's tests may take.
TEST_SECONDS = 300
# What the suites are compiled from, with the other packages their tests import.
NEEDS = ("github.com/jackc/pgx/v4", "github.com/lib/pq", "github.com/stretchr/testify",
         "github.com/Masterminds/semver")
# A line of `go test -v`: a test begins or goes on, or ends.
LINE = re.compile(r"^=== (?:RUN|CONT|NAME) +(\S+)|^ *--- (PASS|FAIL|SKIP): (\S+)")
VERDICTS = {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}


@dataclass(frozen=True)
class Programs:
    """Where the compiled suites lie."""

    folder: Path
    environment: dict = field(default_factory=dict)

    def of(self, package):
        """A package's tests, compiled when they are wanted first."""
        program = self.folder / f"{package.replace('/', '-')}.test"
        if not program.exists():
            say(f"compiling the tests of {package}")
            run(["nice", "-n", "5", "go", "test", "-c", "-o", program, package],
                cwd=GOPATH / "src" / package,
                env=os.environ | {"GO111MODULE": "off", "GOPATH": str(GOPATH),
                                  "GOCACHE": str(self.folder / "cache"), "GOFLAGS": ""})
        return program


def go(home):
    """The compiler and the sources. What was compiled of other versions is dropped."""
    wants("Go", "go", "version")
    for package in NEEDS:
        if not (GOPATH / "src" / package).is_dir():
            raise Missing(f"the source of {package} is not here: scripts/install drivers")
    folder = home / "go"
    stamp, wanted = folder / "versions.txt", "".join(map(versions, NEEDS)) + run(["go", "version"])
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stamp.write_text(wanted)
    return Programs(folder)


def versions(package):
    """The Debian package a source is from, with its version."""
    owner = run(["dpkg", "-S", GOPATH / "src" / package]).split(":")[0].split(",")[0]
    return run(["dpkg-query", "-W", owner])


def tests_of(packages):
    """A function that runs the suites of some packages, the first one's tests by their own names."""

    def suite(programs, run_of, outcome):
        ran = 0
        for place, package in enumerate(packages):
            prefix = "" if place == 0 else f"{Path(package).name}/"
            chosen = [name.removeprefix(prefix) for name in run_of.only
                      if name.startswith(prefix) and (prefix or not other(packages, name))]
            if run_of.only and not chosen:
                continue
            log = run_of.folder / f"{Path(package).name}.log"
            command = [programs.of(package), "-test.v", f"-test.timeout={TEST_SECONDS}s"]
            if chosen:
                command.append(f"-test.run=^({'|'.join(top(chosen))})$")
            source = GOPATH / "src" / package
            status = run_of.run_for(command, log, told(run_of), source, own=True)
            outcome.hung |= status is None
            found = take(log.read_text(errors="replace"), prefix, outcome)
            ran += found
        if not ran:
            raise Failed(f"no test of {' '.join(packages)} ran: see {run_of.folder}")
        return outcome

    return suite


def other(packages, name):
    return any(name.startswith(f"{Path(package).name}/") for package in packages[1:])


def top(names):
    """The tests, without those inside of them: they run together."""
    return sorted({name.split("/")[0] for name in names})


def told(run_of):
    """pgx takes one string where pq takes libpq's variables."""
    words = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
             "dbname": "PGDATABASE"}
    line = " ".join(f"{word}={run_of.environment[name]}" for word, name in words.items()
                    if name in run_of.environment) + " sslmode=disable"
    return run_of.environment | {"PGX_TEST_DATABASE": line, "PGX_TEST_PGBOUNCER_CONN_STRING": line}


def take(text, prefix, outcome):
    """Reads what the tests came to, and what they printed. Returns how many there were."""
    current, found = None, 0
    for line in text.splitlines():
        if not (match := LINE.match(line)):
            if current:
                outcome.output[current] = outcome.output.get(current, "") + line + "\n"
        elif match[1]:
            current = prefix + match[1]
        else:
            current = prefix + match[3]
            getattr(outcome, VERDICTS[match[2]]).add(current)
            found += 1
    return found
