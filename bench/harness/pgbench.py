"""pgbench: run against a target, read back."""

import pathlib
import re
import subprocess
import tempfile
import threading


def run(world, target, seconds, clients, mode="simple", script="select", connect=False,
        sampling=1.0, process=None):
    """One run. Throughput, latencies in ms and, with `process`, what a transaction cost it in CPU,
    all without the first second, in which everybody has only just logged in; and transactions
    in all."""
    with tempfile.TemporaryDirectory(dir=world.home) as logs:
        log = pathlib.Path(logs, "log")
        # A second more than asked for: the first is not counted.
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
    return {**parsed(out), **percentiles(times), **watch.figures()}


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
            else:
                cpu = self.process.cpu() if self.process is not None else ()
                self.seen.append((float(found[1]), float(found[2]), *cpu))

    def join(self):
        super().join()
        return "".join(self.said)

    def figures(self):
        """Transactions a second between the first report and the last, and µs of CPU for each."""
        count = sum(rate * (at - before[0]) for before, (at, rate, *_) in
                    zip(self.seen, self.seen[1:]))
        if count == 0:
            return {}
        (first, _, *before), (last, _, *after) = self.seen[0], self.seen[-1]
        rate = {"tps": count / (last - first)}
        if self.process is None:
            return rate
        user, system = ((now - then) / count * 1e6 for then, now in zip(before, after))
        return {**rate, "cpu": user + system, "user": user}


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
    """Milliseconds of each transaction in pgbench's logs, those of the first second excepted."""
    lines = [[int(field) for field in line.split(" ")[:6]]
             for log in folder.iterdir() for line in log.read_text().splitlines()]
    ended = lambda line: line[4] + line[5] / 1e6
    begin = min(map(ended, lines), default=0) + 1
    return [line[2] / 1000 for line in lines if ended(line) >= begin]


def percentiles(times):
    """p50, p99 and p99.9 of a sorted list, none when there is nothing."""
    if not times:
        return {}
    pick = lambda share: times[min(len(times) - 1, int(len(times) * share))]
    return {"p50": pick(0.5), "p99": pick(0.99), "p999": pick(0.999)}
