"""pgbench: run against a target, read back."""

import pathlib
import re
import subprocess
import tempfile

# Of how many transactions the latency is written down, at most about this many a second.
SAMPLED_PER_SECOND = 10_000


def run(world, target, seconds, clients, mode="simple", script="select", connect=False,
        sampling=1.0):
    """One run. Throughput as pgbench counts it, latencies in ms, transactions in all."""
    with tempfile.TemporaryDirectory(dir=world.home) as logs:
        log = pathlib.Path(logs, "log")
        command = [world.postgres.bin / "pgbench", "-n", "-T", str(seconds), "-c", str(clients),
                   "-j", str(min(clients, 2)), "-M", mode, "-l", f"--log-prefix={log}"]
        if sampling < 1:
            command.append(f"--sampling-rate={sampling}")
        command += {"select": ["-S"], "tpcb": []}.get(script, ["-f", script])
        command += ["-C"] if connect else []
        done = subprocess.run(command, env=target.environment(), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"pgbench: {done.stderr.strip()[-800:]}")
        times = sorted(latencies(pathlib.Path(logs)))
    return {**parsed(done.stdout), **percentiles(times)}


def start(world, target, seconds, clients, mode="simple"):
    """As `run`, without waiting; hand the child to `finish`."""
    command = [world.postgres.bin / "pgbench", "-n", "-S", "-T", str(seconds), "-c", str(clients),
               "-M", mode]
    return subprocess.Popen(command, env=target.environment(), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(child):
    out, errors = child.communicate()
    if child.returncode != 0:
        raise RuntimeError(f"pgbench: {errors.strip()[-800:]}")
    return parsed(out)


def parsed(text):
    def number(pattern):
        found = re.search(pattern, text)
        if found is None:
            raise RuntimeError(f"pgbench said nothing about {pattern!r}: {text}")
        return float(found[1])

    failed = number(r"number of failed transactions: (\d+)")
    if failed:
        raise RuntimeError(f"pgbench: {failed:.0f} transactions failed")
    # With -C the initial connection is part of every transaction and there is one figure only.
    return {"tps": number(r"tps = ([\d.]+)"),
            "transactions": number(r"number of transactions actually processed: (\d+)")}


def latencies(folder):
    """Milliseconds of each transaction in pgbench's logs."""
    for log in folder.iterdir():
        for line in log.read_text().splitlines():
            yield int(line.split(" ", 3)[2]) / 1000


def percentiles(times):
    """p50, p99 and p99.9 of a sorted list, none when there is nothing."""
    if not times:
        return {}
    pick = lambda share: times[min(len(times) - 1, int(len(times) * share))]
    return {"p50": pick(0.5), "p99": pick(0.99), "p999": pick(0.999)}


def sampling_for(expected_tps):
    """How large a share to write down so that writing it costs little."""
    return min(1.0, SAMPLED_PER_SECOND / max(expected_tps, 1))
