"""figures.py: the figures of the first issue, measured on this machine, beside their goals.

Everything goes through the release binary. Overheads are differences between two measurements of the same run,
taken in turns: the same question asked over HTTP, and asked of a bare engine over pipes.
"""

import argparse
import datetime
import json
import os
import platform
import random
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from daemon import Daemon, recall, scripted_engine  # noqa: E402
from wire import Connection  # noqa: E402

# At the same time: what waits for the disk shares one commit.
CLIENTS = 128
MIB = 1024 * 1024
TEXT = "x" * 200
INSTANT = scripted_engine("instant", "echo.py")
INSTANT["command"] += ["--answer", TEXT]
QUESTION = [{"role": "user", "content": "Remember: my name is Alice"}]


class Table:
    def __init__(self) -> None:
        self.rows: list[dict] = []

    def add(self, figure: str, measured: float, unit: str, goal: float, at_least: bool = False) -> None:
        """One figure; the ratio is measured / goal, and the verdict is what counts."""
        met = measured >= goal if at_least else measured <= goal
        self.rows.append({
            "figure": figure, "measured": round(measured, 3), "unit": unit,
            "goal": f"{'>=' if at_least else '<='} {goal:g}", "ratio": round(measured / goal, 2), "met": met,
        })
        print(self.line(self.rows[-1]), flush=True)

    def note(self, text: str) -> None:
        print(f"    {text}", flush=True)

    @staticmethod
    def line(row: dict) -> str:
        measured = f"{row['measured']:,.3f}".rstrip("0").rstrip(".")
        return (f"{row['figure']:<58} {measured:>12} {row['unit']:<11} goal {row['goal']:<9} "
                f"x{row['ratio']:<6} {'met' if row['met'] else 'MISSED'}")


# Clients


def chat_bytes(**fields) -> bytes:
    body = json.dumps(fields).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ask(connection: Connection, request: bytes) -> None:
    connection.send(request)
    answer = connection.answer()
    assert answer.status == 200, answer


