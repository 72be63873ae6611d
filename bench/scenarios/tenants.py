"""Many registered tenants, fifty of them busy: those who are merely registered cost nothing."""

from harness import pgbench
from harness.peers import Setup
from harness.rounds import interleave, with_cpu
from harness.section import Section
from harness.wire import Client


def run(bench):
    preset, world = bench.preset, bench.world
    busy = [f"busy{n:02}" for n in range(preset.busy_tenants)]
    section = Section("tenants", f"Registered tenants, {len(busy)} of them busy")
    section.text = (
        f"{len(busy)} clients, each with a server of its own: all of one tenant, then one of each "
        "busy tenant while ever more others are registered. Each client is a pgbench of its own. "
        "`touched` is what a tenant leaves behind in memory that was entered once, its server "
        "closed again, when what is kept for newcomers (a minute) has been let go.")
    world.databases(busy)
    world.register(busy)
    for tenant in busy:
        world.postgres.tool("pgbench", "-i", "-q", "-s", "1", f"tenant_{tenant}")
    rows, base = [], None
    setup = Setup(pool=len(busy), pgusher={"pool.server_idle_timeout": "1s",
                                           "pool.room_idle_timeout": "1s"})
    for registered in preset.registered:
        bench.say(f"tenants {registered}")
        others = [f"quiet{n:05}" for n in range(max(0, registered - len(busy)))]
        if others:
            world.register(others, into=busy)
        names = ["main"] if registered == 1 else busy
        with world.peers(setup, names=["pgusher"]) as peers:
            figures = interleave(peers, preset.rounds, lambda peer: once(bench, peer, names))
            figures = figures["pgusher"]
            last = registered == preset.registered[-1]
            touched = touch(bench, peers[0], others[:preset.touched]) if last else None
        base = base or figures
        rows.append([registered, len(names), figures["tps"], figures["tps"] / base["tps"],
                     figures["cpu"], figures["cpu"] / base["cpu"], touched])
        world.unregister("quiet")
    section.table(["registered", "busy", "tx/s", "of one tenant's", "CPU µs", "of one tenant's",
                   "KiB a tenant touched"], rows)
    if not preset.smoke:
        last = rows[-1]
        section.verdict("throughput, share of one tenant's, ≥ 0.95", last[3], last[3] >= 0.95)
        section.verdict("CPU, share of one tenant's, ≤ 1.05", last[5], last[5] <= 1.05)
        section.verdict("KiB a tenant touched, < 1", last[6], last[6] < 1)
    return section


def once(bench, peer, names):
    def together():
        children = [pgbench.start(bench.world, peer.target(names[n % len(names)]),
                                  bench.preset.seconds, 1)
                    for n in range(bench.preset.busy_tenants)]
        done = [pgbench.finish(child) for child in children]
        return {key: sum(one[key] for one in done) for key in done[0]}

    return with_cpu(peer, together)


def touch(bench, peer, tenants):
    """KiB by which the process has grown for each tenant, after one query on each and a while."""
    def calm():
        bench.sleep(bench.preset.forgets)
        return peer.process.memory()["rss"]

    before = calm()
    for tenant in tenants:
        client = Client(peer.target(tenant))
        client.ask("SELECT 1")
        client.close()
    return (calm() - before) / len(tenants)
