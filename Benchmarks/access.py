"""access.py: what looking at a credential costs a request.

One daemon, one kept connection, the cheapest page there is (`/livez`), asked in short blocks with different credentials
in turns, so that whatever else the machine does falls on all alike. The figure is the processor time of the daemon for
one request (/proc/PID/task/*/schedstat), less that of a request without a credential, the median of the rounds; the
bound is 20 us (docs/access.md). `--tokens N` makes so many others first.
"""

import argparse
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))
from daemon import Daemon, recall  # noqa: E402
from test_sessions import code  # noqa: E402

BOUND = 20.0


def processor_seconds(pid: int) -> float:
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def ask(connection: socket.socket, request: bytes, count: int) -> list[float]:
    """Seconds of each of `count` requests, one after the other."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        connection.sendall(request)
        reply = b""
        while b"\r\n\r\n" not in reply or not reply.endswith(b"}"):
            reply += connection.recv(65536)
        times.append(time.perf_counter() - begin)
        assert reply.startswith(b"HTTP/1.1 200"), reply
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=ROOT / ".build/release/igris-runtime", type=Path)
    parser.add_argument("--requests", default=500, type=int, help="in one block")
    parser.add_argument("--rounds", default=60, type=int)
    parser.add_argument("--tokens", default=0, type=int, help="made before")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = {"models": [recall()], "auth": {"keys": [{"name": "ann", "key": "key-of-the-configuration"}]}}
        one = Daemon(options.binary.resolve(), Path(folder), config, [], {}).start()
        try:
            url = f"{one.url}/v1/admin/tokens"
            for index in range(options.tokens):
                httpx.post(url, json={"name": f"other-{index}"}).raise_for_status()
            token = httpx.post(url, json={"name": "bob", "rate_per_minute": 1_000_000}).json()["token"]
            made = httpx.post(f"{one.url}/v1/auth/challenge", json={"agent_id": "ann"}).json()
            session = httpx.post(f"{one.url}/v1/auth/session", json={
                "nonce": made["nonce"], "signature": code("key-of-the-configuration", made["message"])}).json()["token"]
            credentials = {
                "nothing": "", "a key of auth.keys": "x-api-key: key-of-the-configuration\r\n",
                "a token": f"Authorization: Bearer {token}\r\n", "a session": f"Authorization: Bearer {session}\r\n",
            }
            processor = {name: [] for name in credentials}
            latency = {name: [] for name in credentials}
            with socket.create_connection(("127.0.0.1", one.port)) as connection:
                for number in range(options.rounds + 1):
                    for name, line in credentials.items():
                        request = f"GET /livez HTTP/1.1\r\nHost: localhost\r\n{line}\r\n".encode()
                        before = processor_seconds(one.pid)
                        times = ask(connection, request, options.requests)
                        # The first round warms up.
                        if number:
                            processor[name].append((processor_seconds(one.pid) - before) / options.requests * 1e6)
                            latency[name].append(statistics.median(times) * 1e6)
            added = {
                name: statistics.median(mine - base for mine, base in zip(processor[name], processor["nothing"]))
                for name in credentials
            }
            base_latency = statistics.median(latency["nothing"])
            print(f"{'credential':20} {'cpu us':>8} {'added':>8} {'median us':>10} {'added':>8}")
            worst = max(added.values())
            for name in credentials:
                used, took = statistics.median(processor[name]), statistics.median(latency[name])
                print(f"{name:20} {used:8.2f} {added[name]:8.2f} {took:10.2f} {took - base_latency:8.2f}")
            print(f"{'within' if worst <= BOUND else 'OVER'} {BOUND} us")
            sys.exit(worst > BOUND)
        finally:
            one.close()


if __name__ == "__main__":
    main()
