"""Thousands of clients that have run a query and wait: what each of them costs in memory."""

import time

from harness.section import Section
from harness.wire import Client


def run(bench):
    count = bench.preset.idle_clients
    section = Section("idle", f"{count:,} idle clients")
    section.text = (
        "Each has logged in and run one query. Resident memory of a fresh process before and "
        "with them, by client; and what is still held ten seconds after all have left.")
    rows, found = [], {}
    for name, tls in (("plain", False), ("TLS", True)):
        for which in ("pgusher", "pgbouncer"):
            bench.say(f"idle {name} {which}")
            with bench.world.peers(names=[which]) as (peer,):
                found[name, which] = figures = hold(bench, peer, count, tls)
            rows.append([name, which, figures["before"], figures["with"], figures["each"],
                         figures["each_pss"], figures["after"]])
    section.table(["", "", "RSS before, KiB", "with", "KiB a client", "PSS a client", "RSS after"],
                  rows)
    section.bars("idle", "Memory of an idle client", ["plain", "TLS"], {
        which: [found[name, which]["each"] for name in ("plain", "TLS")]
        for which in ("pgusher", "pgbouncer")}, "KiB")
    if not bench.preset.smoke:
        plain, tls = found["plain", "pgusher"], found["TLS", "pgusher"]
        section.verdict("plain, KiB a client, ≤ 2", plain["each"], plain["each"] <= 2)
        share = tls["each"] / found["TLS", "pgbouncer"]["each"]
        section.verdict("TLS, share of PgBouncer's, ≤ 0.6", share, share <= 0.6)
        for name, figures in (("plain", plain), ("TLS", tls)):
            kept = (figures["after"] - figures["before"]) / (figures["with"] - figures["before"])
            section.verdict(f"{name}, share still held afterwards, ≤ 0.25", kept, kept <= 0.25)
    return section


def hold(bench, peer, count, tls):
    target = peer.target("main", tls)
    # Its first client costs what a process needs once.
    first = Client(target)
    first.ask("SELECT 1")
    before = peer.process.memory()
    clients = []
    for _ in range(count):
        client = Client(target)
        assert client.ask("SELECT 41 + 1") == ["42"]
        clients.append(client)
    # Whatever is given back at leisure is.
    time.sleep(2)
    full = peer.process.memory()
    assert clients[0].ask("SELECT current_database()") == ["tenant_main"]
    for client in clients:
        client.close()
    time.sleep(bench.preset.settle)
    after = peer.process.memory()
    first.close()
    return {"before": before["rss"], "with": full["rss"], "after": after["rss"],
            "each": (full["rss"] - before["rss"]) / count,
            "each_pss": (full["pss"] - before["pss"]) / count}
