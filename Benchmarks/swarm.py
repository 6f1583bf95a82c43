"""swarm.py: the figures of the swarm, measured on this machine, beside their goals and beside redis, nats, etcd, serf.

Everything goes through the release binary, over loopback, encrypted; discovery through the network lab where that can
run. A peer that is not there is named as skipped. Nothing is refused for the machine being busy: the load is printed.
"""

import argparse
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

import peers  # noqa: E402
from daemon import recall, scripted_engine  # noqa: E402
from figures import machine, resident, sync_cost  # noqa: E402
from lab import Lab, why_not  # noqa: E402
from swarm import Events, Host, Swarm, wait_for  # noqa: E402
from swarm_load import append_part, chat_bytes  # noqa: E402
from wire import Connection  # noqa: E402

INSTANT = scripted_engine("instant", "echo.py", aliases=["phi3"])
INSTANT["command"] += ["--answer", "ok"]


class Table:
    """Figure, ours, goal, and the same of a peer in the same run."""

    def __init__(self) -> None:
        self.rows: list[dict] = []

    def add(
        self, figure: str, measured: float, unit: str, goal: float, at_least: bool = False,
        peer: tuple[str, float] | None = None,
    ) -> None:
        met = measured >= goal if at_least else measured <= goal
        row = {
            "figure": figure, "measured": round(measured, 3), "unit": unit, "met": met,
            "goal": f"{'>=' if at_least else '<='} {goal:g}",
        }
        if peer:
            row |= {"peer": peer[0], "peer_measured": round(peer[1], 3), "ratio": round(measured / peer[1], 2)}
        self.rows.append(row)
        beside = f"{peer[0]} {peer[1]:,.3f} (ours x{row['ratio']:g})" if peer else ""
        print(f"{figure:<62} {measured:>12,.3f} {unit:<10} goal {row['goal']:<10} {'met' if met else 'MISSED':<6} "
              f"{beside}", flush=True)

    def note(self, text: str) -> None:
        print(f"    {text}", flush=True)


