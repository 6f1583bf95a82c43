"""A disk or a memory that is nearly used up: what is refused and with which words, what goes on, and that it heals."""

import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from daemon import Daemon, eventually, recall
from swarm import HEALED, MODEL, wait_for

FILLS = int(os.environ.get("IGRIS_FILLS", 30))
# Healed within 5 s (figures.md, RF-15), with some room for two busy cores.
HEALS = 5.0
MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator["Disk"]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("a small disk can be had as root only")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Disk:
    """A disk of its own: 24 MiB, of which an eighth is kept in reserve."""

    def __init__(self, folder: Path):
        self.folder, self.ballast = folder, folder / "ballast"

    @property
    def store(self) -> str:
        return str(self.folder / "contexts.db")

    @property
    def free(self) -> int:
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    def fill(self, leaving: int) -> None:
        """The store may grow meanwhile: it is tried until no more fits."""
        with self.ballast.open("ab", buffering=0) as file, suppress(OSError):
            while self.free > leaving:
                file.write(bytes(min(MIB, max(4096, self.free - leaving))))

    def empty(self) -> None:
        self.ballast.unlink(missing_ok=True)


def reasons(one: Daemon) -> str:
    return " ".join(one.get("/readyz").json()["reasons"])


def test_below_the_reserve_nothing_new_is_kept_and_all_else_goes_on(daemon, small_disk):
    one = daemon(models=[MODEL], config={"mcp": {"storage_path": small_disk.store, "mdns": False, "multicast": False}})
    one.ask("first", conversation="talk")
    one.ask("to go", conversation="gone")
    small_disk.fill(leaving=MIB)
    eventually("it is not ready", lambda: one.get("/readyz").status_code == 503, within=HEALS)
    assert "the disk of the store is nearly full" in reasons(one) and "context.disk_reserve" in reasons(one)
    assert str(small_disk.folder) not in reasons(one)
    assert one.metrics()["igris_read_only"] == 1
    assert one.get("/v1/health").json()["status"] == "not_ready" and one.get("/livez").status_code == 200
    # There is room for it on the disk; it is kept for what has begun.
    for path, body in {
        "/v1/chat/completions": {"model": "phi3", "messages": [{"role": "user", "content": "second"}]},
        "/v1/responses": {"model": "phi3", "input": "second"},
        "/v1/requests": {"model": "phi3", "prompt": "second"},
    }.items():
        reply = httpx.post(one.url + path, json=body, timeout=30)
        assert reply.status_code == 507, (path, reply.text)
        assert "free space" in reply.json()["error"]["message"]
    before = one.metrics()
    assert sum(value for name, value in before.items() if "igris_pressure_refusals_total" in name and "disk" in name) >= 3
    # Read, answered without being kept, and taken away.
    assert "first" in one.texts("talk")[0]
    assert one.post("Hello", store=False).status_code == 200
    assert httpx.delete(f"{one.url}/v1/mcp/contexts/gone", timeout=30).status_code == 200
    doctor = subprocess.run(
        [one.binary, "doctor", "--json", "--url", one.url], capture_output=True, text=True, env=one.environment, timeout=60)
    assert "the disk of the store is nearly full" in doctor.stdout and doctor.returncode in (1, 2), doctor.stdout
    # It does not wait for the next look where somebody asks.
    small_disk.empty()
    one.ask("third", conversation="talk")
    eventually("it is ready", lambda: one.get("/readyz").status_code == 200, within=HEALS)
    assert one.metrics()["igris_read_only"] == 0
    one.restart()
    assert [text for text in one.texts("talk")[::2]] == ["first", "third"]
    assert one.get("/v1/mcp/contexts/gone").status_code == 404


def test_a_retry_of_what_stands_is_answered_while_the_disk_is_low(daemon, small_disk):
    one = daemon(models=[MODEL], config={"mcp": {"storage_path": small_disk.store, "mdns": False, "multicast": False}})
    headers = {"Idempotency-Key": "one-and-the-same"}
    said = one.ask("first", headers, conversation="talk")
    small_disk.fill(leaving=MIB)
    eventually("it is not ready", lambda: one.get("/readyz").status_code == 503, within=HEALS)
    assert one.ask("first", headers, conversation="talk") == said


