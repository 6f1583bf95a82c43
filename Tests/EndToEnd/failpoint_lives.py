"""Hosts of a debug build that die at a named place, again and again; and what they had acknowledged by then."""

import contextlib
import http.client
import json
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from daemon import ECHO, eventually
from swarm import KEY, Host

INSTANT = {**ECHO, "command": [*ECHO["command"], "--answer", "ok"], "aliases": ["phi3"]}
GONE = (OSError, http.client.HTTPException)


def names(root: Path) -> set[str]:
    """All failpoints, as Sources/Core/Failpoint.swift lists them."""
    source = (root / "Sources/Core/Failpoint.swift").read_text()
    return set(re.findall(r'^ +case \w+ = "([\w.]+)"$', source, re.M))


def places(root: Path) -> Counter:
    """How often each name stands in the code."""
    found: Counter = Counter()
    for file in (root / "Sources").rglob("*.swift"):
        found.update(re.findall(r'\bfailpoint(?:Throwing)?\("([\w.]+)"\)', file.read_text()))
    return found


class Life:
    """One host's many lives. Each ends at a failpoint; at the beginning of the next all is looked for that the one
    before acknowledged."""

    # All that there are: who made them closes them.
    made: ClassVar[list["Life"]] = []

    def __init__(self, binary: Path, home: Path, hits: Counter, seed: int = 1, key: str | None = KEY):
        file = {"models": [INSTANT], "mcp": {"mdns": False, "multicast": False}}
        self.host = Host(binary, home, file, [], {"MCP_ENCRYPTION_KEY": key} if key else {})
        self.made.append(self)
        self.hits = hits
        self.chance = random.Random(seed)
        self.talks: dict[str, list[str]] = {}
        self.deleted: set[str] = set()
        self.count = 0

    # What it is asked

    def turn(self, name: str = "talk") -> None:
        self.count += 1
        text = f"turn {self.count}"
        reply = self.host.say(text, name, timeout=10)
        assert reply.status < 400 or reply.status >= 500, reply.text
        if reply.status == 200:
            self.talks.setdefault(name, []).append(text)

    def delete(self) -> None:
        self.turn(name := f"short-{self.count}")
        # From here on it may be gone.
        self.talks.pop(name, None)
        if self.host.delete(name).status == 200:
            self.deleted.add(name)

    def check(self) -> None:
        """All that was acknowledged, once each, each with its answer."""
        for name, texts in self.talks.items():
            stored = self.host.context(name)["messages"]
            said = [message["content"] for message in stored]
            for text in texts:
                assert said.count(text) == 1, f"{text} of {name} is lost: {said[-6:]}"
                assert stored[said.index(text) + 1]["role"] == "assistant", text
        for name in self.deleted:
            assert self.host.context(name) is None, f"{name} is back"

    # Lives

    def start(self, armed: str | None = None) -> bool:
        """False where it died while it began."""
        self.host.environment.pop("IGRIS_FAILPOINTS", None)
        if armed:
            self.host.environment["IGRIS_FAILPOINTS"] = armed
        self.host.start(until=None)

        def state() -> str | None:
            if self.host.process.poll() is not None:
                return "dead"
            with contextlib.suppress(*GONE):
                return "ready" if self.host.fetch("/readyz", timeout=5).status == 200 else None
            return None

        if eventually(f"it is ready, or dead ({armed})", state, within=60) == "dead":
            code = self.host.process.returncode
            assert armed and code == -signal.SIGKILL, f"{armed}: ended with {code}\n{self.host.logs()[-3000:]}"
            return False
        return True

    def dies(self, name: str, act: Callable[[], object], at: int = 1) -> None:
        """A life that ends at that place, while `act` is done over and over."""
        if self.start(f"{name}=kill@{at}"):
            with contextlib.suppress(*GONE):
                self.check()
        deadline = time.monotonic() + 40
        while self.host.process.poll() is None:
            assert time.monotonic() < deadline, f"{name} is never reached\n{self.host.logs()[-3000:]}"
            with contextlib.suppress(*GONE):
                act()
            # A process that is killed answers nothing more, and is there for a moment.
            time.sleep(0.002)
        assert self.host.process.wait() == -signal.SIGKILL, f"{name}: {self.host.logs()[-3000:]}"
        self.hits[name] += 1

    def ends(self) -> None:
        """Whatever it went through: all is there, and it serves."""
        assert self.start()
        self.check()
        self.turn()
        self.check()
        verified = json.loads(self.host.own("verify", "--port", str(self.host.port), "--json"))
        assert verified, verified
        self.host.kill9()
