"""A connection for every query (`pgbench -C -S`): what a login costs."""

from harness import pgbench
from harness.rounds import interleave, ratio
from harness.section import Section

CLIENTS = 8


def run(bench):
    section = Section("connect", "Connect, log in, one query, disconnect")
    section.text = (
        f"`pgbench -C -S`, {CLIENTS} at a time. pgusher is given a token as the password, "
        "PgBouncer a password, both by the cleartext method; over TLS both do the same full "
        "handshake (libpq resumes no session).")
    rows, found = [], {}
    with bench.world.peers() as peers:
        for name, tls in (("plain", False), ("TLS", True)):
            bench.say(f"connect {name}")

            def once(peer):
                return pgbench.run(bench.world, peer.target("main", tls), bench.preset.seconds,
                                   CLIENTS, connect=True, process=peer.process)

            figures = found[name] = interleave(peers, bench.preset.rounds, once)
            ours, theirs = figures["pgusher"], figures["pgbouncer"]
            rows.append([name, ours["tps"], theirs["tps"], ratio(figures, "tps"), ours.get("cpu"),
                         ours.get("user"), theirs.get("cpu"), theirs.get("user"), ratio(figures, "cpu"),
                         ours["p99"], theirs["p99"]])
    section.table(["", "connects/s", "PgBouncer", "ratio", "CPU µs", "user", "PgBouncer", "user",
                   "ratio", "p99 ms", "PgBouncer"], rows)
    section.bars("connect", "Connects", list(found), {
        name: [figures[name]["tps"] for figures in found.values()]
        for name in ("pgusher", "pgbouncer")}, "1/s")
    if not bench.preset.smoke:
        plain = found["plain"]["pgusher"]
        section.at_least("plain connects/s ≥ 2,500", plain["tps"], 2500)
        section.at_most("plain CPU µs per connect ≤ 220", plain.get("cpu"), 220)
        section.at_least("TLS connects/s ≥ 1.5 ×", ratio(found["TLS"], "tps"), 1.5)
    return section
