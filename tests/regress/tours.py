"""Tours: scripts that print what a driver or an ORM sees, section by section, in all its variants.

A section is a test: it has failed where it says ENDED, and differs where it prints anything else
than it does directly. A line `=== NAME` begins a variant, `== NAME` a section of it; the last
section of every script is `end`.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from drivers import Drivers
from place import Failed, Missing, run, say

HERE = Path(__file__).resolve().parent / "tours"
JAR = Path("/usr/share/java/postgresql.jar")
NODE = HERE / "node"
# The line that begins a variant or a section.
HEAD = re.compile(r"^(={2,3}) (.*)$")


@dataclass(frozen=True)
class Scripts:
    """What runs the scripts of a tour, one after the other, and with which environment."""

    commands: tuple
    environment: dict = field(default_factory=dict)


def wants(what, *command):
    """Asks whether something is installed, by a command that fails where it is not."""
    try:
        asked = subprocess.run(command, check=False, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        asked = None
    if asked is None or asked.returncode:
        raise Missing(f"{what} is not here: scripts/install drivers")


def jdbc(home):
    wants("a Java compiler", "javac", "-version")
    wants(str(JAR), "test", "-f", JAR)
    folder = home / "tours/jdbc"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run(["javac", "-cp", JAR, "-d", folder, *sorted((HERE / "jdbc").glob("*.java"))])
    return Scripts((("java", "-Xmx1g", "-cp", f"{JAR}:{folder}", "Tour"),))


def activerecord(_home):
    wants("ActiveRecord for Ruby", "ruby", "-e", "require 'active_record'; require 'pg'")
    return Scripts((("ruby", HERE / "activerecord.rb"),))


def php(_home):
    wants("PHP with pgsql and PDO", "php", "-r",
          "exit(extension_loaded('pgsql') && extension_loaded('pdo_pgsql') ? 0 : 1);")
    return Scripts((("php", "-d", "display_errors=stdout", HERE / "pdo.php"),
                    ("php", "-d", "display_errors=stdout", HERE / "pgsql.php")))


def perl(_home):
    wants("DBD::Pg for Perl", "perl", "-MDBD::Pg", "-e", "1")
    return Scripts((("perl", HERE / "dbd_pg.pl"),))


def odbc(home):
    wants("psqlODBC", "odbcinst", "-q", "-d", "-n", "PostgreSQL Unicode")
    return Scripts(((Drivers(home).python, HERE / "odbc.py"),), Drivers.environment)


def sqlx(home):
    wants("cargo", "cargo", "--version")
    target = home / "tours/sqlx"
    run(["nice", "-n", "5", "cargo", "build", "--locked", "--manifest-path",
         HERE / "sqlx/Cargo.toml", "--target-dir", target])
    return Scripts(((target / "debug/pgusher-regress-sqlx",),))


def orms(home):
    wants("npm", "npm", "--version")
    folder = home / "tours/node"
    wanted = (NODE / "package-lock.json").read_text() + (NODE / "schema.prisma").read_text()
    stamp = folder / "wanted.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        say("fetching the ORMs of node")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", "schema.prisma"):
            shutil.copy(NODE / name, folder)
        # No script of a package runs. Prisma would fetch an engine for its migrations, which the
        # client over pg does not use.
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder)
        run([folder / "node_modules/.bin/prisma", "generate", "--schema", "schema.prisma"],
            cwd=folder, env=os.environ | {"PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true"})
        stamp.write_text(wanted)
    scripts = ("knex", "sequelize", "typeorm", "drizzle", "prisma")
    return Scripts(tuple(("node", NODE / f"{name}.cjs") for name in scripts),
                   {"NODE_PATH": str(folder / "node_modules")})


def tour(scripts, environment, folder, run_for, outcome):
    """Runs the scripts and takes their sections for tests."""
    for command in scripts.commands:
        name = Path(command[-1]).stem
        log = folder / f"{name}.log"
        status = run_for(command, log, environment, folder, own=True)
        text = log.read_text(errors="replace")
        outcome.hung |= status is None
        found = sections(name, text)
        end = f"{name}: end"
        if status or status is None or end not in found:
            found[end] = f"ENDED with {status}\n{text[-2000:]}"
        for section, said in found.items():
            ended = re.search(r"^ENDED", said, re.MULTILINE)
            (outcome.failed if ended else outcome.passed).add(section)
            outcome.output[section] = said
    if len(outcome.everything()) < 2 * len(scripts.commands):
        raise Failed(f"a tour that saw nothing: see {folder}")
    return outcome


def sections(script, text):
    """What every section printed, by the names of the variant and its own."""
    found, variant, name = {}, script, f"{script}: start"
    for line in text.splitlines():
        if head := HEAD.match(line):
            if head[1] == "===":
                variant = head[2]
            name = f"{script if head[2] == 'end' else variant}: {head[2]}"
            if name in found:
                raise Failed(f"two sections of {script} are called {name}")
        if head and head[1] == "===":
            continue
        found[name] = found.get(name, "") + ("" if head else line + "\n")
    return found