def share(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def percentiles(values: list[float], unit: str = "ms") -> str:
    return (f"p50 {share(values, 0.5):.3f}  p90 {share(values, 0.9):.3f}  p95 {share(values, 0.95):.3f}  "
            f"p99 {share(values, 0.99):.3f}  max {max(values):.3f} {unit}, {len(values)} samples")


def beside(name: str, program: str, table: Table, measure: Callable[[], float]) -> tuple[str, float] | None:
    """The peer's figure; None, with a note, where the peer is not to be had."""
    if not peers.program(program):
        table.note(f"{peers.PROGRAMS[program]} is not here (scripts/get-peers .tools/peers): skipped")
        return None
    return name, measure()


# Many hosts


def broadcasts(table: Table, binary: Path, home: Path, options: argparse.Namespace) -> None:
    """The shipped overlay in the simulator: hops grow with the logarithm of the hosts."""
    simulator = binary.parent / "swarm-simulator"
    if not simulator.exists():
        table.note("swarm-simulator is not built (make bench-swarm builds it): skipped")
        return
    sizes = "100,250,500,1000"
    lines = subprocess.run(
        [str(simulator), "--broadcasts", sizes], capture_output=True, text=True, timeout=600, check=True).stdout
    hosts: dict[int, dict[str, float]] = {}
    for line in lines.splitlines():
        table.note(line)
        words = line.replace(",", " ").split()
        assert "reached all" in line, line
        hosts[int(words[1])] = {
            name: float(words[words.index(name) + 1]) for name in ("hops_mean", "hops_last", "last_ms", "payloads_per_host")}
    thousand = hosts[1000]
    table.add("1,000 simulated hosts: hops to the last", thousand["hops_last"], "hops", 12)
    table.add("1,000 simulated hosts, links of 0.2-2 ms: until the last has it", thousand["last_ms"], "ms", 20)
    table.add("1,000 simulated hosts: payloads sent for each host", thousand["payloads_per_host"], "", 1.4)
    growth = thousand["hops_mean"] / hosts[100]["hops_mean"]
    table.add("ten times as many hosts: hops x (log 1000 / log 100 = 1.5)", growth, "times", 2)


# Discovery


def discovery(table: Table, binary: Path, home: Path, options: argparse.Namespace) -> None:
    serf = beside("serf 0.9 join p95", "serf", table, lambda: share(peers.serf_join(max(5, options.starts // 4)), 0.95))
    for way in ("mdns multicast", "multicast"):
        if reason := why_not("mdns" in way):
            table.note(f"discovery by {way} in the lab: skipped, {reason}")
            continue
        lab = Lab(binary, home / way.replace(" ", "-"), 2, found_by=way)
        try:
            taken = starts(lab, options.starts)
        finally:
            lab.close()
        table.note(f"{way}: {percentiles(taken, 's')}")
        table.add(f"discovery, {way}, exec to seen by both, p95", share(taken, 0.95), "s", 1.5, peer=serf)
        table.add(f"discovery, {way}, the slowest", max(taken), "s", 5)


def starts(group: Swarm, count: int) -> list[float]:
    """Seconds from the start of the second until both see one another; it is killed each time, and comes anew."""
    first, second = group.hosts
    first.start()
    taken = []
    for number in range(count):
        # A new host each time: nobody knows its address from before.
        for name in ("state", "mcp_contexts.db", "mcp_contexts.db-wal", "mcp_contexts.db-shm"):
            subprocess.run(["rm", "-rf", str(second.home / name)], check=True)
        (second.home / "state").mkdir()
        begin = time.perf_counter()
        second.start(until=None)
        second.wait_until("/livez")
        identity = second.id
        wait_for(lambda: f"found: {first.peers()}", lambda: second.alive() >= 1 and any(
            row["id"] == identity and row["state"] == "alive" for row in first.peers()), 15)
        taken.append(time.perf_counter() - begin)
        second.kill9()
        time.sleep(random.uniform(0, 0.3))
    return taken


# Visibility


class Reader:
    """Reads one conversation of a host again and again over one connection."""

    def __init__(self, host: Host):
        self.connection = Connection(host.port)

    def turns(self, conversation: str) -> int:
        self.connection.send(f"GET /v1/mcp/contexts/{conversation} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = self.connection.answer()
        return answer.body.count(b'"role"') if answer.status == 200 else 0


def visible(pair: Swarm, samples: int) -> tuple[list[float], list[float], int]:
    """Milliseconds from the answer on A to the first read on B that shows it; the same for a plain read, whose cost is
    in it; and how often the very first read showed it."""
    a, b = pair.hosts[:2]
    writer, reader = Connection(a.port), Reader(b)
    taken, plain, at_once = [], [], 0
    for number in range(samples):
        # Conversations of ten turns, so that their reading costs the same.
        name = f"v{number // 10}"
        expected = 2 * (number % 10 + 1)
        writer.send(chat_bytes(model="phi3", conversation=name, messages=[{"role": "user", "content": "x" * 200}]))
        answer = writer.answer()
        assert answer.status == 200, answer
        begin = time.perf_counter()
        first = True
        while reader.turns(name) < expected:
            first = False
            assert time.perf_counter() - begin < 10, "not visible within 10 s"
        taken.append((time.perf_counter() - begin) * 1000)
        at_once += first
        begin = time.perf_counter()
        reader.turns(name)
        plain.append((time.perf_counter() - begin) * 1000)
        time.sleep(0.002)
    return taken, plain, at_once


def visibility(table: Table, binary: Path, home: Path, options: argparse.Namespace) -> None:
    models = [INSTANT, recall(aliases=["busy"])]
    pair = Swarm(binary, home, 3, models=models)
    try:
        pair.start()
        visible(pair, 50)
        taken, plain, at_once = visible(pair, options.samples)
        table.note(f"answered on A to read on B:   {percentiles(taken)}")
        table.note(f"a read that waits for nothing: {percentiles(plain)}")
        table.note(f"{at_once} of {len(taken)} were there at the first read")
        redis = beside("redis 7 SET->GET p50", "redis-server", table, lambda: share(
            peers.redis_visible(options.samples), 0.5))
        table.add("answered on A -> readable on B, idle, p50 (a read's cost is in it)", share(taken, 0.5), "ms", 1,
                  peer=redis)
        nats = beside("nats 2.9 pub->sub p99", "nats-server", table, lambda: share(
            peers.nats_visible(options.samples), 0.99))
        table.add("answered on A -> readable on B, idle, p99", share(taken, 0.99), "ms", 10, peer=nats)
        with Generating(pair.hosts):
            time.sleep(1)
            taken, plain, at_once = visible(pair, options.samples)
            etcd = beside("etcd 3.4 put->watch p99, same load", "etcd", table, lambda: share(
                peers.etcd_visible(options.samples)[0], 0.99))
        table.note(f"both cores generating:         {percentiles(taken)}")
        table.note(f"a read that waits for nothing: {percentiles(plain)}")
        table.note(f"{at_once} of {len(taken)} were there at the first read")
        table.add("answered on A -> readable on B, both cores generating, p99", share(taken, 0.99), "ms", 25, peer=etcd)
        latency(table, pair)
    finally:
        pair.close()


def latency(table: Table, pair: Swarm) -> None:
    """What the hosts themselves counted: from the origin's clock to applied, all turns of this run."""
    count = sum(host.count("igris_sync_latency_seconds_count") for host in pair.hosts)
    if count:
        total = sum(host.count("igris_sync_latency_seconds_sum") for host in pair.hosts)
        table.note(f"igris_sync_latency_seconds: mean {total / count * 1000:.2f} ms over {count:.0f} operations")


class Generating:
    """The built-in model writes on both cores for as long as this lasts."""

    def __init__(self, hosts: list[Host], streams: int = 2):
        self.stop = threading.Event()
        self.answers = 0
        self.threads = [threading.Thread(target=self._generate, args=(hosts[n % len(hosts)],)) for n in range(streams)]

    def _generate(self, host: Host) -> None:
        body = {"model": "busy", "messages": [{"role": "user", "content": "word " * 350}], "store": False,
                "max_tokens": 200}
        while not self.stop.is_set():
            try:
                self.answers += host.fetch("/v1/chat/completions", "POST", body, timeout=60).status == 200
            except OSError:
                time.sleep(0.1)

    def __enter__(self) -> "Generating":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


# Bytes on the wire


def sent(host: Host) -> float:
    """Bytes that a host put on its links."""
    return sum(link["bytes_sent"] for link in host.fetch("/v1/swarm/topology").json["links"]
               if link["from"] == host.fetch("/v1/swarm/status").json["id"])


def wire(table: Table, binary: Path, home: Path, options: argparse.Namespace) -> None:
    pair = Swarm(binary, home, 2, models=[INSTANT])
    try:
        pair.start()
        a, b = pair.hosts
        a.hear("warm", "w")
        time.sleep(3)
        both = lambda: sent(a) + sent(b)  # noqa: E731
        before, begin = both(), time.perf_counter()
        time.sleep(options.idle)
        idle = (both() - before) / (time.perf_counter() - begin)
        table.add("idle link, both directions", idle, "bytes/s", 100)
        text = lambda: "".join(random.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=200))  # noqa: E731

        def overhead(act: Callable[[], int], fresh: bool = False) -> float:
            """Bytes beyond the content, of an operation; those of an idle link are taken off. A fresh link counts from
            0, its greetings included."""
            operations, before, begin = a.status()["operations"], 0 if fresh else both(), time.perf_counter()
            content = act()
            pair.equal()
            time.sleep(0.2)
            spent = both() - before - idle * (time.perf_counter() - begin)
            return (spent - content) / (a.status()["operations"] - operations)

        def lone() -> int:
            for _ in range(20):
                a.hear(text(), "w")
                time.sleep(0.1)
            return 20 * (200 + len("ok"))

        def batches() -> int:
            append_part(a.port, "b", 2000, 64, per_conversation=50, text=text())
            return 2000 * (200 + len("ok"))

        table.add("wire bytes beyond the content, lone turns, an operation", overhead(lone), "bytes", 120)
        table.note(f"64 clients at once, an operation: {overhead(batches):.1f} bytes; a batch forms only while the "
                   "socket is busy")

        def behind() -> int:
            """What a host that was away is sent: batches as large as they may be."""
            b.stop()
            append_part(a.port, "c", 600, 32, per_conversation=50, text=text())
            b.start()
            pair.together(within=10)
            return 600 * (200 + len("ok"))

        table.add("wire bytes beyond the content, in batches, an operation", overhead(behind, fresh=True), "bytes", 50)
        for host in (a, b):
            table.note(f"igris_sync_bytes_total of {host.home.name}: {host.count('igris_sync_bytes_total'):,.0f}")
    finally:
        pair.close()


# Death


def death(table: Table, binary: Path, home: Path, options: argparse.Namespace) -> None:
    ten = Swarm(binary, home, 10, models=[INSTANT])
    try:
        ten.start(within=30)
        killed = [each for _ in range(options.deaths) for each in deaths(ten, kill=True)]
        frozen = [each for _ in range(max(1, options.deaths // 2)) for each in deaths(ten, kill=False)]
        table.note(f"killed:  {percentiles(killed, 's')}")
        table.note(f"frozen:  {percentiles(frozen, 's')}")
        serf = beside("serf 0.9, 10 agents, kill -9", "serf", table, lambda: serf_death(signal.SIGKILL))
        table.add("death of a process known to all of 10 hosts, p99", share(killed, 0.99), "s", 1, peer=serf)
        serf = beside("serf 0.9, 10 agents, SIGSTOP", "serf", table, lambda: serf_death(signal.SIGSTOP))
        table.add("a frozen host known to all of 10 hosts, p99", share(frozen, 0.99), "s", 4, peer=serf)
        false_deaths(table, ten, options.full_load)
    finally:
        ten.close()


def deaths(ten: Swarm, kill: bool) -> list[float]:
    """Seconds until each of the others has said so, one random victim."""
    victim = random.choice(ten.hosts)
    identity = victim.id
    others = [host for host in ten.hosts if host is not victim]
    listeners = [Events(host) for host in others]
    try:
        begin = time.monotonic()
        victim.kill9() if kill else victim.freeze()
        taken = []
        for listener, host in zip(listeners, others):
            moment = wait_for(
                lambda: f"{host.home.name} says so: {host.peers()}",
                lambda: next((at for at, name, data in listener.seen
                              if name == "node_dead" and data.get("node") == identity), None), 30)
            taken.append(moment - begin)
    finally:
        for listener in listeners:
            listener.close()
    victim.start() if kill else victim.thaw()
    ten.together(within=30)
    return taken


def serf_death(number: int) -> float:
    with peers.processes() as group:
        return peers.Serf(group, 10).noticed(9, number, list(range(9)))


def false_deaths(table: Table, ten: Swarm, seconds: float) -> None:
    """All ten alive, and more work than the cores can do."""
    listeners = [Events(host) for host in ten.hosts]
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=lambda: os.nice(5))
            for _ in range(2 * (os.cpu_count() or 2))]
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            append_part(random.choice(ten.hosts).port, f"load{time.monotonic()}", 200, 8)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    dead = [data for listener in listeners for _, name, data in listener.seen if name == "node_dead"]
    suspects = sum(name == "node_suspect" for listener in listeners for _, name, _ in listener.seen)
    for listener in listeners:
        listener.close()
    table.note(f"{seconds:.0f} s of turns with {len(hogs)} busy loops beside ten hosts: {suspects} suspicions")
    table.add("false deaths under full load", len(dead), "deaths", 0)


# Catching up, memory


def joiner(table: Table, binary: Path, home: Path, options: argparse.Namespace) -> None:
    pair = Swarm(binary, home, 2, models=[INSTANT])
    try:
        pair.start()
        a, b = pair.hosts
        # A turn is two operations, and a conversation's first one is a third.
        begin = time.perf_counter()
        while (missing := options.operations - a.status()["operations"]) > 0:
            append_part(a.port, f"fill{missing}", max(missing // 2 - 100, 100), 64, per_conversation=50)
        operations = a.status()["operations"]
        rate = operations / (time.perf_counter() - begin)
        table.note(f"{operations:,} operations through HTTP, a Python client and engine: {rate:,.0f} operations/s")
        pair.equal(within=60)
        late = pair.host("late")
        begin = time.perf_counter()
        late.start(until=None)
        late.wait_until("/livez")
        wait_for(lambda: f"caught up: {late.status()} {a.status()}", lambda: late.digest() == a.digest(), 180)
        took = time.perf_counter() - begin
        redis = beside(f"redis 7, {operations:,} keys", "redis-server", table, lambda: peers.redis_late_replica(
            operations // 1000 * 1000))
        table.add(f"late joiner, {operations:,} operations, exec to equal", took, "s", 20, peer=redis)
        # Operation by operation: a host that was away for less than a snapshot is worth.
        b.stop()
        append_part(a.port, "more", options.operations // 20, 64, per_conversation=50)
        missing = a.status()["operations"] - operations
        b.start(until=None)
        b.wait_until("/livez")
        begin = time.perf_counter()
        wait_for(lambda: f"caught up: {b.status()} {a.status()}", lambda: b.digest() == a.digest(), 120)
        took_more = time.perf_counter() - begin
        table.note(f"{missing:,} operations behind: {took_more:.2f} s after ready")
        table.add("operations ingested a second, late joiner", operations / took, "op/s", 10_000, at_least=True)
    finally:
        pair.close()


def memory(table: Table, binary: Path, home: Path, options: argparse.Namespace) -> None:
    eleven = Swarm(binary, home, 11, models=[INSTANT])
    try:
        eleven.start(within=30)
        for host in eleven.hosts[:5]:
            append_part(host.port, f"m{host.port}", 1000, 16, per_conversation=10)
        eleven.equal(within=60)
        time.sleep(2)
        sizes = [resident(host.pid) for host in eleven.hosts]
        table.note("RSS of each: " + "  ".join(f"{size:.0f}" for size in sorted(sizes)))
        table.add("RSS with 10 peers and 10,000 messages, the largest", max(sizes) * 1.048576, "MB", 60)
    finally:
        eleven.close()


PARTS = {
    "broadcasts": broadcasts,
    "discovery": discovery, "visibility": visibility, "wire": wire, "death": death, "joiner": joiner, "memory": memory,
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binary", type=Path, default=ROOT / ".build/release/igris-runtime")
    options.add_argument("--starts", type=int, default=20, help="starts of the discovery figure, each way")
    options.add_argument("--samples", type=int, default=500, help="turns of the visibility figures")
    options.add_argument("--idle", type=float, default=20, help="seconds that an idle link is watched")
    options.add_argument("--deaths", type=int, default=6, help="kills among ten hosts")
    options.add_argument("--full-load", type=float, default=60, help="seconds of full load (the goal is for 600)")
    options.add_argument("--operations", type=int, default=100_000, help="what the late joiner is behind")
    options.add_argument("--json", type=Path, help="write the figures to this file too")
    options.add_argument("--only", nargs="*", default=[], help=", ".join(PARTS))
    options = options.parse_args()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    print(f"{date}, commit {commit or 'unknown'}, {machine()}")
    table = Table()
    with tempfile.TemporaryDirectory(prefix="igris-bench-") as folder:
        print(f"load {os.getloadavg()[0]:.1f}; fdatasync here: {sync_cost(Path(folder))}")
        for name, part in PARTS.items():
            if options.only and name not in options.only:
                continue
            try:
                part(table, options.binary.resolve(), Path(folder) / name, options)
            except Exception as error:
                # The other figures are worth having.
                table.rows.append({"figure": name, "met": False, "error": str(error)})
                print(f"{name}: BROKE OFF: {type(error).__name__} {str(error)[:600]}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    if options.json:
        options.json.write_text(json.dumps(
            {"date": date, "commit": commit, "machine": machine(), "figures": table.rows}, indent=2) + "\n")
    return 0 if all(row["met"] for row in table.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
