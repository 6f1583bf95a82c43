"""kill -9 by the thousand: several daemons at once, each killed at random moments while turns are written to it, and
started again at once. After each start one conversation is looked at, after 250 kills and at the end all of them: every
acknowledged turn must be there once, followed by its answer. Then it goes on with an empty home: each kill costs an
epoch, and no host has thousands.

`make soak-kills KILLS=10000`; also run as a test with a few kills (test_soak_kills.py).
"""

import argparse
import contextlib
import http.client
import json
import random
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from daemon import ENGINES
from swarm import Host

# It answers within milliseconds of its start: most lives are to end while turns are written.
INSTANT = {
    "name": "instant", "engine": "stdio", "protocol": "jsonl", "command": ["/bin/sh", str(ENGINES / "instant.sh")],
    "aliases": ["phi3"],
}
CONFIG = {
    "models": [INSTANT], "mcp": {"mdns": False, "multicast": False, "enabled": True}, "context": {"durability": "fsync"},
}
GONE = (OSError, http.client.HTTPException)
# Short enough to be read often.
PER_CONVERSATION = 40
KILLS_PER_HOME = 250


class Prey:
    """One daemon, killed over and over by a thread of its own."""

    def __init__(self, binary: Path, home: Path, seed: int, writers: int):
        self.binary, self.home = binary, home
        self.homes = 0
        self.move()
        self.chance = random.Random(seed)
        self.writers = writers
        self.lock = threading.Lock()
        self.kills = self.turns = self.acknowledged = self.looks = self.silent = 0
        self.lost: list[str] = []
        # Something was acknowledged in this life.
        self.written = threading.Event()

    def move(self) -> None:
        """To an empty home."""
        self.homes += 1
        self.host = Host(self.binary, self.home / str(self.homes), CONFIG, [], {})
        self.talks: dict[str, list[str]] = {}

    def live(self) -> None:
        """One life: from the start to the kill."""
        self.host.start(until=None)
        before = self.acknowledged
        self.written.clear()
        threads = [threading.Thread(target=self.write, args=(number,)) for number in range(self.writers)]
        kind = self.chance.random()
        # Some die while they begin, some soon after; most while they write.
        if kind > 0.1:
            self.answers(time.monotonic() + 30)
            self.look()
        for thread in threads:
            thread.start()
        if kind > 0.3:
            self.written.wait(10)
        time.sleep(self.chance.uniform(0.0, 0.1))
        self.host.kill9()
        for thread in threads:
            thread.join()
        self.kills += 1
        self.silent += self.acknowledged == before
        if self.kills % KILLS_PER_HOME == 0:
            self.close()
            self.move()

    def answers(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.host.port), timeout=5):
                return
            if self.host.process.poll() is not None:
                raise AssertionError(f"ended with {self.host.process.returncode}\n{self.host.logs()[-3000:]}")
            time.sleep(0.003)
        raise AssertionError(f"does not listen\n{self.host.logs()[-3000:]}")

    def write(self, writer: int) -> None:
        """One turn after the other over one connection, until nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=10)
        while self.host.process.poll() is None:
            with self.lock:
                self.turns += 1
                number = self.turns
                name = f"talk-{writer}-{number // PER_CONVERSATION}"
            body = json.dumps({
                "model": "phi3", "conversation": name, "messages": [{"role": "user", "content": f"turn {number}"}]})
            try:
                connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
                reply = connection.getresponse()
                reply.read()
            except GONE:
                connection.close()
                time.sleep(0.003)
                continue
            if reply.status == 200:
                with self.lock:
                    self.talks.setdefault(name, []).append(f"turn {number}")
                    self.acknowledged += 1
                self.written.set()
        connection.close()

    def look(self, name: str | None = None) -> None:
        """At one conversation."""
        if name is None:
            if not self.talks:
                return
            # A young one half of the time.
            names = list(self.talks)
            name = self.chance.choice(names[-4:] if self.chance.random() < 0.5 else names)
        context = self.host.context(name)
        said = [message["content"] for message in context["messages"]] if context else []
        roles = [message["role"] for message in context["messages"]] if context else []
        for text in self.talks[name]:
            place = said.index(text) if said.count(text) == 1 else None
            if place is None or roles[place + 1:place + 2] != ["assistant"]:
                self.lost.append(f"{self.host.home}: {text} of {name} after {self.kills} kills")
        self.looks += 1

    def close(self) -> None:
        self.host.start(until="/readyz")
        for name in self.talks:
            self.look(name)
        # Exits with 1 where a row does not open.
        self.host.own("verify", "--port", str(self.host.port))
        self.host.kill9()


def soak(binary: Path, folder: Path, kills: int, daemons: int, seed: int, writers: int = 2) -> dict[str, float]:
    prey = [Prey(binary, folder / f"d{number}", seed + number, writers) for number in range(daemons)]
    failures: list[str] = []
    begin = time.monotonic()
    left = threading.Semaphore(kills)

    def hunt(one: Prey) -> None:
        try:
            while not one.lost and not failures and left.acquire(blocking=False):
                one.live()
            one.close()
        except BaseException as error:
            failures.append(f"{one.host.home}: {error!r}")

    threads = [threading.Thread(target=hunt, args=(one,)) for one in prey]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(30 / len(threads))
        done = sum(one.kills for one in prey)
        if kills >= 500 and done:
            minutes = (time.monotonic() - begin) / 60
            print(
                f"{done} kills, {done / minutes:.0f} a minute, {sum(one.acknowledged for one in prey)} turns "
                f"acknowledged", file=sys.stderr, flush=True)
    took = time.monotonic() - begin
    for one in prey:
        one.host.close()
    assert not failures, failures
    return {
        "kills": sum(one.kills for one in prey), "per_minute": sum(one.kills for one in prey) / took * 60,
        "acknowledged": sum(one.acknowledged for one in prey), "looks": sum(one.looks for one in prey),
        "silent": sum(one.silent for one in prey), "lost": [text for one in prey for text in one.lost],
    }


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--binary", type=Path, required=True)
    options.add_argument("--kills", type=int, default=10_000)
    options.add_argument("--daemons", type=int, default=3)
    options.add_argument("--seed", type=int, default=20261122)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="igris-kills-") as folder:
        found = soak(chosen.binary.resolve(), Path(folder), chosen.kills, chosen.daemons, chosen.seed)
    print(
        f"{found['kills']} kills ({found['per_minute']:.0f} a minute), seed {chosen.seed}: {found['acknowledged']} turns "
        f"acknowledged, {found['silent']} lives without one, {found['looks']} looks at conversations, {len(found['lost'])} turns lost")
    for text in found["lost"][:50]:
        print(f"  {text}")
    return 1 if found["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
