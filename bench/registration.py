#!/usr/bin/env python3
"""Measures registrations through HTTP: one at a time, and a burst beside tenants under load.

    cargo build --profile dist && target/venv/bin/python bench/registration.py [--burst 500]

Starts `pgusher dev` (its PostgreSQL has fsync on) in a directory of its own and stops it again.
Everything runs on this machine: the figures are of pgusher, PostgreSQL, the clients and whatever
else shares its cores. Prints Markdown.
"""

import argparse
import http.client
import itertools
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parent.parent
PGBIN = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), default=pathlib.Path("/usr/bin"))
SERIAL = itertools.count()
PARTS = ("hash", "claim", "clone", "admin", "finish", "tokens")


class World:
    """A `pgusher dev`, from its first line to its end."""

    def __init__(self, program, *settings):
        self.dir = tempfile.mkdtemp(prefix="pgusher-bench-")
        os.chmod(self.dir, 0o755)
        command = [program, "dev", "--json", "--data", f"{self.dir}/data", "--tenants", "4"]
        for flag in ("--listen", "--http", "--ops"):
            command += [flag, "127.0.0.1:0"]
        for setting in settings:
            command += ["--set", setting]
        self.log = open(f"{self.dir}/log", "wb")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log)
        self.ready = json.loads(self.process.stdout.readline())
        host, port = self.ready["http"].split(":")
        self.http = (host, int(port))
        self.registry = psycopg.connect(self.ready["registry"], autocommit=True)

    def spares(self):
        sql = "SELECT count(*) FROM pgusher.warm_databases WHERE state = 'ready'"
        return self.registry.execute(sql).fetchone()[0]

    def wait_for_spares(self, count):
        while self.spares() < count:
            time.sleep(0.1)

    def tenants(self):
        return self.registry.execute('SELECT count(*) FROM public."Tenant"').fetchone()[0]

    def stop(self):
        self.registry.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        subprocess.run(["rm", "-rf", self.dir], check=False)


def register(connection):
    """One registration: status, milliseconds, and the server's own parts of it."""
    body = json.dumps({
        "email": f"bench{next(SERIAL)}-{os.getpid()}@example.org", "password": "correct horse",
        "firstName": "Ada", "lastName": "Lovelace", "churchName": "St. Bench"})
    begun = time.perf_counter()
    connection.request("POST", "/api/auth/register", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    took = (time.perf_counter() - begun) * 1000
    timing = answer.getheader("server-timing", "")
    parts = {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)", timing)}
    return answer.status, took, parts


def one_at_a_time(world, count, every):
    """`count` registrations, one after the other; `every` seconds, or back to back for 0."""
    connection = http.client.HTTPConnection(*world.http)
    results = []
    for _ in range(count):
        begun = time.perf_counter()
        status, took, parts = register(connection)
        assert status == 201, status
        results.append((took, parts))
        if every:
            time.sleep(max(0.0, every - (time.perf_counter() - begun)))
    return results


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, round(share * (len(values) - 1)))]


def row(name, results):
    whole = [took for took, _ in results]
    postgres = [sum(parts.get(p, 0) for p in PARTS[1:]) for _, parts in results]
    means = [statistics.median(parts.get(p, 0) for _, parts in results) for p in PARTS]
    cells = [percentile(whole, 0.5), percentile(whole, 0.95), percentile(postgres, 0.5),
             percentile(postgres, 0.95), *means]
    print(f"| {name} | {len(results)} | " + " | ".join(f"{ms:.1f}" for ms in cells) + " |",
          flush=True)


def by_hand(world, count):
    """What a registration is without a template: CREATE DATABASE, roles, schema, rows."""
    url = world.ready["registry"].rsplit("/", 1)[0]
    files = sorted((ROOT / "config/schema/tenant").glob("*.sql"))
    own = sorted((ROOT / "config/schema/pgusher").glob("*.sql"))
    admin = psycopg.connect(f"{url}/postgres", autocommit=True)
    results = []
    for n in range(count):
        name = f"tenant_byhand{os.getpid()}n{n}"
        begun = time.perf_counter()
        admin.execute(f"CREATE DATABASE {name}")
        made = time.perf_counter()
        roles = "; ".join(f"CREATE ROLE {name}_{r} LOGIN PASSWORD 'x'" for r in "oars")
        admin.execute(roles)
        admin.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; "
                      f"GRANT CONNECT ON DATABASE {name} TO {name}_o, {name}_a, {name}_r, {name}_s")
        granted = time.perf_counter()
        with psycopg.connect(f"{url}/{name}") as inside:
            for file in files:
                inside.execute(file.read_text())
            inside.execute("CREATE SCHEMA pgusher; SET search_path = pgusher")
            for file in own:
                inside.execute(file.read_text())
            inside.execute("SET search_path = public")
            inside.execute("INSERT INTO \"Admin\" (id, email, password, \"firstName\", "
                           "\"lastName\", role) VALUES ('a', 'a', 'a', 'a', 'a', 'PRIMARY')")
        filled = time.perf_counter()
        with world.registry.transaction():
            world.registry.execute(
                "INSERT INTO public.\"Church\" (id, name, email) VALUES (%s, 'c', %s)", (name, name))
        done = time.perf_counter()
        results.append([1000 * (b - a) for a, b in
                        itertools.pairwise((begun, made, granted, filled, done))])
        world.registry.execute('DELETE FROM public."Church" WHERE id = %s', (name,))
    return results