def test_with_no_reserve_the_disk_is_filled_to_the_last(daemon, small_disk):
    one = daemon(models=[MODEL], config={
        "mcp": {"storage_path": small_disk.store, "mdns": False, "multicast": False}, "context": {"disk_reserve": "off"}})
    small_disk.fill(leaving=MIB)
    one.ask("there is a little room", conversation="talk")
    assert one.get("/readyz").status_code == 200


def test_a_host_whose_disk_is_low_takes_nothing_of_others_until_it_has_room(swarm, small_disk):
    pair = swarm(2, start=False)
    a, b = pair.hosts
    pair.configure(b, storage_path=small_disk.store)
    pair.start()
    a.hear("before", "talk")
    pair.equal()
    small_disk.fill(leaving=MIB)
    wait_for(lambda: "B is not ready", lambda: b.fetch("/readyz").status == 503, HEALS)
    # The next look of its shell tells the log.
    wait_for(lambda: "B reads only", lambda: b.count("igris_read_only") == 1, HEALS)
    time.sleep(1.2)
    free = small_disk.free
    for number in range(40):
        a.hear(f"{number} " + "x" * 20_000, "talk")
    # Between them 1.6 MB, more than there is room for. What was on its way may have arrived.
    assert free - small_disk.free < 300_000
    assert b.count("igris_store_commit_failures_total") == 0
    assert b.fetch("/v1/mcp/contexts/talk").status == 200
    small_disk.empty()
    pair.equal(within=HEALS + HEALED)
    assert len(b.texts("talk")) == len(a.texts("talk")) == 82
    b.hear("and on", "talk")


@pytest.mark.timeout(120 + FILLS)
def test_a_disk_filled_at_random_moments_loses_nothing_acknowledged(daemon, small_disk):
    """RF-15."""
    one = daemon(models=[MODEL], config={"mcp": {"storage_path": small_disk.store, "mdns": False, "multicast": False}})
    chance = random.Random(15)
    acknowledged: list[tuple[str, str]] = []
    refused = healing = 0
    over = threading.Event()
    turn = iter(range(1_000_000))
    lock = threading.Lock()
    statuses: dict[int, int] = {}

    def talk(writer: int) -> None:
        size = random.Random(writer)
        with httpx.Client(base_url=one.url, timeout=30) as client:
            while not over.is_set():
                with lock:
                    number = next(turn)
                text = f"turn {number} " + "x" * size.randrange(8_000)
                body = {"model": "phi3", "conversation": f"c{number // 40}-{writer}",
                        "messages": [{"role": "user", "content": text}]}
                reply = client.post("/v1/chat/completions", json=body)
                with lock:
                    statuses[reply.status_code] = statuses.get(reply.status_code, 0) + 1
                    if reply.status_code == 200:
                        acknowledged.append((body["conversation"], text))
                assert reply.status_code in (200, 503, 507), reply.text

    with httpx.Client(base_url=one.url, timeout=30) as client:
        client.post("/v1/chat/completions", json={
            "model": "phi3", "conversation": "first", "messages": [{"role": "user", "content": "said first"}]})
        for round_ in range(FILLS):
            over.clear()
            writers = [threading.Thread(target=talk, args=(round_ * 2 + number,)) for number in range(2)]
            for writer in writers:
                writer.start()
            time.sleep(chance.random() * 0.1)
            # To the last byte, into the reserve, or just above it.
            small_disk.fill(leaving=chance.choice([0, chance.randrange(64 * 1024), chance.randrange(4 * MIB)]))
            time.sleep(chance.random() * 0.15)
            # Served whatever the disk is like.
            reply = client.get("/v1/mcp/contexts/first")
            assert reply.status_code == 200 and reply.json()["messages"][0]["content"] == "said first", reply.text
            reply = client.post("/v1/chat/completions", json={
                "model": "phi3", "store": False, "messages": [{"role": "user", "content": "Hello"}]})
            assert reply.status_code == 200, reply.text
            over.set()
            for writer in writers:
                writer.join(60)
            small_disk.empty()
            begin = time.monotonic()
            body = {"model": "phi3", "conversation": f"healed{round_}",
                    "messages": [{"role": "user", "content": f"healed {round_}"}]}
            eventually(f"healed in round {round_}: {one.logs()[-1500:]}",
                       lambda: client.post("/v1/chat/completions", json=body).status_code == 200, within=HEALS)
            eventually("ready again", lambda: client.get("/readyz").status_code == 200, within=HEALS)
            healing = max(healing, time.monotonic() - begin)
            acknowledged.append((f"healed{round_}", f"healed {round_}"))
            if small_disk.free < 12 * MIB:
                forget(client, acknowledged)
        refused = statuses.get(507, 0)
    one.kill9()
    one.start()
    kept = {name: one.texts(name) for name in {name for name, _ in acknowledged}}
    lost = [(name, text[:20]) for name, text in acknowledged if text not in kept[name]]
    print(f"RF-15: {FILLS} fills, {len(acknowledged)} acknowledged, {len(lost)} lost, {refused} refused, "
          f"healed in {healing:.2f} s at most, {statuses}")
    assert not lost, lost[:5]
    assert refused > 0 and one.process.poll() is None
    verify = subprocess.run(
        [one.binary, "verify", "--url", one.url], capture_output=True, text=True, env=one.environment, timeout=60)
    assert verify.returncode == 0, verify.stdout + verify.stderr


