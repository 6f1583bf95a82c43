"""One bit wrong, somewhere in what a host keeps: it tells what was said or that it cannot, never something else, and
never ends without a word."""

import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from daemon import ECHO, Daemon, eventually

FLIPS = int(os.environ.get("IGRIS_FLIPS", 40))
SAID = [f"the true text {number}" for number in range(6)]
CONFIG = {"models": [{**ECHO, "aliases": ["phi3"]}], "mcp": {"mdns": False, "multicast": False}}
KINDS = {
    "the database": lambda path: path.suffix == ".db",
    "its log": lambda path: path.name.endswith(".db-wal"),
    "the keys": lambda path: path.name.endswith((".key", ".ring", ".epoch")),
    "the settings": lambda path: path.name == "config.json5",
}


@pytest.fixture(scope="module")
def killed(binary, tmp_path_factory):
    """What a killed host leaves: part of it only in the write-ahead log."""
    one = Daemon(binary, tmp_path_factory.mktemp("flips") / "home", CONFIG, [], {})
    try:
        one.start()
        for text in SAID:
            one.ask(text, conversation="c")
        one.true = one.texts("c")
        assert one.true[::2] == SAID
        one.kill9()
        yield one
    finally:
        one.close()


def flip(path: Path, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    bit = chance.randrange(len(content) * 8)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return f"bit {bit} of {path.name}"


@pytest.mark.parametrize("kind", KINDS)
def test_one_wrong_bit_is_never_read_as_something_else(killed, binary, tmp_path, kind):
    seen = {"ended": 0, "told": 0, "refused": 0}
    for seed in range(FLIPS // len(KINDS)):
        chance = random.Random(f"{kind} {seed}")
        # In place of the first one, which is its path to the store: it is part of the host's identity.
        shutil.rmtree(tmp_path / "kept", ignore_errors=True)
        # The socket that a killed daemon leaves behind is no file.
        shutil.copytree(killed.home, tmp_path / "kept", symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
        files = [path for path in sorted(killed.home.rglob("*")) if path.is_file() and KINDS[kind](path)]
        files = [path for path in files if path.stat().st_size]
        if not files:
            pytest.skip(f"{kind}: a killed host leaves no such file")
        what = flip(chance.choice(files), chance)
        try:
            outcome = start(killed, what)
            seen[outcome] += 1
        finally:
            killed.close()
            shutil.rmtree(killed.home)
            shutil.copytree(tmp_path / "kept", killed.home, symlinks=True)
    assert sum(seen.values()) == FLIPS // len(KINDS), seen
    print(f"RF-16: {sum(seen.values())} flips in {kind}: {seen}")


def start(one: Daemon, what: str) -> str:
    mark = len(one.logs())
    one.start(until=None)

    def lives() -> bool:
        if one.process.poll() is not None:
            return True
        with suppress(httpx.TransportError):
            return httpx.get(one.url + "/livez", timeout=5).status_code == 200
        return False

    eventually(f"{what}: it lives or has ended", lives)
    if one.process.poll() is not None:
        # In good order, with words: not by a signal.
        assert one.process.returncode in (1, 78), (what, one.process.returncode, one.logs()[mark:])
        assert one.logs()[mark:].strip(), what
        return "ended"
    reply = one.get("/v1/mcp/contexts/c")
    if reply.status_code == 200:
        texts = [message["content"] for message in reply.json()["messages"]]
        # What was not yet in the database when its log was damaged is gone; what is told is true.
        assert texts == one.true[: len(texts)], (what, texts)
        return "told"
    assert reply.status_code in (404, 500, 503), (what, reply.text)
    assert "the true text" not in reply.text
    return "refused"
