"""How much is measured: everything, the lines that must be shown, or that it works at all."""

import dataclasses


@dataclasses.dataclass
class Preset:
    """Sizes of the scenarios."""

    seconds: int = 5
    rounds: int = 5
    scale: int = 10
    modes: tuple = ("simple", "extended", "prepared")
    clients: tuple = (1, 16, 64, 200, 500)
    tpcb_clients: tuple = (1, 16, 64)
    idle_clients: int = 10_000
    settle: float = 10
    bulk_rows: int = 1_000_000
    busy_tenants: int = 50
    registered: tuple = (1, 100, 1_000, 10_000)
    touched: int = 10_000
    forgets: float = 75
    active_tenants: int = 1_000
    scenarios: tuple = ("select", "tpcb", "connect", "idle", "bulk", "tenants", "round_robin",
                        "fairness", "registration", "instructions")
    smoke: bool = False


# What has to be shown of speed, in about ten minutes.
QUICK = Preset(seconds=2, clients=(1, 16, 64, 200, 500), scenarios=("select", "connect", "idle"))

# That everything runs and every answer is right; nothing about time. What needs valgrind or a
# PostgreSQL of its own is left out.
SMOKE = Preset(seconds=1, rounds=1, scale=1, clients=(1, 16), tpcb_clients=(4,),
               idle_clients=50, settle=0.2, bulk_rows=6_000, busy_tenants=3, registered=(1, 20),
               touched=5, forgets=0.2, active_tenants=12, smoke=True,
               scenarios=tuple(name for name in Preset.scenarios
                               if name not in ("instructions", "registration")))
