"""Instructions in user space for one transaction, counted by callgrind: a figure that a busy
machine does not change, so that a regression shows. Both proxies run under valgrind, with one
client: nothing is batched, every wake-up is counted."""

import pathlib
import shutil
import struct
import subprocess

from harness import account
from harness.peers import Setup
from harness.rounds import ratio
from harness.section import Section
from harness.wire import READY_IDLE, Client, message, query

SYNC = message(b"S", b"")
SQL = b"SELECT abalance FROM pgbench_accounts WHERE aid = $1"


def run(bench):
    section = Section("instructions", "Instructions for one transaction, user space")
    if shutil.which("valgrind") is None:
        bench.say("instructions: valgrind is not installed, nothing is counted")
        return None
    section.text = (
        "By callgrind, one client, one worker; thousands of them make a µs. Nothing about the "
        "kernel's part, which is most of a transaction and much the same for both.")
    count = 20 if bench.preset.smoke else 500
    found = {case: {} for case in CASES}
    for which in ("pgusher", "pgbouncer"):
        bench.say(f"instructions {which}")
        setup = Setup(wrap=wrapped(bench), pgusher={"runtime.workers": 1})
        with bench.world.peers(setup, names=[which]) as (peer,):
            for case, act in CASES.items():
                if which == "pgbouncer" and case == "prepared" and not bench.pgbouncer_prepares:
                    continue
                found[case][which] = {"count": counted(bench, peer, act, count)}
    rows = [[case, *(found[case].get(name, {}).get("count") for name in ("pgusher", "pgbouncer")),
             ratio(found[case], "count")] for case in CASES]
    section.table(["", "pgusher", "PgBouncer", "ratio"], rows)
    return section


def wrapped(bench):
    out = bench.world.dumps / "callgrind.out.%p"
    return ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--trace-children=no",
            "--separate-threads=no", f"--callgrind-out-file={out}"]


def counted(bench, peer, act, count):
    """Instructions of one `act`, the mean of `count`."""
    state = act(peer)
    next(state)
    for _ in range(10):
        next(state)
    control(peer, "-i", "on")
    control(peer, "-z")
    for _ in range(count):
        next(state)
    control(peer, "-d")
    control(peer, "-i", "off")
    state.close()
    dumps = bench.world.dumps.glob(f"callgrind.out.{peer.process.pid}.*")
    newest = max(dumps, key=lambda path: int(path.suffix[1:]))
    if bench.options.keep_dumps:
        kept = pathlib.Path(bench.options.keep_dumps)
        kept.mkdir(exist_ok=True)
        shutil.copy(newest, kept / f"{peer.name}.{act.__name__}")
    for line in newest.read_text(errors="replace").splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1]) / count
    raise RuntimeError(f"{newest} has no total")


def control(peer, *what):
    # It reaches processes of its own account only.
    who = peer.process.account
    done = subprocess.run(["callgrind_control", *what, str(peer.process.pid)], timeout=60,
                          capture_output=True, text=True, cwd="/", **account.options(who))
    if done.returncode != 0 or "Error" in done.stdout:
        raise RuntimeError(f"callgrind_control: {done.stdout}{done.stderr}")


def until_ready(client):
    end = b""
    while not end.endswith(READY_IDLE):
        piece = client.socket.recv(1 << 16)
        if not piece:
            raise EOFError("the server closed the connection")
        end = (end + piece)[-6:]


def one_client(*packets):
    """A session that sends `packets` (the first only once) for each step."""
    def act(peer):
        client = Client(peer.target("main"))
        client.socket.sendall(packets[0])
        until_ready(client)
        try:
            while True:
                yield
                client.socket.sendall(packets[-1])
                until_ready(client)
        finally:
            client.close()

    return act


def bound(statement):
    """Parse is not part of it: Bind, Describe, Execute, Sync."""
    values = struct.pack("!hhi", 0, 1, 1) + b"7" + struct.pack("!h", 0)
    return (message(b"B", b"\0" + statement + b"\0" + values) + message(b"D", b"P\0")
            + message(b"E", b"\0" + struct.pack("!i", 0)) + SYNC)


def parse(statement):
    return message(b"P", statement + b"\0" + SQL + b"\0" + struct.pack("!h", 0))


def transaction(peer):
    """BEGIN, five statements, COMMIT, each on its own."""
    client = Client(peer.target("main"))
    one = query("SELECT abalance FROM pgbench_accounts WHERE aid = 7")
    try:
        while True:
            yield
            for packet in (query("BEGIN"), *[one] * 5, query("COMMIT")):
                client.socket.sendall(packet)
                while client.read()[0] != b"Z":
                    pass
    finally:
        client.close()


def login(peer):
    """Connect, log in, one query, goodbye."""
    while True:
        yield
        client = Client(peer.target("main"))
        client.ask("SELECT abalance FROM pgbench_accounts WHERE aid = 7")
        client.close()


def named(name, act):
    act.__name__ = name
    return act


SIMPLE = query("SELECT abalance FROM pgbench_accounts WHERE aid = 7")
CASES = {
    "simple": named("simple", one_client(SIMPLE)),
    "extended": named("extended", one_client(parse(b"") + bound(b""))),
    "prepared": named("prepared", one_client(parse(b"s") + SYNC, bound(b"s"))),
    "seven statements": transaction,
    "connect and query": login,
}
