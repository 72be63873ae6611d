"""What two roads said of a suite, side by side: which tests differ, and which of those are known."""

import difflib
import json
import re
import shutil
import zlib
from pathlib import Path

from place import REPORT, say
from suites import Outcome

HERE = Path(__file__).resolve().parent
DID_NOT_RUN = "did not run"


def keep(suite, mode, outcome):
    """For people to read, and for a later run to compare with."""
    lists = {name: sorted(getattr(outcome, name)) for name in ("passed", "failed", "skipped")}
    text = json.dumps(lists | {"output": outcome.output, "hung": outcome.hung})
    (REPORT / f"{suite.name}-{mode}.json").write_text(text)


def kept(suite, mode):
    """What `keep` wrote, if it did."""
    file = REPORT / f"{suite.name}-{mode}.json"
    if not file.exists():
        return None
    said = json.loads(file.read_text())
    lists = [set(said.get(name, ())) for name in ("passed", "failed", "skipped")]
    return Outcome(*lists, said["output"], said["hung"])


def known(suite, mode):
    """The tests that are known to differ there, and why, as misses.txt says."""
    found = {}
    for line in (HERE / "misses.txt").read_text().splitlines():
        told, _, why = line.partition("  # ")
        words = told.split(maxsplit=2)
        if len(words) == 3 and words[0] == suite.name and mode in words[1].split("+"):
            found[words[2]] = why
    return found


def differing(suite, direct, proxied):
    """The tests with another verdict."""
    return sorted(name for name in direct.everything() | proxied.everything()
                  if verdict(suite, direct, name) != verdict(suite, proxied, name))


def verdict(suite, outcome, name):
    """Where the words count they are part of it."""
    for said in ("failed", "passed", "skipped"):
        if name in getattr(outcome, said):
            words = outcome.output.get(name, "").encode()
            return f"{said} ({zlib.crc32(words):08x})" if suite.by_words else said
    return DID_NOT_RUN


def report(suite, mode, directs, proxieds):
    """Says which tests fare differently, and keeps the differences of what they printed. The first
    outcome of each road is the whole suite, those behind it are of the tests that differed there.
    Returns how many differences nobody knew of.

    A test that comes out now one way, now the other directly differs in nothing by doing so here.
    """
    folder = REPORT / "differences" / f"{suite.name}-{mode}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    printed = words(folder, mode, directs[0], proxieds[0])
    expected, unknown = known(suite, mode), 0
    first = differing(suite, directs[0], proxieds[0])
    for name in first:
        here, there = [verdicts(suite, roads, name) for roads in (proxieds, directs)]
        line = f"{suite.name} {mode}: {name}: {' '.join(there)} directly, {' '.join(here)} here"
        if set(here) <= set(there):
            say(f"{line}: uneven, no difference")
        elif name in expected:
            say(f"{line}: known, {expected[name]}")
        else:
            say(f"{line}: {folder / plain(name)}.diff")
            unknown += 1
    for name in sorted(set(expected) - set(first)):
        say(f"{suite.name} {mode}: {name}: known to differ, and did not")
    if also := [name for name in printed if name not in first]:
        say(f"{suite.name} {mode}: same verdict, other words: {' '.join(also)}")
    return unknown


def verdicts(suite, outcomes, name):
    """In every run that ran it."""
    said = [verdict(suite, outcome, name) for outcome in outcomes]
    return said[:1] + [word for word in said[1:] if word != DID_NOT_RUN]


def words(folder, mode, direct, proxied):
    """Keeps the differences of what the tests printed, and returns their names."""
    printed = []
    for name in sorted(direct.everything() | proxied.everything()):
        texts = [road.output.get(name, "").splitlines(keepends=True) for road in (direct, proxied)]
        lines = list(difflib.unified_diff(*texts, f"direct/{name}", f"{mode}/{name}"))
        if lines:
            printed.append(name)
            (folder / f"{plain(name)}.diff").write_text("".join(lines))
    return printed


def plain(name):
    """A name that a file can have."""
    return re.sub(r"[^\w.:-]+", "_", name)[:200]
