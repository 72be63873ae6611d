"""Registrations, one at a time and in a burst: measured by `bench/registration.py`, which has a
PostgreSQL of its own and needs psycopg (`scripts/install test`)."""

import pathlib
import subprocess
import sys

from harness.section import Section

BENCH = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = BENCH / "registration.py"
VENV = BENCH.parent / "target/venv/bin/python"


def run(bench):
    python = VENV if VENV.exists() else pathlib.Path(sys.executable)
    ready = subprocess.run([python, "-c", "import psycopg"], capture_output=True).returncode == 0
    if not ready:
        bench.say("registration: psycopg is not there (scripts/install test), skipped")
        return None
    bench.say("registration")
    command = [python, PROGRAM, "--program", bench.world.programs.pgusher]
    if bench.preset.smoke:
        command += ["--only", "single", "--count", "4"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-800:])
    return Section("registration", "Registrations", done.stdout.strip())
