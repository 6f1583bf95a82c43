"""redis, nats, etcd and serf as Debian ships them, started on ports of their own and ended by their process ids.

`scripts/get-peers .tools/peers` unpacks them; what is installed already is taken first. Clients are a few lines over a
socket each, so that no library's cost is measured.
"""

import base64
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from daemon import eventually, free_port

ROOT = Path(__file__).resolve().parents[1]
UNPACKED = Path(os.environ.get("PEERS_DIR", ROOT / ".tools/peers")) / "root"
PROGRAMS = {"redis-server": "redis 7.0", "nats-server": "nats 2.9", "etcd": "etcd 3.4", "serf": "serf 0.9"}


def program(name: str) -> str | None:
    """Where the program is; None where it is not to be had."""
    places = [str(UNPACKED / folder) for folder in ("usr/bin", "usr/sbin")]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))


class Processes:
    """Processes of one peer, in a folder of their own; all of them are gone afterwards."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="igris-peers-"))
        self.running: list[subprocess.Popen] = []

    def start(self, name: str, *arguments: object) -> subprocess.Popen:
        libraries = next((UNPACKED / "usr/lib").glob("*-linux-gnu"), None)
        environment = {**os.environ, **({"LD_LIBRARY_PATH": str(libraries)} if libraries else {})}
        process = subprocess.Popen(
            [program(name), *map(str, arguments)], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=(self.folder / f"{name}.log").open("ab"), stderr=subprocess.STDOUT, start_new_session=True)
        self.running.append(process)
        return process

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
        for process in self.running:
            process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def processes() -> Iterator[Processes]:
    group = Processes()
    try:
        yield group
    finally:
        group.close()


def listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


# redis


class Redis:
    """One connection that speaks RESP."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words: str | bytes) -> bytes | int | None:
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        line = self.file.readline()
        assert line and not line.startswith(b"-"), line
        if line.startswith(b"$"):
            length = int(line[1:])
            return None if length < 0 else self.file.read(length + 2)[:-2]
        return int(line[1:]) if line.startswith(b":") else line[1:].strip()


def start_redis(group: Processes, primary: int | None = None) -> int:
    port = free_port()
    home = group.folder / str(port)
    home.mkdir()
    options = ["--port", port, "--dir", home, "--appendonly", "yes", "--appendfsync", "everysec", "--bind", "127.0.0.1"]
    if primary:
        options += ["--replicaof", f"127.0.0.1 {primary}", "--repl-diskless-sync-delay", 0]
    else:
        options += ["--repl-diskless-sync-delay", 0]
    group.start("redis-server", *options)
    eventually("redis listens", lambda: listening(port))
    return port


def is_replica_up(client: Redis) -> bool:
    return b"master_link_status:up" in client("INFO", "replication")


def redis_visible(samples: int, size: int = 200) -> list[float]:
    """Milliseconds from the acknowledged SET until a GET at the replica shows it."""
    with processes() as group:
        first = start_redis(group)
        replica = Redis(start_redis(group, first))
        primary = Redis(first)
        eventually("the replica is up", lambda: is_replica_up(replica))
        taken = []
        for number in range(samples):
            value = f"{number}:" + "x" * size
            primary("SET", "key", value)
            begin = time.perf_counter()
            while replica("GET", "key") != value.encode():
                pass
            taken.append((time.perf_counter() - begin) * 1000)
            time.sleep(0.002)
        return taken


def redis_late_replica(keys: int, size: int = 200) -> float:
    """Seconds from the start of an empty replica until it holds `keys`."""
    with processes() as group:
        first = start_redis(group)
        primary = Redis(first)
        for begin in range(0, keys, 1000):
            pairs = [word for number in range(begin, begin + 1000) for word in (f"k{number}", "x" * size)]
            primary("MSET", *pairs)
        begin = time.perf_counter()
        replica = Redis(start_redis(group, first))
        eventually("the replica has it all", lambda: is_replica_up(replica) and replica("DBSIZE") == keys, within=120)
        return time.perf_counter() - begin


# nats


def nats_visible(samples: int, size: int = 200) -> list[float]:
    """Milliseconds from PUB at one server to the message at a subscriber of another, routed between the two."""
    with processes() as group:
        ports, routes = (free_port(), free_port()), (free_port(), free_port())
        for index in (0, 1):
            group.start(
                "nats-server", "-a", "127.0.0.1", "-p", ports[index], "--cluster_name", "bench", "--cluster",
                f"nats://127.0.0.1:{routes[index]}", "--routes", f"nats://127.0.0.1:{routes[1 - index]}")
        for port in ports:
            eventually("nats listens", lambda port=port: listening(port))
        connections = []
        for port in ports:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
            file = connection.makefile("rb")
            while file.readline().strip() != b"PONG":
                pass
            connections.append((connection, file))
        (publisher, _), (subscriber, incoming) = connections
        subscriber.sendall(b"SUB s 1\r\nPING\r\n")
        while incoming.readline().strip() != b"PONG":
            pass
        payload = b"x" * size
        message = b"PUB s %d\r\n%s\r\n" % (size, payload)
        # Until the interest has reached the other server, messages are dropped.
        subscriber.settimeout(0.2)
        for _ in range(50):
            publisher.sendall(message)
            try:
                if incoming.readline().startswith(b"MSG"):
                    incoming.readline()
                    break
            except TimeoutError:
                incoming = subscriber.makefile("rb")
        subscriber.settimeout(10)
        time.sleep(0.3)
        taken = []
        for _ in range(samples):
            begin = time.perf_counter()
            publisher.sendall(message)
            line = incoming.readline()
            while not line.startswith(b"MSG"):
                if line.startswith(b"PING"):
                    subscriber.sendall(b"PONG\r\n")
                line = incoming.readline()
            incoming.readline()
            taken.append((time.perf_counter() - begin) * 1000)
            time.sleep(0.002)
        return taken


