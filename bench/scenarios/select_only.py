"""pgbench -S: what a transaction costs, by protocol and number of clients."""

from harness import pgbench
from harness.peers import Setup
from harness.rounds import interleave, ratio
from harness.section import Section

CPU_LIMIT = {16: 1.0, 64: 0.95, 200: 0.95}
THROUGHPUT_LIMIT = {64: 1.15, 500: 1.15}


def run(bench):
    """`-S` in every mode. Prepared is compared in session mode where PgBouncer has no prepared
    statements in transaction mode (before 1.21)."""
    section = Section("select", "A transaction that reads one row (`pgbench -S`)")
    if bench.pgbouncer_prepares:
        section = Section("select_prepared", "The same beside a PgBouncer that keeps prepared "
                          "statements in transaction mode (`--pgbouncer`)")
    section.text = (
        "CPU is the proxy's own, user and system, by its process's clock, once everybody is "
        "logged in; `user` is the share spent outside the kernel. Latencies are pgbench's, in ms. Ratios are pgusher over "
        "PgBouncer.")
    found = {}
    for mode in bench.preset.modes:
        session = mode == "prepared" and not bench.pgbouncer_prepares
        # A session keeps its server, so there have to be as many as clients.
        pool = max(bench.preset.clients) if session else 20
        with bench.world.peers(Setup(pool=pool, session_mode=session)) as peers:
            for clients in bench.preset.clients:
                bench.say(f"select {mode} {clients}")
                found[mode, clients] = measure(bench, peers, mode, clients)
        if session:
            with bench.world.peers(Setup(), names=["pgusher"]) as peers:
                for clients in sorted({16, 64} & set(bench.preset.clients)):
                    alone = measure(bench, peers, mode, clients)
                    found["prepared, transaction mode", clients] = alone
    tables(section, found, bench)
    if not bench.preset.smoke:
        verdicts(section, found)
    return section


def measure(bench, peers, mode, clients):
    def once(peer):
        # Writing every latency down would cost more than the rest of pgbench.
        return pgbench.run(bench.world, peer.target("main"), bench.preset.seconds, clients, mode,
                           sampling=1 if clients == 1 else 0.2, process=peer.process)

    return interleave(peers, bench.preset.rounds, once)


def tables(section, found, bench):
    head = ["mode", "clients", "tx/s", "PgBouncer", "ratio", "CPU µs", "user", "PgBouncer", "user",
            "ratio", "p50", "p99", "p99.9", "PgBouncer", "p99", "p99.9"]
    rows = []
    for (mode, clients), figures in found.items():
        ours, theirs = figures["pgusher"], figures.get("pgbouncer", {})
        named = f"{mode}, session mode" if mode == "prepared" and not bench.pgbouncer_prepares \
            else mode
        rows.append([
            named, clients, ours["tps"], theirs.get("tps"), ratio(figures, "tps"), ours.get("cpu"),
            ours.get("user"), theirs.get("cpu"), theirs.get("user"), ratio(figures, "cpu"),
            *(ours[p] for p in ("p50", "p99", "p999")),
            *(theirs.get(p) for p in ("p50", "p99", "p999"))])
    section.table(head, rows)
    groups = [f"{mode.split(',')[0]} {clients}" for mode, clients in found]
    for key, title, unit in (("tps", "Throughput", "tx/s"), ("cpu", "CPU per transaction", "µs")):
        series = {name: [figures.get(name, {}).get(key) for figures in found.values()]
                  for name in ("pgusher", "pgbouncer")}
        section.bars(f"{section.name}_{key}", title, groups, series, unit)


def verdicts(section, found):
    both = {key: figures for key, figures in found.items() if "pgbouncer" in figures}
    for (mode, clients), figures in both.items():
        if clients in CPU_LIMIT:
            limit = CPU_LIMIT[clients]
            section.at_most(f"CPU per transaction, {mode} {clients}, ≤ {limit} ×",
                            ratio(figures, "cpu"), limit)
        limit = THROUGHPUT_LIMIT.get(clients, 1.0)
        section.at_least(f"throughput, {mode} {clients}, ≥ {limit} ×", ratio(figures, "tps"), limit)
        section.at_most(f"p99, {mode} {clients}, ≤ 1 ×", ratio(figures, "p99"), 1)
    worst = max((figures["pgusher"].get("user", 0) for (_, clients), figures in both.items()
                 if clients in CPU_LIMIT), default=None)
    section.at_most(f"user-space share, µs, {min(CPU_LIMIT)} to {max(CPU_LIMIT)} clients, ≤ 3", worst, 3)
    for (mode, clients), figures in both.items():
        if clients == 1:
            section.at_most(f"latency at one client, {mode}, ≤ 1 ×", ratio(figures, "p50"), 1)
