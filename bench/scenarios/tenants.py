"""Many registered tenants, fifty of them busy: those who are merely registered cost nothing."""

from harness import pgbench
from harness.peers import Setup
from harness.rounds import turns, with_cpu
from harness.section import Section
from harness.wire import Client


def run(bench):
    preset, world = bench.preset, bench.world
    busy = [f"busy{n:02}" for n in range(preset.busy_tenants)]
    section = Section("tenants", f"Registered tenants, {len(busy)} of them busy")
    section.text = (
        f"{len(busy)} clients, each with a server of its own: all of one tenant, or one of each busy "
        "tenant while more or fewer others are registered, in turns. Each client is a pgbench of its "
        "own. "
        "`touched` is what a tenant leaves behind in memory that was entered once, its server "
        "closed again, when what is kept for newcomers (a minute) has been let go.")
    world.databases(busy)
    world.register(busy)
    for tenant in busy:
        world.postgres.tool("pgbench", "-i", "-q", "-s", "1", f"tenant_{tenant}")
    setup = Setup(pool=len(busy), pgusher={"pool.server_idle_timeout": "1s",
                                           "pool.room_idle_timeout": "1s"})

    def with_registered(registered, measure):
        """`measure(peer, others)` on a fresh proxy, when there are so many tenants."""
        others = [f"quiet{n:05}" for n in range(max(0, registered - len(busy)))]
        if others:
            world.register(others, into=busy)
        world.settle()
        try:
            with world.peers(setup, names=["pgusher"]) as (peer,):
                return measure(peer, others)
        finally:
            world.unregister("quiet")

    clients = {count: busy[:1] if count == 1 else busy for count in preset.registered}
    found = turns(list(clients), preset.rounds, lambda count: with_registered(
        count, lambda peer, _: once(bench, peer, clients[count])))
    most, base = preset.registered[-1], found[preset.registered[0]]
    bench.say(f"tenants, {preset.touched} touched")

    def touched_once(peer, others):
        # Not a fresh one: what it keeps for its work is no tenant's.
        once(bench, peer, busy)
        return touch(bench, peer, others[:preset.touched])

    touched = with_registered(most, touched_once)
    rows = [[count, len(clients[count]), figures["tps"], figures["tps"] / base["tps"],
             figures["cpu"], figures["cpu"] / base["cpu"], touched if count == most else None]
            for count, figures in found.items()]
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
