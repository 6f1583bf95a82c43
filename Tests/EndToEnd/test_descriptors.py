"""RF-14: a daemon whose file descriptors are all taken neither ends nor spins, and answers again as soon as there are
some."""

import contextlib
import os
import re
import shutil
import socket
import time
from pathlib import Path

import pytest

from daemon import eventually, recall

LIMIT = 256
CONNECTS = int(os.environ.get("IGRIS_CONNECTS", 3_000))


def opened(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def processor(pid: int) -> float:
    """Seconds of CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_it_neither_ends_nor_spins_and_heals(daemon):
    if not shutil.which("prlimit"):
        pytest.skip("prlimit is not there")
    one = daemon(models=[recall()], config={"mcp": {"mdns": False, "multicast": False}}, start=False)
    one.launcher = ["prlimit", f"--nofile={LIMIT}:{LIMIT}"]
    one.start()
    assert re.search(rf"open files\s+{LIMIT}\s+{LIMIT}", Path(f"/proc/{one.pid}/limits").read_text())
    one.ask("Remember: my name is Alice", conversation="c")
    before = opened(one.pid)
    made = refused = 0
    slowest = 0.0
    while made < CONNECTS:
        held = []
        for number in range(1_000):
            connection = socket.socket()
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.connect(("127.0.0.1", one.port))
            held.append(connection)
            if number % 2:
                # A part of them are honest about wanting nothing, a part hold half a request.
                with contextlib.suppress(OSError):
                    connection.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
        made += len(held)
        spent, begin = processor(one.pid), time.monotonic()
        time.sleep(1)
        share = (processor(one.pid) - spent) / (time.monotonic() - begin)
        assert opened(one.pid) <= LIMIT and one.process.poll() is None
        # With 1,000 at the door it has something to do; it does not take a whole core for nothing.
        assert share < 0.6, f"it spins: {share:.0%} of a core"
        for connection in held:
            with contextlib.suppress(OSError):
                refused += b" 503 " in connection.recv(4096)
            connection.close()
        begin = time.monotonic()
        eventually("it answers again", lambda: answers(one), within=10)
        slowest = max(slowest, time.monotonic() - begin)
    # The store, the engine and the swarm have kept theirs.
    assert one.ask("What is my name?", conversation="c") == "Your name is Alice"
    eventually(f"as few as before: {before} {opened(one.pid)}", lambda: opened(one.pid) <= before + 8, within=20)
    print(f"RF-14: {made} connects with {LIMIT} descriptors, {refused} told 503, healed in {slowest:.2f} s at most")
    assert one.stop() == 0


def answers(one) -> bool:
    with contextlib.suppress(OSError, AssertionError):
        with socket.create_connection(("127.0.0.1", one.port), timeout=2) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(4096)
    return False
