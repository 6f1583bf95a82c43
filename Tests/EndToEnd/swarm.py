"""Several daemons that are one swarm, and what tests ask of them."""

import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon import ECHO, Daemon, eventually, free_port, samples

# 64 hex digits are taken as the key itself: nothing is spent on a pass phrase.
KEY = "5eed" * 16
OTHER_KEY = "0dd0" * 16
# The requirement is 5 s for both; Benchmarks/swarm.py measures it. Here nothing is timed: two runs share the processors.
FOUND = HEALED = 20.0
MODEL = {**ECHO, "aliases": ["phi3"]}


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def answer(self) -> str:
        return self.json["choices"][0]["message"]["content"]


class Host(Daemon):
    """One member. Its requests cost little, so that many may be asked often on two cores."""

    def socket(self) -> socket.socket:
        """A connection to the daemon's port."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def fetch(
        self, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Reply:
        """One request on a connection of its own; raises OSError or http.client.HTTPException where there is no
        answer."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=timeout)
        connection.sock = self.socket()
        connection.sock.settimeout(timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def wait_until(self, path: str) -> None:
        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.logs()[-6000:]}")
            try:
                return self.fetch(path, timeout=5).status == 200
            except (OSError, http.client.HTTPException):
                return False

        try:
            eventually(f"200 from {path}", answers)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()[-6000:]}") from None

    # Talking

    def say(self, text: str, conversation: str | None = None, **options: Any) -> Reply:
        body = {"model": "phi3", "messages": [{"role": "user", "content": text}], **options.pop("fields", {})}
        if conversation:
            body["conversation"] = conversation
        return self.fetch("/v1/chat/completions", "POST", body, **options)

    def hear(self, text: str, conversation: str | None = None, **options: Any) -> str:
        """The text of the answer."""
        reply = self.say(text, conversation, **options)
        assert reply.status == 200, f"{reply.status} {reply.text}\n{self.logs()[-4000:]}"
        return reply.answer

    def context(self, conversation: str) -> dict[str, Any] | None:
        """What `/v1/mcp/contexts/{id}` shows; None where there is no such conversation."""
        reply = self.fetch(f"/v1/mcp/contexts/{conversation}")
        assert reply.status in (200, 404), reply.text
        return reply.json if reply.status == 200 else None

    def texts(self, conversation: str, headers: dict[str, str] | None = None) -> list[str]:
        context = self.context(conversation)
        return [message["content"] for message in context["messages"]] if context else []

    def context_digest(self, conversation: str) -> str | None:
        context = self.context(conversation)
        return context["digest"] if context else None

    def delete(self, conversation: str) -> Reply:
        return self.fetch(f"/v1/mcp/contexts/{conversation}", "DELETE")

    # The swarm

    def status(self) -> dict[str, Any]:
        reply = self.fetch("/v1/swarm/status")
        assert reply.status == 200, reply.text
        return reply.json

    @property
    def id(self) -> str:
        return self.status()["id"]

    def peers(self) -> list[dict[str, Any]]:
        """Everyone that `/v1/mcp/peers` shows: the members, and who else was heard of."""
        reply = self.fetch("/v1/mcp/peers")
        assert reply.status == 200, reply.text
        return reply.json["peers"] + reply.json["others"]

    def is_at(self, address: str) -> bool:
        """Whether this is the host that listens there."""
        return address.rpartition(":")[2] == str(self.port)

    def peer(self, other: "Host") -> dict[str, Any] | None:
        """The row of another host, found by the address that it listens on."""
        return next((row for row in self.peers() if other.is_at(row["address"])), None)

    def state_of(self, other: "Host") -> str | None:
        row = self.peer(other)
        return row["state"] if row else None

    def alive(self) -> int:
        """Members alive, this host not counted."""
        return sum(row["state"] == "alive" for row in self.peers())

    def digest(self) -> str:
        """Of the whole log: equal on hosts that hold the same."""
        return self.status()["digest"]

    def count(self, name: str) -> float:
        """The sum over all labels of one metric; 0 where it was never counted."""
        text = self.fetch("/metrics").text
        return sum(value for sample, value in samples(text) if re.match(rf"{name}(\{{|$)", sample))

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.thaw()
        super().close()

    def command(self, *words: str, within: float = 30.0, code: int | None = 0) -> str:
        """`igris-runtime WORDS` against this host: what it prints."""
        return self._run([*words, "--url", self.url], within, code)

    def own(self, *words: str, within: float = 30.0, code: int | None = 0) -> str:
        """`igris-runtime WORDS` on this host's settings, whether it runs or not: what it prints."""
        return self._run([*words, "--config", str(self.config)], within, code)

    def swarm_key(self) -> str:
        return self.own("swarm", "key", "--reveal").strip()

    def _run(self, words: list[str], within: float, code: int | None) -> str:
        done = subprocess.run(
            [*self.launcher, str(self.binary), *words], capture_output=True, text=True, timeout=within,
            env=self.environment, cwd=self.home)
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


