"""A child process: started, watched by the kernel's own figures, stopped."""

import os
import pathlib
import signal
import socket
import subprocess
import time

from . import account

TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A server program and the figures the kernel keeps of it."""

    def __init__(self, name, command, log, who=None, **options):
        self.name, self.account = name, who
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(
                [str(part) for part in command], stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, **account.options(who), **options)

    @property
    def pid(self):
        return self.child.pid

    def await_port(self, port, patience=30):
        """Waits until something listens; says what the log says when nothing does."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not come up: {self.tail()}")

    def tail(self):
        return self.log.read_text(errors="replace")[-1500:]

    def cpu(self):
        """Seconds of CPU so far: (user, system)."""
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(stat[11]) / TICKS, int(stat[12]) / TICKS

    def memory(self):
        """Resident and proportional memory and the highest resident so far, in KiB."""
        figures = {}
        for name in ("status", "smaps_rollup"):
            for line in pathlib.Path(f"/proc/{self.pid}/{name}").read_text().splitlines():
                key, _, rest = line.partition(":")
                if key in ("VmRSS", "VmHWM", "Pss"):
                    figures[key] = int(rest.split()[0])
        return {"rss": figures["VmRSS"], "pss": figures["Pss"], "peak": figures["VmHWM"]}

    def forget_peak(self):
        """Starts the highest resident memory anew."""
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def threads(self):
        return len(list(pathlib.Path(f"/proc/{self.pid}/task").iterdir()))

    def is_alive(self):
        return self.child.poll() is None

    def stop(self, how=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(how)
            try:
                self.child.wait(15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


def free_port():
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
