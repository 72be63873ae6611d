"""PostgreSQL 15's test programs, built from Debian's source package and kept for the next run."""

import re
import shutil
import tempfile
from pathlib import Path

from place import Failed, run, say

PACKAGE = "postgresql-15"
MIRROR = "http://deb.debian.org"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# The order of `apt-get source`: what is newest and can be had.
SUITES = [
    ("debian", "bookworm bookworm-updates"),
    ("debian-security", "bookworm-security"),
]
# What is built, in this order: the regression suite needs contrib/spi's two modules.
PARTS = ["src/test/regress", "contrib/spi", "src/test/isolation",
         "src/test/modules/libpq_pipeline", "src/bin/psql"]


class Source:
    """The built tree."""

    def __init__(self, tree):
        self.regress = tree / "src/test/regress"
        self.isolation = tree / "src/test/isolation"
        self.pipeline = tree / "src/test/modules/libpq_pipeline"
        # The psql of the same version: what it prints changes within a major one.
        self.psql = tree / "src/bin/psql"
        # And its libpq, not the machine's.
        self.environment = {"LD_LIBRARY_PATH": str(tree / "src/interfaces/libpq")}


def built(work):
    """The test programs, from the cache or made anew."""
    tree, stamp = work / "source", work / "source/built.stamp"
    if not stamp.exists():
        shutil.rmtree(tree, ignore_errors=True)
        unpack(fetch(work), work, tree)
        build(tree)
        stamp.touch()
    return Source(tree)


def fetch(work):
    """The upstream tarball of the newest version the mirror still has."""
    kept = sorted(work.glob(f"{PACKAGE}_*.orig.tar.*"))
    if kept:
        return kept[-1]
    if not shutil.which("apt-get"):
        raise Failed("there is no apt-get here; put Debian's postgresql-15_*.orig.tar.bz2 "
                     f"into {work} and run this again")
    with tempfile.TemporaryDirectory(dir=work) as folder:
        apt = private_apt(Path(folder))
        say(f"fetching the source of {PACKAGE}")
        run(["apt-get", *apt, "update"])
        listed = run(["apt-cache", *apt, "showsrc", PACKAGE])
        versions = re.findall(r"^Version: (\S+)$", listed, re.MULTILINE)
        said = "apt knows no version of it"
        for version in sorted(set(versions), key=natural, reverse=True):
            try:
                run(["apt-get", *apt, "source", "--download-only", f"{PACKAGE}={version}"],
                    cwd=folder)
            except Failed as failed:
                # An index can be ahead of its pool.
                said = str(failed)
                continue
            found, = Path(folder).glob("*.orig.tar.*")
            return Path(shutil.move(found, work / found.name))
    raise Failed(f"no source of {PACKAGE} could be fetched: {said}")


def private_apt(folder):
    """Options for an apt with sources and state of its own: the machine's stay as they are."""
    for name in ("sources.d", "lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    stanzas = [f"Types: deb-src\nURIs: {MIRROR}/{path}\nSuites: {suites}\nComponents: main\n"
               f"Signed-By: {KEYRING}\n" for path, suites in SUITES]
    (folder / "sources.d/source.sources").write_text("\n".join(stanzas))
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": folder / "sources.d",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        # The folder is ours alone; apt's own account could not write there.
        "APT::Sandbox::User": "root",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def natural(version):
    """15.9 comes before 15.10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", version)]


def unpack(tarball, work, tree):
    with tempfile.TemporaryDirectory(dir=work) as folder:
        run(["tar", "-xf", tarball, "-C", folder])
        inner, = Path(folder).iterdir()
        inner.rename(tree)


def build(tree):
    say("building pg_regress, isolationtester, libpq_pipeline, psql")
    nice = ["nice", "-n", "5"]
    run([*nice, "./configure", "--without-readline", "--without-zlib", "CFLAGS=-O1"], cwd=tree)
    for part in PARTS:
        run([*nice, "make", "-j2", "-C", part], cwd=tree)


def binaries():
    """The folder of an installed PostgreSQL 15."""
    candidates = [Path("/usr/lib/postgresql/15/bin")]
    for program in ("pg_config", "postgres"):
        if found := shutil.which(program):
            candidates.append(Path(found).resolve().parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "psql").exists():
            if "(PostgreSQL) 15." in run([folder / "postgres", "--version"]):
                return folder
    raise Failed("PostgreSQL 15 itself is not here: install the package postgresql-15")
