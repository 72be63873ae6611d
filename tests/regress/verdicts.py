"""A plugin of pytest: writes what every test came to, one line of JSON each, as it comes to it.

Two lines of a test, `began` and its verdict, so that a run that was ended in the middle of one
still tells of those before, and in which one it was.
"""

import json
import os

FILE = os.environ["PGUSHER_VERDICTS"]
seen = {}


def write(**line):
    with open(FILE, "a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def pytest_runtest_logstart(nodeid):
    seen.clear()
    write(name=nodeid, verdict="began")


def pytest_runtest_logreport(report):
    # Set-up, the test itself and taking down are judged as one: the worst of them counts.
    rank = ["passed", "skipped", "failed"].index(report.outcome)
    if rank >= seen.get("rank", 0):
        seen.update(rank=rank, verdict=report.outcome, text=told(report))


def pytest_runtest_logfinish(nodeid):
    write(name=nodeid, verdict=seen.get("verdict", "failed"), text=seen.get("text", ""))


def told(report):
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    return "" if report.outcome == "passed" else report.longreprtext


def pytest_collectreport(report):
    if report.failed:
        write(name=report.nodeid, verdict="failed", text=report.longreprtext)
