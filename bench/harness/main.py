"""The command line, the order of things, RESULTS.md."""

import argparse
import dataclasses
import importlib
import json
import pathlib
import subprocess
import sys
import time

from . import machine
from .peers import pgbouncer_version
from .preset import QUICK, SMOKE, Preset
from .section import Section
from .world import Programs, World

BENCH = pathlib.Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
RESULTS = BENCH / "results"

SCENARIOS = {
    "select": "select_only", "tpcb": "tpcb", "connect": "connect", "idle": "idle", "bulk": "bulk",
    "tenants": "tenants", "round_robin": "round_robin", "fairness": "fairness",
    "registration": "registration", "instructions": "instructions",
}


class Bench:
    """What a scenario is given."""

    def __init__(self, preset, world, options):
        self.preset, self.world, self.options = preset, world, options
        self.pgbouncer_prepares = pgbouncer_version(world.programs.pgbouncer) >= (1, 21, 0)
        self._began = time.monotonic()

    def say(self, what):
        print(f"[{time.monotonic() - self._began:6.1f}] {what}", file=sys.stderr, flush=True)

    sleep = staticmethod(time.sleep)


def main(arguments):
    asked = parsed(arguments)
    preset = chosen(asked)
    if asked.report:
        report(RESULTS, BENCH / "RESULTS.md")
        return 0
    if not asked.no_install and not asked.pgbouncer:
        subprocess.run([ROOT / "scripts/install", "bench"], check=True)
    programs = Programs(pathlib.Path(asked.pgusher or build()).resolve(),
                        pathlib.Path(asked.pgbouncer or find_pgbouncer()).resolve())
    world = World(programs, preset.scale, pairs(asked.pgusher_set), pairs(asked.pgbouncer_set))
    failed = []
    try:
        bench = Bench(preset, world, asked)
        setting = described(bench)
        for name in preset.scenarios:
            section = attempt(bench, name, failed)
            if section is None:
                continue
            section.setting = {**setting, "load": machine.described()["load"]}
            print(section.markdown(plots(world.home)), flush=True)
            if not preset.smoke and not asked.dry:
                section.save(RESULTS)
    finally:
        world.close()
    if not preset.smoke and not asked.dry:
        report(RESULTS, BENCH / "RESULTS.md")
    for line in failed:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if failed else 0


def attempt(bench, name, failed):
    """One scenario; one that fails does not keep the others from running."""
    module = SCENARIOS[name]
    if not (BENCH / "scenarios" / f"{module}.py").exists():
        bench.say(f"{name}: not here")
        return None
    try:
        return importlib.import_module(f"scenarios.{module}").run(bench)
    except Exception as error:  # noqa: BLE001  (the others are still worth running)
        failed.append(f"{name}: {type(error).__name__}: {error}")
        if bench.options.trace:
            raise
        return None


def parsed(arguments):
    known = ", ".join(SCENARIOS)
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__, epilog=(
        "Without a flag everything is measured, which takes about an hour; --quick is the lines "
        "that must be shown about speed, in about ten minutes."))
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="select, connect and idle, short rounds")
    size.add_argument("--smoke", action="store_true",
                      help="a minute: that everything runs and answers are right")
    parser.add_argument("--only", metavar="NAME,…", help=f"some of: {known}")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of one round of pgbench")
    parser.add_argument("--clients", help="of `select`: 1,16,64")
    parser.add_argument("--modes", help="of `select`: simple,extended,prepared")
    parser.add_argument("--pgusher", metavar="PATH", help="this binary, instead of building one")
    parser.add_argument("--pgbouncer", metavar="PATH", help="this PgBouncer instead of Debian's")
    parser.add_argument("--pgusher-set", metavar="KEY=VALUE", action="append", default=[],
                        help="over the configuration, such as runtime.workers=1")
    parser.add_argument("--pgbouncer-set", metavar="KEY=VALUE", action="append", default=[])
    parser.add_argument("--dry", action="store_true", help="print only; leave RESULTS.md alone")
    parser.add_argument("--report", action="store_true", help="write RESULTS.md anew, run nothing")
    parser.add_argument("--no-install", action="store_true", help="everything is installed")
    parser.add_argument("--trace", action="store_true", help="stop at the first failure")
    parser.add_argument("--keep-dumps", metavar="DIR", help="of `instructions`: for kcachegrind")
    return parser.parse_args(arguments)


def chosen(asked):
    preset = SMOKE if asked.smoke else QUICK if asked.quick else Preset()
    changes = {}
    if asked.only:
        changes["scenarios"] = tuple(asked.only.split(","))
        unknown = set(changes["scenarios"]) - set(SCENARIOS)
        if unknown:
            sys.exit(f"bench: no such scenario: {', '.join(sorted(unknown))}")
    if asked.rounds:
        changes["rounds"] = asked.rounds
    if asked.seconds:
        changes["seconds"] = asked.seconds
    if asked.clients:
        changes["clients"] = tuple(int(part) for part in asked.clients.split(","))
    if asked.modes:
        changes["modes"] = tuple(asked.modes.split(","))
    return dataclasses.replace(preset, **changes)


def pairs(settings):
    """`key=value` as a dict; numbers and booleans are read as such."""
    found = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        found[key] = {"true": True, "false": False}.get(value, value)
        if value.isdigit():
            found[key] = int(value)
    return found


def build():
    subprocess.run([ROOT / "scripts/build-dist"], check=True)
    done = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version=1"], cwd=ROOT,
                          check=True, capture_output=True, text=True)
    return pathlib.Path(json.loads(done.stdout)["target_directory"]) / "dist/pgusher"


def find_pgbouncer():
    for place in ("/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"):
        if pathlib.Path(place).exists():
            return place
    sys.exit("bench: no pgbouncer (scripts/install bench, or --pgbouncer PATH)")


def described(bench):
    programs, preset = bench.world.programs, bench.preset
    found = machine.described()
    return {
        "date": time.strftime("%Y-%m-%d"), "revision": machine.revision(ROOT),
        "pgusher": machine.version(programs.pgusher).removeprefix("pgusher "),
        "PgBouncer": machine.version(programs.pgbouncer).removeprefix("PgBouncer "),
        "PostgreSQL": bench.world.postgres.version(),
        "rounds": f"{preset.rounds} × {preset.seconds} s",
        **{key: found[key] for key in ("cpu", "cores", "memory", "kernel")},
        **{f"with {key}": value for key, value in bench.world.pgusher_settings.items()},
    }


def plots(folder):
    folder = folder / "plots"
    folder.mkdir(exist_ok=True)
    return folder


HEAD = """# Results

Written by `bench/run`; do not edit. One machine runs everything: the proxies, PostgreSQL (which
syncs nothing to disk here: it is the proxies that are measured) and the clients. So throughput
says who leaves more of the machine to the others, and CPU per transaction is the figure to trust.
Rounds are interleaved; every figure is a median of the rounds. `–` is what was not measured.
"""


def report(results, path):
    """RESULTS.md from all sections there are."""
    # One scenario may have several, by what it was run with.
    saved = [path for name in SCENARIOS for path in sorted(results.glob(f"{name}*.json"))]
    sections = [Section.load(path) for path in saved]
    parts = [HEAD] + [section.markdown(plots(path.parent)) for section in sections]
    path.write_text("\n".join(parts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