class Swarm:
    """Hosts that hold the same key, each in a home of its own, on loopback.

    `found_by` is the one way in which they find one another: "seeds", "multicast" (on a UDP port of their own, so that
    swarms of other tests do not hear them) or "both".
    """

    def __init__(
        self, binary: Path, folder: Path, count: int, found_by: str = "seeds", key: str | None = KEY,
        config: dict[str, Any] | None = None, models: list[dict] | None = None, env: dict[str, str] | None = None,
    ):
        self.binary, self.folder, self.found_by, self.key = binary, folder, found_by, key
        self.extra, self.models, self.env = config or {}, models or [MODEL], env or {}
        self.multicast_port = free_udp_port()
        self.hosts: list[Host] = []
        for _ in range(count):
            self.host()
        for host in self.hosts:
            self.configure(host)

    def host(self, name: str | None = None, **mcp: Any) -> Host:
        """One more host, not started."""
        name = name or chr(ord("A") + len(self.hosts))
        environment = {**({"MCP_ENCRYPTION_KEY": self.key} if self.key else {}), **self.env}
        one = Host(self.binary, self.folder / name, {}, [], environment)
        self.hosts.append(one)
        self.configure(one, **mcp)
        return one

    def configure(self, host: Host, **mcp: Any) -> None:
        """Writes its configuration; keys of `mcp` stand over what the swarm does."""
        extra = dict(self.extra)
        seeds = [f"127.0.0.1:{other.port}" for other in self.hosts if other is not host]
        ours = {
            "mdns": False, "multicast": self.found_by in ("multicast", "both"), "multicast_port": self.multicast_port,
            "seeds": seeds if self.found_by in ("seeds", "both") else [], **extra.pop("mcp", {}), **mcp,
        }
        file = {"models": self.models, "mcp": ours, "node": {"name": host.home.name}, **extra}
        host.config.write_text(json.dumps(file, indent=2))

    def start(self, within: float = FOUND) -> "Swarm":
        for host in self.hosts:
            host.start(until=None)
        for host in self.hosts:
            host.wait_until("/readyz")
        self.together(within)
        return self

    @property
    def running(self) -> list[Host]:
        return [host for host in self.hosts if host.process and host.process.poll() is None]

    def together(self, within: float = FOUND, hosts: list[Host] | None = None) -> None:
        """Waits until each of the running hosts sees all the others alive."""
        hosts = hosts or self.running
        wait_for(
            lambda: f"all {len(hosts)} see one another: {[(host.port, host.peers()) for host in hosts]}",
            lambda: all(host.alive() >= len(hosts) - 1 for host in hosts), within)

    def equal(self, within: float = HEALED, hosts: list[Host] | None = None) -> float:
        """Waits until all running hosts hold the same; seconds that took."""
        hosts = hosts or self.running
        begin = time.monotonic()
        wait_for(
            lambda: f"equal digests: {[(host.port, host.digest(), host.status()['operations']) for host in hosts]}",
            lambda: len({host.digest() for host in hosts}) == 1, within)
        took = time.monotonic() - begin
        assert not sum(host.status()["divergences"] for host in hosts), "equal vectors over different content"
        return took

    def close(self) -> None:
        for host in self.hosts:
            if host.process and host.process.poll() is None:
                host.thaw()
                host.process.terminate()
        for host in self.hosts:
            host.close()


def wait_for(what: Callable[[], str], condition: Callable[[], Any], within: float) -> Any:
    """As `eventually`, asking every 30 ms, and saying only at the end what there was instead."""
    deadline = time.monotonic() + within
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what()}")
        time.sleep(0.03)


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


class Events:
    """What a host tells over server-sent events, read in the background."""

    def __init__(self, host: Host, path: str = "/v1/swarm/events"):
        self.seen: list[tuple[float, str, dict[str, Any]]] = []
        self.connection = host.socket()
        self.connection.settimeout(None)
        self.connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
        self.closed = False
        self.head = b""
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        assert self.ready.wait(10), "no head of the event stream"
        assert b" 200 " in self.head.split(b"\r\n")[0], self.head

    def _read(self) -> None:
        buffer = b""
        while not self.closed:
            try:
                data = self.connection.recv(65536)
            except OSError:
                return
            if not data:
                return
            buffer += data
            if not self.ready.is_set():
                if b"\r\n\r\n" not in buffer:
                    continue
                self.head, _, buffer = buffer.partition(b"\r\n\r\n")
                self.ready.set()
            now = time.monotonic()
            # An event ends with an empty line; sizes of chunks between the lines do no harm.
            while match := re.search(rb"\r?\n\r?\n", buffer):
                block, buffer = buffer[: match.start()], buffer[match.end():]
                name = re.search(rb"^event: *(\S+)", block, re.MULTILINE)
                text = re.search(rb"^data: *(\{.*\})", block, re.MULTILINE)
                if text:
                    data = json.loads(text[1])
                    self.seen.append((now, (name[1].decode() if name else data.get("event", "")), data))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [data for _, event, data in self.seen if event == name]

    def close(self) -> None:
        self.closed = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.connection.close()

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Tap:
    """A relay between two hosts that keeps what it carries: what someone on the wire would see."""

    def __init__(self, target: int):
        self.target = target
        self.carried = bytearray()
        # Nothing passes while this is set: both sides stay connected.
        self.stalled = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while self.open:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                continue
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            while self.open:
                for readable in select.select([near, far], [], [], 0.5)[0]:
                    while self.stalled.is_set() and self.open:
                        time.sleep(0.01)
                    try:
                        data = readable.recv(65536)
                        (far if readable is near else near).sendall(data)
                    except OSError:
                        return
                    if not data:
                        return
                    self.carried += data

    def close(self) -> None:
        self.open = False
        self.listener.close()


def capture(ports: list[int], file: Path) -> Iterator[None]:
    """tcpdump on loopback for as long as it is suspended; none where it cannot run."""
    ports_filter = " or ".join(f"port {port}" for port in ports)
    process = subprocess.Popen(
        ["tcpdump", "-i", "lo", "-U", "-w", str(file), ports_filter], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "listening on" in line:
            break
    yield
    process.send_signal(signal.SIGINT)
    process.wait(10)


def seconds(name: str, default: float) -> float:
    return float(os.environ.get(name, default))

