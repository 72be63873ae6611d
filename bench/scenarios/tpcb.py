"""pgbench's TPC-B: seven statements to a transaction."""

from harness import pgbench
from harness.rounds import interleave, ratio
from harness.section import Section


def run(bench):
    section = Section("tpcb", "TPC-B, seven statements to a transaction")
    rows, preset = [], bench.preset
    with bench.world.peers() as peers:
        for mode in ("simple", "extended"):
            for clients in preset.tpcb_clients:
                bench.say(f"tpcb {mode} {clients}")

                def once(peer):
                    return pgbench.run(bench.world, peer.target("main"), preset.seconds, clients,
                                       mode, "tpcb", process=peer.process)

                figures = interleave(peers, preset.rounds, once)
                ours, theirs = figures["pgusher"], figures["pgbouncer"]
                rows.append([mode, clients, ours["tps"], theirs["tps"], ratio(figures, "tps"),
                             ours.get("cpu"), theirs.get("cpu"), ratio(figures, "cpu"), ours["p99"],
                             theirs["p99"]])
    section.table(["mode", "clients", "tx/s", "PgBouncer", "ratio", "CPU µs", "PgBouncer", "ratio",
                   "p99 ms", "PgBouncer"], rows)
    return section
