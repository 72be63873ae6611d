"""pgbench: run against a target, read back."""

import pathlib
import re
import subprocess
import tempfile
import threading


def run(world, target, seconds, clients, mode="simple", script="select", connect=False,
        sampling=1.0, process=None):
    """One run. Throughput as pgbench counts it, latencies in ms, transactions in all; with
    `process`, what a transaction cost it in CPU once everybody was logged in."""
    with tempfile.TemporaryDirectory(dir=world.home) as logs:
        log = pathlib.Path(logs, "log")
        # A second more than asked for: what happens before the first report is not counted.
        command = [world.postgres.bin / "pgbench", "-n", "-T", str(seconds + 1), "-P", "1",
                   "-c", str(clients), "-j", str(min(clients, 2)), "-M", mode, "-l",
                   f"--log-prefix={log}"]
        if sampling < 1:
            command.append(f"--sampling-rate={sampling}")
        command += {"select": ["-S"], "tpcb": []}.get(script, ["-f", script])
        command += ["-C"] if connect else []
        child = subprocess.Popen(command, env=target.environment(), text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        watch = Watch(child.stderr, process)
        out = child.stdout.read()
        errors = watch.join()
        if child.wait() != 0:
            raise RuntimeError(f"pgbench: {errors.strip()[-800:]}")
        times = sorted(latencies(pathlib.Path(logs)))
    return {**parsed(out), **percentiles(times), **watch.costs()}


class Watch(threading.Thread):
    """Reads pgbench's progress and the process's clock with every line of it."""

    LINE = re.compile(r"progress: ([\d.]+) s, ([\d.]+) tps")

    def __init__(self, lines, process):
        super().__init__(daemon=True)
        self.lines, self.process, self.seen, self.said = lines, process, [], []
        self.start()

    def run(self):
        for line in self.lines:
            found = self.LINE.search(line)
            if found is None:
                self.said.append(line)
            elif self.process is not None:
                self.seen.append((float(found[1]), float(found[2]), *self.process.cpu()))

    def join(self):
        super().join()
        return "".join(self.said)

    def costs(self):
        """µs of CPU for a transaction between the first report and the last."""
        count = sum(rate * (at - before[0]) for before, (at, rate, *_) in
                    zip(self.seen, self.seen[1:]))
        if count == 0:
            return {}
        user = (self.seen[-1][2] - self.seen[0][2]) / count * 1e6
        system = (self.seen[-1][3] - self.seen[0][3]) / count * 1e6
        return {"cpu": user + system, "user": user}


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
