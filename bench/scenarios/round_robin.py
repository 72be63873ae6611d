"""More active tenants than server connections: every query may have to close another tenant's
server and dial its own."""

import asyncio
import time

from harness.peers import Setup, database
from harness.rounds import interleave, ratio, with_cpu
from harness.section import Section
from harness.pgbench import percentiles
from harness.wire import Busy

BUDGET = 90
IN_FLIGHT = 150


def run(bench):
    count = bench.preset.active_tenants
    section = Section("round_robin", f"{count:,} active tenants over {BUDGET} server connections")
    section.text = (
        f"One client of each tenant, always connected; {IN_FLIGHT} queries under way at any time, "
        "tenant after tenant. PgBouncer has one `*` database, one user and "
        f"`max_user_connections = {BUDGET}`. What bounds both is PostgreSQL's fork.")
    tenants = [f"many{n:04}" for n in range(count)]
    bench.say(f"round_robin: {count} databases")
    bench.world.databases(tenants)
    bench.world.register(tenants)
    setup = Setup(pool=10, budget=BUDGET)
    with bench.world.peers(setup) as peers:
        bench.say("round_robin")
        figures = interleave(peers, bench.preset.rounds, lambda peer: once(bench, peer, tenants))
    bench.world.drop_databases(tenants)
    bench.world.unregister("many")
    section.table(["", "queries/s", "p50 ms", "p99 ms", "CPU µs", "errors"],
                  [[name, *(found[key] for key in ("tps", "p50", "p99", "cpu", "errors"))]
                   for name, found in figures.items()])
    errors, value = figures["pgusher"]["errors"], ratio(figures, "tps")
    if not bench.preset.smoke:
        section.verdict("errors, none", errors, errors == 0)
        section.verdict("throughput, ≥ 1 × (wished for: 1.5 ×)", value, value >= 1)
    elif errors:
        raise RuntimeError(f"{errors} errors")
    return section


def once(bench, peer, tenants):
    return with_cpu(peer, lambda: asyncio.run(drive(peer, tenants, bench.preset.seconds * 2)))


async def drive(peer, tenants, seconds):
    gate = asyncio.Semaphore(32)

    async def enter(tenant):
        async with gate:
            return tenant, await Busy.open(peer.target(tenant))

    sessions = await asyncio.gather(*(enter(tenant) for tenant in tenants))
    turn, times, errors = iter(endless(sessions)), [], 0
    began = time.monotonic()

    async def worker():
        nonlocal errors
        while time.monotonic() - began < seconds:
            tenant, session = next(turn)
            asked = time.monotonic()
            try:
                # One that is still waiting is asked again when it has its answer.
                async with session.lock:
                    name = await session.ask("SELECT current_database()")
                if name != database(tenant):
                    raise RuntimeError(f"{tenant} read {name}")
            except Exception:  # noqa: BLE001  (every failure counts, whatever it is)
                errors += 1
            times.append((time.monotonic() - asked) * 1000)

    await asyncio.gather(*(worker() for _ in range(min(IN_FLIGHT, len(sessions) // 2 or 1))))
    took = time.monotonic() - began
    for _, session in sessions:
        session.close()
    return {"transactions": len(times), "tps": len(times) / took, "errors": errors,
            **percentiles(sorted(times))}


def endless(sessions):
    while True:
        yield from sessions