def forget(client: httpx.Client, acknowledged: list[tuple[str, str]]) -> None:
    """Room for the next rounds: what was looked at goes. It is looked at first."""
    for name in {name for name, _ in acknowledged}:
        reply = client.get(f"/v1/mcp/contexts/{name}")
        assert reply.status_code == 200, (name, reply.text)
        texts = [message["content"] for message in reply.json()["messages"]]
        for other, text in acknowledged:
            assert other != name or text in texts, (name, text[:20])
        reply = client.delete(f"/v1/mcp/contexts/{name}")
        assert reply.status_code == 200, (name, reply.text)
    acknowledged.clear()


def test_above_its_memory_limit_nothing_new_is_begun_and_what_runs_goes_on(daemon):
    one = daemon(config={
        "models": [recall(pace=3)], "mcp": {"mdns": False, "multicast": False}, "node": {"memory_limit": "160MiB"}})
    one.ask("Remember: my name is Alice", conversation="c")
    with httpx.stream("POST", f"{one.url}/v1/chat/completions", timeout=60, json={
        "model": "phi3", "stream": True, "conversation": "c", "messages": [{"role": "user", "content": "What is my name?"}],
    }) as running:
        pieces = running.iter_text()
        next(pieces)
        # Bodies that are nearly there take memory, and no engine has been asked for anything.
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 31000000\r\n\r\n".encode()
        held = [socket.create_connection(("127.0.0.1", one.port)) for _ in range(8)]
        for connection in held:
            with suppress(OSError):
                connection.sendall(head + b" " * 30_000_000)
        eventually("short of memory", lambda: one.metrics()["igris_memory_short"] == 1, within=20)
        ready = one.get("/readyz")
        assert ready.status_code == 503 and "short of memory" in reasons(one)
        for path, body in {
            "/v1/chat/completions": {"model": "phi3", "messages": [{"role": "user", "content": "x"}]},
            "/v1/messages": {"model": "phi3", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
            "/api/chat": {"model": "phi3", "messages": [{"role": "user", "content": "x"}]},
            "/v1/requests": {"model": "phi3", "prompt": "x"},
        }.items():
            reply = httpx.post(one.url + path, json=body, timeout=30)
            assert reply.status_code == 503 and int(reply.headers["retry-after"]) > 0, (path, reply.text)
            assert "memory" in reply.text
        # Read all the same.
        assert one.get("/v1/models").status_code == 200 and one.get("/v1/mcp/contexts").status_code == 200
        for connection in held:
            connection.close()
        text = "".join(pieces)
        assert "data: [DONE]" in text and "error" not in text
    eventually(f"memory again: {one.logs()[-800:]}", lambda: one.get("/readyz").status_code == 200, within=20)
    reply = one.post("Hello")
    assert reply.status_code == 200, reply.text + one.logs()[-2_000:]
    assert "there is memory again" in one.logs()

