"""kill -9: what was acknowledged is there after the next start."""

import os
import random
import socket
import threading
import time

import httpx
import pytest

from daemon import children_of, eventually, is_alive, recall, scripted_engine
from soak_kills import INSTANT

# `make soak` asks for 600.
KILLS = int(os.environ.get("IGRIS_KILLS", "40"))
SEED = int(os.environ.get("IGRIS_SEED", "20261121"))


def test_a_killed_daemon_still_knows_alice(daemon):
    one = daemon(models=[recall()])
    one.ask("Remember: my name is Alice")
    one.kill9()
    one.start()
    assert one.ask("What is my name?") == "Your name is Alice"


def test_a_stopped_daemon_still_knows_alice(daemon):
    one = daemon(models=[recall()])
    one.ask("Remember: my name is Alice")
    assert one.stop() == 0
    one.start()
    assert one.ask("What is my name?") == "Your name is Alice"


def test_the_host_keeps_its_identity(daemon):
    one = daemon(models=[recall()])
    before = one.post("Hello").headers["x-igris-served-by"]
    one.kill9()
    one.start()
    assert one.post("Hello").headers["x-igris-served-by"] == before


def test_no_engine_outlives_its_daemon(daemon):
    one = daemon(models=[recall(), {**scripted_engine("echo", "echo.py")}])
    one.ask("Hello")
    one.ask("Hello", model="echo")
    children = children_of(one.pid)
    assert len(children) >= 2
    one.kill9()
    eventually("the engines end with the daemon", lambda: not any(map(is_alive, children)), within=5)


def test_kills_in_a_loop_lose_no_acknowledged_turn(daemon):
    """Kills at random moments: while starting, while writing, at rest."""
    chance = random.Random(SEED)
    # One that is there at once: on a busy machine an engine in Python would not be, before the host is killed.
    one = daemon(models=[INSTANT], start=False)
    acknowledged: dict[str, list[str]] = {}
    for number in range(KILLS):
        # A new conversation now and then, so that prompts stay short.
        name = f"c{number // 10}"
        kept = acknowledged.setdefault(name, [])
        one.start(until=None)
        killer = threading.Timer(chance.uniform(0.0, 0.6), one.process.kill)
        killer.start()
        turn = 0
        try:
            while one.process.poll() is None:
                turn += 1
                text = f"{number}.{turn}"
                try:
                    reply = one.post(text, conversation=name)
                except httpx.TransportError:
                    # Not listening yet, or killed. The same text may have been written without its answer.
                    time.sleep(0.005)
                    continue
                if reply.status_code == 200:
                    kept.append(text)
        finally:
            killer.join()
            one.process.wait()
    one.start()
    for name, texts in acknowledged.items():
        if texts:
            stored = one.conversation(name)["messages"]
            asked = [message["content"] for message in stored if message["role"] == "user"]
            lost = [text for text in texts if asked.count(text) != 1]
            assert not lost, f"seed {SEED}: {lost} of {name}"
            # Each acknowledged question is followed by its answer.
            for text in texts:
                position = next(i for i, message in enumerate(stored) if message["content"] == text)
                assert stored[position + 1]["role"] == "assistant", f"seed {SEED}: {text}"
    total = sum(map(len, acknowledged.values()))
    print(f"{KILLS} kills, seed {SEED}: {total} turns acknowledged, none lost")
    assert total >= KILLS / 4, "hardly anything was acknowledged between the kills"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_held_for_a_moment_longer_is_waited_for(daemon, host):
    """A killed daemon's port may outlive it: whoever is just being made an engine's process shares its socket."""
    one = daemon(models=[INSTANT], args=["--host", host], start=False)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, one.port))
        held.listen()
        one.start(until=None)
        time.sleep(0.3)
        assert one.process.poll() is None, one.logs()
    eventually("it listens", lambda: '"listening"' in one.logs() or one.process.poll())
    assert one.process.poll() is None, one.logs()
