"""What the figures were measured on."""

import os
import pathlib
import platform
import subprocess


def described():
    cpu = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)),
            "memory": f"{pages * size / 2**30:.0f} GiB", "kernel": platform.release(),
            "load": f"{os.getloadavg()[0]:.1f}"}


def revision(root):
    """The commit that is measured; with `+` when files differ from it."""
    def git(*arguments):
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True)
        return done.stdout.strip()

    short = git("rev-parse", "--short", "HEAD") or "?"
    return short + ("+" if git("status", "--porcelain", "--", "src") else "")


def version(program):
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    return done.stdout.splitlines()[0].strip() if done.stdout else "?"
