"""A model's file travels from one host to another: hash-checked, and taken up where it broke off."""

import hashlib
import json
import os
import random
from pathlib import Path

import httpx
import pytest

from daemon import eventually, recall
from swarm import Host

HELLO = [{"role": "user", "content": "Remember: my name is Alice"}]
ANSWER = "I will remember that your name is Alice"


@pytest.fixture
def big(root: Path, tmp_path: Path) -> Path:
    """A model with a long tail that no engine reads: a copy of it takes a moment."""
    path = tmp_path / "big.gguf"
    model = (root / "Models/igris-recall/igris-recall-q8_0.gguf").read_bytes()
    path.write_bytes(model + random.Random(7).randbytes(96 * 1024 * 1024))
    return path


@pytest.fixture
def pair(swarm, big):
    """A has the model, B has not. Both run it with the built-in engine, so that nothing must be installed."""
    two = swarm(2, start=False, env={"PATH": "/usr/bin:/bin"})
    a, b = two.hosts
    config = json.loads(a.config.read_text())
    config["models"] = [recall(), {"name": "big", "engine": "builtin", "path": str(big)}]
    a.config.write_text(json.dumps(config))
    config = json.loads(b.config.read_text())
    config["models"] = [recall()]
    b.config.write_text(json.dumps(config))
    two.start()
    digest = hashlib.sha256(big.read_bytes()).hexdigest()
    eventually("B knows what A has", lambda: digest_of(b, "big") == digest)
    return a, b, digest


def entry(host: Host, name: str) -> dict | None:
    return next((e for e in host.fetch("/v1/models").json["data"] if e["id"] == name), None)


def digest_of(host: Host, name: str) -> str | None:
    found = entry(host, name)
    return found and found["igris"].get("digest")


def copy(to: Host, **fields):
    """The lines of one copy, as they come."""
    body = {"host": "A", "model": "big", **fields}
    with httpx.stream("POST", f"{to.url}/v1/admin/model-copies", json=body, timeout=120) as reply:
        if reply.status_code != 200:
            yield {"status": reply.status_code, **json.loads(reply.read())}
            return
        for line in reply.iter_lines():
            yield json.loads(line)


def is_served(host: Host, digest: str) -> None:
    here = entry(host, "big")["igris"]
    assert here["here"] and here["source"] == "copied"
    eventually("its own digest", lambda: entry(host, "big")["igris"]["digest"] == digest)
    reply = host.fetch(
        "/v1/chat/completions", "POST", {"model": "big", "messages": HELLO, "store": False, "temperature": 0})
    assert reply.answer == ANSWER


def test_a_model_is_copied_checked_and_served(pair):
    a, b, digest = pair
    assert "copied big" in b.command("models", "copy", "A:big", within=90)
    is_served(b, digest)
    [file] = b.home.glob("state/**/models/*.gguf")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
    assert not list(b.home.glob("state/**/*.part"))
    assert "already" in b.command("models", "copy", "A:big", code=1)
    b.restart()
    is_served(b, digest)


def test_a_copy_goes_on_after_a_kill_of_either_side(pair):
    a, b, digest = pair
    total = None
    lines = copy(b)
    for line in lines:
        total = line["total"]
        if line["completed"] > total / 4:
            break
    b.kill9()
    lines.close()
    [part] = b.home.glob("state/**/*.part")
    kept = part.stat().st_size
    assert total / 4 < kept < total
    b.start()
    eventually("B is back", lambda: digest_of(b, "big") == digest)

    lines = copy(b)
    first = next(lines)
    assert first["completed"] == kept, "nothing is fetched again"
    for line in lines:
        if line["completed"] > total / 2:
            break
    a.kill9()
    # Pieces that were on their way may still come; then it waits for A.
    a.start()
    rest = list(lines)
    assert rest[-1] == {"status": "success", "model": "big"}, rest[-1]
    is_served(b, digest)


def test_a_file_that_changed_is_not_given(pair, big):
    a, b, digest = pair
    with big.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\0")
    last = list(copy(b))[-1]
    assert "changed" in last["error"]["message"]
    assert entry(b, "big")["igris"]["here"] is False


@pytest.mark.parametrize(
    ("fields", "word"), [({"host": "nobody"}, "peers"), ({"model": "nothing"}, "it has"), ({"name": " x"}, "name")])
def test_what_cannot_be_copied_is_said_at_once(pair, fields, word):
    [line] = list(copy(pair[1], **fields))
    assert line["status"] in (400, 404) and word in line["error"]["message"]


def test_only_hosts_of_the_swarm_are_given_model_files(pair):
    a, _, digest = pair
    for path in [f"/v1/sync/models/{digest}", "/v1/sync/models/..%2f..%2fetc%2fpasswd"]:
        assert a.fetch(path).status == 401
