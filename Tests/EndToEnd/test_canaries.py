"""Words that were planted, and every place in which they must not turn up: files, logs, metrics, pages, errors, and
what two hosts send one another."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from daemon import ECHO, Daemon, eventually, recall
from swarm import Tap, capture
from test_swarm_cli import run
from wire import exchange

TEXT = "Quintaval-Kerestes"
API_KEY = "canary-api-key-7d1f0c9b2e"
WRONG_KEY = "canary-wrong-key-5a5b5c"
SWARM_KEY = "ca7a7e" * 10 + "c0de"
# Also as bytes: a key that is written as itself is as bad as its digits.
SECRETS = {
    "the text": TEXT.encode(), "the API key": API_KEY.encode(), "a wrong API key": WRONG_KEY.encode(),
    "the swarm's key": SWARM_KEY.encode(), "the bytes of the swarm's key": bytes.fromhex(SWARM_KEY),
}
PAGES = [
    "/metrics", "/v1/status", "/v1/logs?limit=1000", "/v1/mcp/peers", "/v1/swarm/status", "/v1/swarm/nodes",
    "/v1/swarm/topology", "/v1/models", "/readyz", "/v1/route/explain?model=echo", "/openapi.yaml",
]


def config(seeds: list[str]) -> dict:
    return {
        "models": [ECHO, recall()], "log": {"level": "trace", "format": "json"},
        "auth": {"keys": [{"name": "ann", "key": "${CANARY_KEY}"}]},
        "mcp": {"mdns": False, "multicast": False, "seeds": seeds, "encryption_key": "${MCP_ENCRYPTION_KEY}"},
    }


@pytest.fixture(scope="module")
def planted(binary, tmp_path_factory):
    """Two hosts, everything said on one and known to the other; what both pages and wire showed meanwhile."""
    home = tmp_path_factory.mktemp("canaries")
    environment = {"CANARY_KEY": API_KEY, "MCP_ENCRYPTION_KEY": SWARM_KEY}
    shown: dict[str, bytes] = {}
    one = Daemon(binary, home / "one", config([]), [], environment)
    hosts, dump = [one], None
    tap = None
    try:
        one.start()
        tap = Tap(one.port)
        two = Daemon(binary, home / "two", config([f"127.0.0.1:{tap.port}"]), [], environment)
        hosts.append(two)
        if shutil.which("tcpdump") and os.geteuid() == 0:
            dump = capture([tap.port], home / "wire.pcap")
            next(dump)
        two.start()
        headers = {"Authorization": f"Bearer {API_KEY}"}
        for number in range(5):
            text = one.ask(f"{TEXT} {number}", headers, model="echo", conversation="c", user=TEXT)
            assert TEXT in text
        bad = {
            "wrong key": httpx.get(one.url + "/v1/models", headers={"Authorization": f"Bearer {WRONG_KEY}"}),
            "wrong key, other header": httpx.get(one.url + "/v1/models", headers={"x-api-key": WRONG_KEY}),
            "no such model": one.post(TEXT, headers, model="none"),
            "too long": one.post((TEXT + " ") * 5_000, headers, model="igris-recall"),
            "no such conversation": one.get("/v1/mcp/contexts/none", headers=headers),
            "broken JSON": httpx.post(
                one.url + "/v1/chat/completions", content=f'{{"model": "echo", "messages": ["{TEXT}', headers=headers),
            "wrong role": httpx.post(
                one.url + "/v1/messages", headers=headers,
                json={"model": "echo", "max_tokens": 9, "messages": [{"role": "robot", "content": TEXT}]}),
        }
        for name, reply in bad.items():
            assert 400 <= reply.status_code < 500, (name, reply.text)
            shown[f"the error of: {name}"] = reply.content + str(reply.headers).encode()
        raw = f"GET /v1/models HTTP/1.1\r\nHost: {TEXT}\r\nAuthorization: Bearer {WRONG_KEY}\r\n\r\n".encode()
        shown["the error of: a strange host"] = exchange(one.port, raw).body
        # The other host has it all.
        eventually("all of it on the other host", lambda: len(known(two, headers)) == 10)
        for host, name in ((one, "one"), (two, "two")):
            for page in PAGES:
                shown[f"{page} of {name}"] = httpx.get(host.url + page, headers=headers, timeout=30).content
            for path in Path(f"/proc/{host.pid}/task").glob("*/comm"):
                shown[f"{path}"] = path.read_bytes()
            for verb, file in (("debug bundle", "bundle.tar"), ("backup", "backup")):
                place = ["--config", str(host.config), "--port", str(host.port)]
                done = run(host, *verb.split(), str(host.home / file), *place)
                assert done.returncode == 0, done.stderr
                shown[f"{verb} of {name}"] = (host.home / file).read_bytes()
                shown[f"what {verb} of {name} said"] = (done.stdout + done.stderr).encode()
            shown[f"the command line of {name}"] = Path(f"/proc/{host.pid}/cmdline").read_bytes()
        for path in home.rglob("*"):
            if path.is_file() and path.name != "wire.pcap":
                with suppress(OSError):
                    shown[f"running: {path.relative_to(home)}"] = path.read_bytes()
        two.kill9()
        one.stop()
        if dump:
            next(dump, None)
            shown["the wire, by tcpdump"] = (home / "wire.pcap").read_bytes()
        shown["the wire, by the relay"] = bytes(tap.carried)
        for path in home.rglob("*"):
            if path.is_file() and path.name != "wire.pcap":
                shown[f"ended: {path.relative_to(home)}"] = path.read_bytes()
        yield shown
    finally:
        if tap:
            tap.close()
        for host in hosts:
            host.close()


def known(host: Daemon, headers: dict[str, str]) -> list:
    reply = host.get("/v1/mcp/contexts/c", headers=headers)
    return reply.json()["messages"] if reply.status_code == 200 else []


def test_there_is_something_to_look_at(planted):
    assert len(planted) > 40
    assert len(planted["the wire, by the relay"]) > 2_000
    assert any(name.endswith(".db") and len(content) > 4_096 for name, content in planted.items())
    assert any(name.endswith("daemon.log") and b"debug" in content for name, content in planted.items())


@pytest.mark.parametrize("secret", SECRETS)
def test_it_is_found_nowhere(planted, secret):
    assert [name for name, content in planted.items() if SECRETS[secret] in content] == []
