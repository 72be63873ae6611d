"""Large results and COPY: bytes a second, beside PostgreSQL without a proxy."""

import time

from harness.rounds import interleave, ratio, with_cpu
from harness.section import Section
from harness.wire import Client

# Once takes a third of a second: too short for two cores that three processes share.
TIMES = 4
ROW = b"0123456789" * 9 + b"12345678\n"
PIECE = ROW * 600


def run(bench):
    rows = bench.preset.bulk_rows
    section = Section("bulk", f"Large results and COPY, {rows:,} rows of 100 bytes")
    section.text = (f"{TIMES} times in a row for each figure. MB/s as a client sees it that does "
                    "nothing with the bytes.")
    kinds = {
        "SELECT": lambda client: client.drain("SELECT line FROM bulk"),
        "COPY TO": lambda client: client.drain("COPY bulk TO STDOUT"),
        "COPY FROM": lambda client: copied_in(client, rows),
    }
    bench.world.postgres.sql(
        "DROP TABLE IF EXISTS bulk, sink; CREATE UNLOGGED TABLE sink (line text);"
        f"CREATE TABLE bulk AS SELECT repeat('0123456789', 9) || '12345678' AS line "
        f"FROM generate_series(1, {rows}); VACUUM bulk;"
        "GRANT ALL ON bulk, sink TO PUBLIC;", "tenant_main")
    table, found = [], {}
    with bench.world.peers(names=["direct", "pgusher", "pgbouncer"]) as peers:
        for kind, act in kinds.items():
            bench.say(f"bulk {kind}")
            found[kind] = figures = interleave(
                peers, bench.preset.rounds, lambda peer: once(peer, act))
            sizes = {figures[name]["transactions"] for name in figures}
            if len(sizes) != 1:
                raise RuntimeError(f"{kind}: not the same bytes: {sizes}")
            table.append([kind, *(figures[name]["mbs"] for name in figures),
                          ratio(figures, "mbs", over="direct"),
                          ratio(figures, "mbs", "pgbouncer", "direct"),
                          figures["pgusher"]["cpu"] * 1e6, figures["pgbouncer"]["cpu"] * 1e6,
                          figures["pgusher"]["grown"], figures["pgbouncer"]["grown"]])
    bench.world.postgres.sql("DROP TABLE bulk, sink", "tenant_main")
    section.table(["", "direct MB/s", "pgusher", "PgBouncer", "pgusher/direct", "PgBouncer/direct",
                   "CPU ms/GB", "PgBouncer", "growth KiB", "PgBouncer"], table)
    section.bars("bulk", "Large results and COPY", list(found), {
        name: [figures[name]["mbs"] for figures in found.values()]
        for name in ("direct", "pgusher", "pgbouncer")}, "MB/s")
    if not bench.preset.smoke:
        for kind, figures in found.items():
            value = ratio(figures, "mbs", over="direct")
            section.verdict(f"{kind}, share of direct, ≥ 0.95", value, value >= 0.95)
        grown = max(figures["pgusher"]["grown"] for figures in found.values())
        section.verdict("resident growth, KiB, < 8,192", grown, grown < 8192)
    return section


def copied_in(client, rows):
    client.ask("TRUNCATE sink")
    count = client.copy_in("COPY sink FROM STDIN", PIECE, rows // 600)
    assert count == rows // 600 * 600, count
    return count * len(ROW)


def once(peer, act):
    client = Client(peer.target("main"))
    client.ask("SELECT 1")
    before = None
    if peer.process is not None:
        peer.process.forget_peak()
        before = peer.process.memory()["peak"]

    def timed():
        began = time.monotonic()
        total = sum(act(client) for _ in range(TIMES))
        took = time.monotonic() - began
        return {"transactions": total, "mbs": total / took / 1e6}

    figures = with_cpu(peer, timed)
    client.close()
    if before is not None:
        figures["grown"] = peer.process.memory()["peak"] - before
    return figures