class Load:
    """Tenants at work: one pgbench each through pgusher, its throughput second by second."""

    SCRIPT = ("\\set n random(1, 1000)\nBEGIN;\nUPDATE bench SET v = v + 1 WHERE id = :n;\n"
              "SELECT v FROM bench WHERE id = :n;\nEND;\n")

    def __init__(self, world, clients, rate=0):
        self.seconds = []
        script = pathlib.Path(world.dir) / "load.sql"
        script.write_text(self.SCRIPT)
        self.processes = []
        for tenant in world.ready["tenants"]:
            host, port = world.ready["listen"].split(":")
            key = tenant["apiKey"]
            env = {**os.environ, "PGPASSWORD": key["secret"], "PGSSLMODE": "disable"}
            url = f"postgresql://{key['user']}:{key['secret']}@{host}:{port}/app?sslmode=disable"
            with psycopg.connect(url, autocommit=True) as inside:
                inside.execute("CREATE TABLE IF NOT EXISTS bench (id int PRIMARY KEY, v int)")
                inside.execute("INSERT INTO bench SELECT n, 0 FROM generate_series(1, 1000) n "
                               "ON CONFLICT DO NOTHING")
            command = [PGBIN / "pgbench", "-n", "-c", str(clients), "-T", "3600", "-P", "1",
                       "-M", "prepared", "-f", script, "-h", host, "-p", port, "-U", key["user"],
                       "app"]
            if rate:
                command[1:1] = ["-R", str(rate)]
            process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, text=True)
            threading.Thread(target=self.read, args=(process,), daemon=True).start()
            self.processes.append(process)

    def read(self, process):
        for line in process.stderr:
            found = re.match(r"progress: [\d.]+ s, ([\d.]+) tps", line)
            if found:
                self.seconds.append((time.perf_counter(), float(found[1])))

    def between(self, begun, ended):
        """Transactions a second of all tenants together."""
        inside = [tps for at, tps in self.seconds if begun + 1 < at <= ended]
        return statistics.mean(inside) * len(self.processes) if inside else float("nan")

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)


def burst(world, count, clients):
    """`count` registrations from `clients` clients at once: statuses, milliseconds, seconds."""
    results, lock, left = [], threading.Lock(), itertools.count()

    def client():
        connection = http.client.HTTPConnection(*world.http, timeout=120)
        while next(left) < count:
            one = register(connection)
            with lock:
                results.append(one)

    begun = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, begun, time.perf_counter()


def undisturbed(load):
    begun = time.perf_counter()
    time.sleep(15)
    return load.between(begun, time.perf_counter())


def beside_load(world, count, load_clients, rate, name):
    before = world.tenants()
    load = Load(world, load_clients, rate)
    time.sleep(3)
    calm = [undisturbed(load)]
    results, begun, ended = burst(world, count, 50)
    during = load.between(begun, ended)
    # What PostgreSQL writes back by itself is no registration's: so behind the burst, too.
    calm = statistics.mean([*calm, undisturbed(load)])
    load.stop()
    good = sum(status == 201 for status, _, _ in results)
    whole = [took for _, took, _ in results]
    print(f"| {name} | {good} of {count} | {world.tenants() - before} | {ended - begun:.1f} | "
          f"{count / (ended - begun):.1f} | {percentile(whole, 0.5):.0f} | "
          f"{percentile(whole, 0.95):.0f} | {calm:.0f} | {during:.0f} | "
          f"{100 * (1 - during / calm):.1f} % |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=ROOT / "target/dist/pgusher")
    parser.add_argument("--count", type=int, default=100, help="registrations one at a time")
    parser.add_argument("--burst", type=int, default=500, help="registrations at once; 0: none")
    parser.add_argument("--load", type=int, default=2, help="pgbench clients of each of 4 tenants")
    parser.add_argument("--rate", type=int, default=0, help="transactions a second of each; 0: all")
    parser.add_argument("--only", choices=["single", "burst"])
    asked = parser.parse_args()
    # Whoever ends this ends its world too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n")
    if asked.only != "burst":
        print("| one at a time, ms | n | p50 | p95 | PostgreSQL p50 | p95 | "
              + " | ".join(PARTS) + " |")
        print("|---" * (6 + len(PARTS)) + "|")
        world = World(asked.program, "warm.target=8", "warm.held_max=8")
        try:
            world.wait_for_spares(8)
            row("warm, 2 a second", one_at_a_time(world, asked.count, 0.5))
        finally:
            world.stop()
        world = World(asked.program, f"warm.target={asked.count}", "warm.held_max=4")
        try:
            world.wait_for_spares(asked.count)
            row("warm, back to back", one_at_a_time(world, asked.count, 0))
        finally:
            world.stop()
        world = World(asked.program, "warm.target=0")
        try:
            row("clone of the template", one_at_a_time(world, asked.count // 2, 0))
            results = by_hand(world, asked.count // 4)
        finally:
            world.stop()
        sums = [sum(parts) for parts in results]
        steps = [statistics.median(step) for step in zip(*results)]
        print(f"\nby CREATE DATABASE + schema, without the hash: n {len(sums)}, p50 "
              f"{percentile(sums, 0.5):.1f} ms, p95 {percentile(sums, 0.95):.1f} ms (CREATE DATABASE "
              f"{steps[0]:.1f}, roles and grants {steps[1]:.1f}, connection, schema and admin "
              f"{steps[2]:.1f}, registry {steps[3]:.1f})")
    if asked.only != "single" and asked.burst:
        print(f"\n| {asked.burst} from 50 clients at once | 201 | tenants | s | a second | p50 ms | "
              "p95 ms | tps alone | tps meanwhile | loss |")
        print("|---" * 10 + "|")
        for name, spares in (("all warm", asked.burst), ("50 warm", 50)):
            world = World(asked.program, f"warm.target={spares}", "warm.held_max=8",
                          "pool.server_budget=40", "servers.dev.budget=40")
            try:
                world.wait_for_spares(spares)
                beside_load(world, asked.burst, asked.load, asked.rate, name)
            finally:
                world.stop()
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