class BareEngine:
    """The engine's child as the daemon starts it, spoken to over pipes."""

    def __init__(self, binary: Path):
        self.process = subprocess.Popen(
            [binary, "engine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ready = self.event()
        assert ready["event"] == "ready", ready
        self.count = 0

    def event(self) -> dict:
        return json.loads(self.process.stdout.readline())

    def ask(self, **fields) -> int:
        """One whole answer; how many pieces of text it had."""
        self.count += 1
        request = {"op": "generate", "id": str(self.count), "temperature": 0, **fields}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        pieces = 0
        while (event := self.event())["event"] != "done":
            assert event["event"] == "text", event
            pieces += 1
        return pieces

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)


def in_turns(rounds: int, **measures: Callable[[], object]) -> dict[str, list[float]]:
    """Milliseconds of each measure, one of each in every round, in an order that changes."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    order = list(measures.items())
    for number in range(rounds + 20):
        random.shuffle(order)
        for name, measure in order:
            begin = time.perf_counter()
            measure()
            if number >= 20:
                taken[name].append((time.perf_counter() - begin) * 1000)
    return taken


def percentiles(values: list[float]) -> str:
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]  # noqa: E731
    return f"p50 {at(0.5):.3f}  p90 {at(0.9):.3f}  p99 {at(0.99):.3f}  max {ordered[-1]:.3f} ms"


# Figures


def size(table: Table, binary: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "stripped"
        subprocess.run(["strip", "-o", copy, binary], check=True)
        table.add("release binary, stripped", copy.stat().st_size / 1e6, "MB", 40)


def resident(pid: int) -> float:
    """MiB of memory of one process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no VmRSS for {pid}")


def memory(table: Table, binary: Path, home: Path) -> None:
    one = Daemon(binary, home, {"models": [recall()]}, [], {}).start()
    try:
        one.ask("Hello", store=False)
        time.sleep(2)
        table.add("idle memory of the daemon (RSS)", resident(one.pid), "MiB", 40)
        [engine] = one.children()
        table.add("idle memory of the built-in engine's child (RSS)", resident(engine), "MiB", 30)
    finally:
        one.close()


def overhead(table: Table, binary: Path, home: Path, rounds: int) -> None:
    one = Daemon(binary, home, {"models": [recall()]}, [], {}).start()
    bare = BareEngine(binary)
    common = {"messages": QUESTION, "max_tokens": 64}
    plain = chat_bytes(model="phi3", store=False, temperature=0, **common)
    stream = chat_bytes(model="phi3", store=False, temperature=0, stream=True, **common)
    try:
        with Connection(one.port) as connection:
            tokens = bare.ask(**common)
            taken = in_turns(
                rounds, direct=lambda: bare.ask(**common), plain=lambda: ask(connection, plain),
                streamed=lambda: ask(connection, stream))
        middle = {name: statistics.median(values) for name, values in taken.items()}
        for name, values in taken.items():
            table.note(f"{name:<9} {percentiles(values)}")
        added = statistics.median(plain - direct for plain, direct in zip(taken["plain"], taken["direct"]))
        per_token = statistics.median(
            streamed - direct for streamed, direct in zip(taken["streamed"], taken["direct"])) / tokens
        table.add("gateway overhead, not streamed, p50", added, "ms", 1)
        table.add(f"gateway overhead per streamed token ({tokens} tokens), p50", per_token, "ms", 0.5)
        plain_ratio, streamed_ratio = (middle[name] / middle["direct"] for name in ("plain", "streamed"))
        table.note(f"the whole answer through the daemon takes x{plain_ratio:.2f} of the time without it, "
                   f"x{streamed_ratio:.2f} streamed")
    finally:
        bare.close()
        one.close()


def append_part(port: int, prefix: str, count: int, clients: int, per_conversation: int = 5) -> None:
    """Sends `count` requests over `clients` connections, one thread: it must not be what is measured."""
    selector = selectors.DefaultSelector()
    sent = 0

    def send(connection: socket.socket, client: int, number: int) -> None:
        connection.sendall(chat_bytes(
            model="instant", conversation=f"{prefix}-{client}-{number // per_conversation}",
            messages=[{"role": "user", "content": TEXT}]))

    for client in range(clients):
        connection = socket.create_connection(("127.0.0.1", port))
        send(connection, client, 0)
        sent += 1
        selector.register(connection, selectors.EVENT_READ, [client, 0, b""])
    running = clients
    while running:
        for key, _ in selector.select():
            state = key.data
            state[2] += key.fileobj.recv(65536)
            head, separator, body = state[2].partition(b"\r\n\r\n")
            if not separator or len(body) < int(re.search(rb"content-length: *(\d+)", head, re.I)[1]):
                continue
            assert head.startswith(b"HTTP/1.1 200"), head
            if sent == count:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                running -= 1
                continue
            state[1:] = [state[1] + 1, b""]
            send(key.fileobj, state[0], state[1])
            sent += 1


def store(table: Table, program: Path, home: Path) -> None:
    """The shipped writer over the shipped store, without HTTP: what group commit sustains."""
    home.mkdir()
    done = subprocess.run([program, home, "40000", "1000", "128"], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    table.note(f"{report['messages']:,} messages of 200 bytes, {report['writers']} writers, without HTTP")
    table.add("messages a second, on disk", report["messages_per_second"], "messages/s", 5000, at_least=True)
    table.add("disk per message of 200 bytes", report["bytes_per_message"], "bytes", 400)


def append(table: Table, binary: Path, home: Path, requests: int) -> None:
    one = Daemon(binary, home, {"models": [INSTANT]}, [], {}).start()
    try:
        append_part(one.port, "warm", 200, 8)
        one.stop()
        before = disk(one)
        one.start()
        begin = time.perf_counter()
        append_part(one.port, "load", requests, CLIENTS)
        seconds = time.perf_counter() - begin
        messages = requests * 2
        one.stop()
        table.note(f"messages of 200 bytes, question and answer, {CLIENTS} clients, through HTTP and an instant engine; "
                   "clients and engine are Python on the same cores")
        table.add("acknowledged messages a second, through HTTP", messages / seconds, "messages/s", 5000, at_least=True)
        table.add("disk per message of 200 bytes, conversations of 10", (disk(one) - before) / messages, "bytes", 400)
    finally:
        one.close()


def disk(one: Daemon) -> int:
    return sum(path.stat().st_size for path in one.database.parent.glob(one.database.name + "*"))


def growth(table: Table, binary: Path, home: Path, rounds: int) -> None:
    """Three daemons with so many conversations, asked in turns: what else the machine does hits all alike."""
    levels = (0, 5_000, 20_000)
    daemons = {level: Daemon(binary, home / str(level), {"models": [INSTANT]}, [], {}).start() for level in levels}
    try:
        append_part(daemons[5_000].port, "fill", 5_000, 32, per_conversation=1)
        largest = daemons[20_000]
        append_part(largest.port, "fill", 10_000, 32, per_conversation=1)
        table.add("start to the first 200, 10,000 conversations, median of 5", start(largest, "/readyz"), "ms", 200)
        table.note(f"the same until /livez: {start(largest, '/livez'):.1f} ms")
        largest.stop()
        largest.start()
        append_part(largest.port, "more", 10_000, 32, per_conversation=1)
        numbers = iter(range(10**6))
        connections = {level: Connection(one.port) for level, one in daemons.items()}

        def request(level: int) -> Callable[[], None]:
            return lambda: ask(connections[level], chat_bytes(
                model="instant", conversation=f"probe-{next(numbers)}", messages=[{"role": "user", "content": TEXT}]))

        taken = in_turns(rounds, **{str(level): request(level) for level in levels})
        for level in levels:
            table.note(f"a request in a new conversation, {level:>6,} stored: {percentiles(taken[str(level)])}")
        ratio = statistics.median(taken["20000"]) / statistics.median(taken["0"])
        table.add("request time at 20,000 conversations / at none, p50", ratio, "x", 1.25)
    finally:
        for one in daemons.values():
            one.close()


def start(one: Daemon, path: str) -> float:
    """Milliseconds from exec to the first 200, median of 5 starts."""
    taken = []
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    for _ in range(5):
        if one.process and one.process.poll() is None:
            one.stop()
        begin = time.perf_counter()
        one.start(until=None)
        while True:
            try:
                with Connection(one.port) as connection:
                    connection.send(request)
                    if connection.answer().status == 200:
                        break
            except (OSError, AssertionError):
                pass
            time.sleep(0.001)
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)


def sync_cost(folder: Path) -> str:
    """What one fdatasync of 4 KiB costs here: the floor of every acknowledged write."""
    taken = []
    with (folder / "sync").open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(4096))
            file.flush()
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - begin) * 1000)
    return percentiles(taken)


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB
    return f"{os.cpu_count()} x {model}, {memory_mib} MiB, Linux {platform.release()}"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binary", type=Path, default=ROOT / ".build/release/igris-runtime")
    options.add_argument("--rounds", type=int, default=300, help="measurements of each kind")
    options.add_argument("--messages", type=int, default=20_000, help="requests of the append figure")
    options.add_argument("--json", type=Path, help="write the figures to this file too")
    options.add_argument("--only", nargs="*", default=[], help="size, memory, overhead, store, append, growth")
    options = options.parse_args()
    binary = options.binary.resolve()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    print(f"{date}, commit {commit or 'unknown'}, {machine()}")
    table = Table()
    with tempfile.TemporaryDirectory(prefix="igris-bench-") as folder:
        home = Path(folder)
        print(f"load {os.getloadavg()[0]:.1f}; fdatasync here: {sync_cost(home)}")
        parts = {
            "size": lambda: size(table, binary),
            "memory": lambda: memory(table, binary, home / "memory"),
            "overhead": lambda: overhead(table, binary, home / "overhead", options.rounds),
            "store": lambda: store(table, binary.with_name("append-benchmark"), home / "store"),
            "append": lambda: append(table, binary, home / "append", options.messages),
            "growth": lambda: growth(table, binary, home / "growth", options.rounds),
        }
        for name, part in parts.items():
            if not options.only or name in options.only:
                part()
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    if options.json:
        options.json.write_text(json.dumps(
            {"date": date, "commit": commit, "machine": machine(), "figures": table.rows}, indent=2) + "\n")
    return 0 if all(row["met"] for row in table.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
