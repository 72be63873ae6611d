"""One tenant with many clients beside nine with few, on fewer servers than any of them would
like: how long who waits."""

import asyncio
import time

from harness.peers import Setup
from harness.rounds import interleave, with_cpu
from harness.section import Section
from harness.pgbench import percentiles
from harness.wire import Busy

BUDGET, LOUD, QUIET = 20, 60, 2


def run(bench):
    section = Section("fairness", "Wait time under overload")
    section.text = (
        f"A budget of {BUDGET} server connections; one tenant with {LOUD} clients and nine with "
        f"{QUIET} each, all asking for `pg_sleep(0.005)` without a pause. Latencies in ms.")
    tenants = [f"fair{n}" for n in range(10)]
    bench.world.databases(tenants)
    bench.world.register(tenants)
    setup = Setup(pool=BUDGET, budget=BUDGET)
    with bench.world.peers(setup) as peers:
        bench.say("fairness")
        figures = interleave(peers, bench.preset.rounds, lambda peer: with_cpu(
            peer, lambda: asyncio.run(drive(peer, tenants, bench.preset.seconds))))
    bench.world.drop_databases(tenants)
    bench.world.unregister("fair")
    keys = ("tps", "loud_tps", "loud_p50", "loud_p99", "quiet_tps", "quiet_p50", "quiet_p99",
            "least", "errors")
    section.table(["", "queries/s", "loud tenant", "p50", "p99", "a quiet one", "p50", "p99",
                   "the worst served, queries/s", "errors"],
                  [[name, *(found.get(key) for key in keys)] for name, found in figures.items()])
    return section


async def drive(peer, tenants, seconds):
    plan = [tenants[0]] * LOUD + [tenant for tenant in tenants[1:] for _ in range(QUIET)]
    began, times, errors = time.monotonic(), {tenant: [] for tenant in tenants}, 0

    async def client(tenant):
        nonlocal errors
        session = await Busy.open(peer.target(tenant))
        while time.monotonic() - began < seconds:
            asked = time.monotonic()
            try:
                await session.ask("SELECT pg_sleep(0.005)")
                times[tenant].append((time.monotonic() - asked) * 1000)
            except Exception:  # noqa: BLE001  (every failure counts, whatever it is)
                errors += 1
        session.close()

    await asyncio.gather(*(client(tenant) for tenant in plan))
    took = time.monotonic() - began
    loud = sorted(times[tenants[0]])
    quiet = sorted(t for tenant in tenants[1:] for t in times[tenant])
    served = [len(times[tenant]) / took for tenant in tenants[1:]]
    return {
        "transactions": len(loud) + len(quiet), "tps": (len(loud) + len(quiet)) / took,
        "loud_tps": len(loud) / took, "quiet_tps": sum(served) / len(served),
        "least": min(served), "errors": errors,
        **{f"loud_{key}": value for key, value in percentiles(loud).items()},
        **{f"quiet_{key}": value for key, value in percentiles(quiet).items()}}