# etcd


def start_etcd(group: Processes, count: int = 3) -> list[int]:
    clients, peers = [free_port() for _ in range(count)], [free_port() for _ in range(count)]
    cluster = ",".join(f"n{index}=http://127.0.0.1:{port}" for index, port in enumerate(peers))
    for index in range(count):
        group.start(
            "etcd", "--name", f"n{index}", "--data-dir", group.folder / f"n{index}", "--log-level", "error",
            "--listen-client-urls", f"http://127.0.0.1:{clients[index]}",
            "--advertise-client-urls", f"http://127.0.0.1:{clients[index]}",
            "--listen-peer-urls", f"http://127.0.0.1:{peers[index]}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peers[index]}",
            "--initial-cluster", cluster, "--initial-cluster-state", "new")
    for port in clients:
        eventually("etcd is healthy", lambda port=port: is_healthy(port))
    return clients


def is_healthy(port: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/health")
        return b'"true"' in connection.getresponse().read()
    return False


def etcd_visible(samples: int, size: int = 200) -> tuple[list[float], list[float]]:
    """Milliseconds from the put at one member to its event in a watch of another: from sending it, and from its
    acknowledgement."""
    key = base64.b64encode(b"key").decode()
    with processes() as group:
        ports = start_etcd(group)
        writer = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=30)
        watcher = http.client.HTTPConnection("127.0.0.1", ports[1], timeout=30)
        watcher.request("POST", "/v3/watch", json.dumps({"create_request": {"key": key}}))
        events = watcher.getresponse()
        events.readline()
        from_sent, from_done = [], []
        for number in range(samples):
            value = base64.b64encode(f"{number}:".encode() + b"x" * size).decode()
            begin = time.perf_counter()
            writer.request("POST", "/v3/kv/put", json.dumps({"key": key, "value": value}))
            answer = writer.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            done = time.perf_counter()
            while b'"events"' not in events.readline():
                pass
            seen = time.perf_counter()
            from_sent.append((seen - begin) * 1000)
            from_done.append((seen - done) * 1000)
            time.sleep(0.002)
        return from_sent, from_done


# serf


class Serf:
    """Agents with the LAN profile, encrypted, that all joined the first."""

    def __init__(self, group: Processes, count: int):
        self.group, self.key = group, base64.b64encode(os.urandom(16)).decode()
        self.binds = [free_port() for _ in range(count)]
        self.rpcs = [free_port() for _ in range(count)]
        self.agents: dict[int, subprocess.Popen] = {}
        for index in range(count):
            self.start(index)
        for index in range(count):
            eventually("all are members", lambda index=index: self.statuses(index).count("alive") == count, within=60)

    def start(self, index: int) -> None:
        join = ["-retry-join", f"127.0.0.1:{self.binds[0]}", "-retry-interval", "1s"] if index else []
        self.agents[index] = self.group.start(
            "serf", "agent", "-node", f"n{index}", "-bind", f"127.0.0.1:{self.binds[index]}", "-profile", "lan",
            "-rpc-addr", f"127.0.0.1:{self.rpcs[index]}", "-encrypt", self.key, "-log-level", "err", *join)

    def statuses(self, index: int) -> list[str]:
        """What one agent says of everyone, itself included."""
        done = subprocess.run(
            [program("serf"), "members", "-format", "json", "-rpc-addr", f"127.0.0.1:{self.rpcs[index]}"],
            capture_output=True, text=True)
        return [member["status"] for member in json.loads(done.stdout)["members"]] if done.returncode == 0 else []

    def noticed(self, victim: int, signal_number: int, watchers: list[int]) -> float:
        """Seconds until all watchers call the victim failed."""
        begin = time.perf_counter()
        os.kill(self.agents[victim].pid, signal_number)
        left = list(watchers)
        while left:
            if "failed" in self.statuses(left[0]):
                left.pop(0)
            elif time.perf_counter() - begin > 60:
                raise AssertionError("serf noticed nothing in 60 s")
        return time.perf_counter() - begin


def serf_join(samples: int) -> list[float]:
    """Seconds from the start of an agent until the other one lists it as alive."""
    taken = []
    for _ in range(samples):
        with processes() as group:
            first = Serf(group, 1)
            first.binds.append(free_port())
            first.rpcs.append(free_port())
            begin = time.perf_counter()
            first.start(1)
            eventually("the second is a member", lambda: first.statuses(0).count("alive") == 2, within=30)
            taken.append(time.perf_counter() - begin)
    return taken
