"""Where things are, and as whom PostgreSQL's own programs run."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# What a run leaves behind for people to read.
REPORT = TARGET / "regress"


class Failed(Exception):
    """Something the suites need is not there."""


class Missing(Failed):
    """What one suite needs is not installed; the others can do without."""


def say(text):
    print(f"regress: {text}", flush=True)


def account():
    """PostgreSQL refuses to run as root: then it is `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise Failed("root needs an account `postgres` or `nobody` to run PostgreSQL as")


ACCOUNT = account()


def drop():
    """The arguments of subprocess that make a child run as that account."""
    if ACCOUNT is None:
        return {}
    return {"user": ACCOUNT.pw_uid, "group": ACCOUNT.pw_gid, "extra_groups": []}


def give(path):
    """Hands a file or folder to the account."""
    if ACCOUNT is not None:
        os.chown(path, ACCOUNT.pw_uid, ACCOUNT.pw_gid)


def work():
    """The folder everything is built and run in: one the account can get into, which it cannot
    where the checkout lies in root's home."""
    REPORT.mkdir(parents=True, exist_ok=True)
    enters = subprocess.run(["/bin/sh", "-c", 'cd "$0"', str(REPORT)], cwd="/",
                            stderr=subprocess.DEVNULL, check=False, **drop())
    if enters.returncode == 0:
        return REPORT
    elsewhere = Path("/var/tmp") / f"pgusher-regress-{os.getuid()}"
    elsewhere.mkdir(mode=0o755, exist_ok=True)
    if elsewhere.stat().st_uid != os.getuid() or elsewhere.is_symlink():
        raise Failed(f"{elsewhere} belongs to somebody else")
    return elsewhere


def fresh(path):
    """An empty folder that belongs to the account."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    give(path)
    return path


def run(command, **options):
    """Runs to the end; on failure says everything the command said."""
    done = subprocess.run([str(word) for word in command], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout
