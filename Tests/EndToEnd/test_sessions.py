"""Sessions for those who sign a nonce: keys that never travel. Zones of trust, and keys from this machine as well."""

import hashlib
import hmac
import os
import socket
import subprocess

import httpx
import pytest

from certificates import openssl
from daemon import PATIENCE, Daemon, eventually, recall
from test_auth import own_address
from test_tokens import make, revoke

KEY = "key-of-the-configuration"
CHAT = {"model": "phi3", "store": False, "messages": [{"role": "user", "content": "Remember: my name is Alice"}]}


class Robot:
    """Has a key of its own, and signs with it by the openssl program."""

    def __init__(self, folder):
        self.key = folder / "robot.pem"
        openssl("genpkey", "-algorithm", "ed25519", "-out", str(self.key))
        der = subprocess.run(
            ["openssl", "pkey", "-in", str(self.key), "-pubout", "-outform", "DER"], capture_output=True, check=True).stdout
        self.public_key = der[-32:].hex()

    def sign(self, message: str) -> str:
        file = self.key.with_suffix(".message")
        file.write_text(message)
        return subprocess.run(
            ["openssl", "pkeyutl", "-sign", "-inkey", str(self.key), "-rawin", "-in", str(file)],
            capture_output=True, check=True).stdout.hex()


def code(key: str, message: str) -> str:
    return hmac.new(hashlib.sha256(key.encode()).digest(), message.encode(), "sha256").hexdigest()


@pytest.fixture(scope="module")
def robot(tmp_path_factory) -> Robot:
    return Robot(tmp_path_factory.mktemp("robot"))


@pytest.fixture(scope="module")
def host(binary, tmp_path_factory, robot) -> Daemon:
    own_address()
    auth = {
        "keys": [{"name": "ann", "key": KEY}],
        "agents": [{"name": "robot", "public_key": robot.public_key, "scopes": ["read"]}],
    }
    config = {"models": [recall()], "auth": auth}
    one = Daemon(binary, tmp_path_factory.mktemp("sessions"), config, ["--host", "0.0.0.0"], {}).start()
    yield one
    one.close()


def call(host: Daemon, method: str, path: str, bearer: str | None = None, body=None, **headers) -> httpx.Response:
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        return client.request(method, f"http://{own_address()}:{host.port}{path}", json=body, headers=headers)


def challenge(host: Daemon, agent: str) -> dict:
    made = call(host, "POST", "/v1/auth/challenge", body={"agent_id": agent})
    assert made.status_code == 200, made.text
    return made.json()


def answer(host: Daemon, nonce: str, signature: str) -> httpx.Response:
    return call(host, "POST", "/v1/auth/session", body={"nonce": nonce, "signature": signature})


def session(host: Daemon, agent: str, sign) -> str:
    made = challenge(host, agent)
    opened = answer(host, made["nonce"], sign(made["message"]))
    assert opened.status_code == 201, opened.text
    assert opened.json()["expires_in"] == 900 and opened.headers["cache-control"] == "no-store"
    return opened.json()["token"]


def test_a_key_opens_a_session_without_being_sent(host):
    bearer = session(host, "ann", lambda message: code(KEY, message))
    assert bearer.startswith("igs_")
    chat = call(host, "POST", "/v1/chat/completions", bearer, {**CHAT, "store": True},
                **{"x-conversation-id": "talk-of-ann"})
    assert chat.status_code == 200
    # It is ann who spoke.
    assert call(host, "GET", "/v1/mcp/contexts/talk-of-ann", KEY).status_code == 200
    who = call(host, "GET", "/v1/auth/identity", bearer).json()
    assert who == {"caller": "key:ann", "scopes": ["chat", "read"], "zone": "trusted", "trust": 0.7}
    assert call(host, "GET", "/v1/admin/tokens", bearer).status_code == 403
    assert call(host, "GET", "/v1/models", **{"x-api-key": bearer}).status_code == 200


def test_a_key_pair_opens_a_session_for_what_its_agent_may(host, robot):
    bearer = session(host, "robot", robot.sign)
    assert call(host, "GET", "/v1/status", bearer).status_code == 200
    assert call(host, "POST", "/v1/chat/completions", bearer, CHAT).status_code == 403


def test_a_replayed_nonce_opens_nothing(host):
    made = challenge(host, "ann")
    signature = code(KEY, made["message"])
    assert answer(host, made["nonce"], signature).status_code == 201
    replayed = answer(host, made["nonce"], signature)
    assert replayed.status_code == 401
    assert replayed.headers["www-authenticate"].startswith("Bearer")
    # A wrong answer uses it up as well.
    made = challenge(host, "ann")
    assert answer(host, made["nonce"], "00" * 32).status_code == 401
    assert answer(host, made["nonce"], code(KEY, made["message"])).status_code == 401
    eventually("it is in the audit log", lambda: any(
        entry["action"] == "POST /v1/auth/session" and entry["status"] == 401
        for entry in host.get("/v1/admin/audit").json()["data"]))


def test_only_the_right_signature_for_the_right_name_counts(host, robot):
    for agent, sign in [
        ("robot", lambda message: code(KEY, message)), ("ann", robot.sign), ("nobody", lambda message: code(KEY, message)),
        ("ann", lambda message: code("wrong", message)), ("ann", lambda message: code(KEY, message + " ")),
        ("ann", lambda message: hmac.new(KEY.encode(), message.encode(), "sha256").hexdigest()),
    ]:
        made = challenge(host, agent)
        refused = answer(host, made["nonce"], sign(made["message"]))
        assert refused.status_code == 401, agent
    # One made for somebody else.
    first, second = challenge(host, "ann"), challenge(host, "ann")
    assert answer(host, first["nonce"], code(KEY, second["message"])).status_code == 401
    assert call(host, "GET", "/v1/models", "igs_" + "0" * 43).status_code == 401


@pytest.mark.parametrize("path, body", [
    ("/v1/auth/challenge", {}), ("/v1/auth/challenge", {"agent_id": "a b"}), ("/v1/auth/challenge", {"agent_id": "a" * 200}),
    ("/v1/auth/session", {}), ("/v1/auth/session", {"nonce": "00", "signature": "00" * 32}),
    ("/v1/auth/session", {"nonce": "00" * 32, "signature": "zz" * 32}), ("/v1/auth/session", {"nonce": 1, "signature": 2}),
])
def test_what_is_no_question_is_a_400(host, path, body):
    assert call(host, "POST", path, body=body).status_code == 400


def test_a_session_of_a_token_ends_with_the_token(host):
    token = make(host, "phone")
    bearer = session(host, "phone", lambda message: code(token, message))
    assert call(host, "GET", "/v1/models", bearer).status_code == 200
    assert revoke(host, "phone").returncode == 0
    assert call(host, "GET", "/v1/models", bearer).status_code == 401


def test_no_stranger_takes_all_nonces(host):
    statuses = [call(host, "POST", "/v1/auth/challenge", body={"agent_id": "x"}).status_code for _ in range(80)]
    assert 429 in statuses
    # From elsewhere there are still some.
    assert host_challenge_from_loopback(host) == 200


def host_challenge_from_loopback(host: Daemon) -> int:
    return httpx.post(f"{host.url}/v1/auth/challenge", json={"agent_id": "ann"}, timeout=PATIENCE).status_code


def test_nothing_of_it_is_in_the_log(host):
    assert KEY not in host.logs() and "igs_" not in host.logs()
    metrics = host.metrics()
    assert metrics['igris_auth_sessions_total{outcome="opened"}'] > 0
    assert metrics['igris_auth_sessions_total{outcome="refused"}'] > 0


# Zones


@pytest.fixture
def outside(daemon):
    """A host to which every address but loopback is external."""
    auth = {"keys": [{"name": "ann", "key": KEY}], "external_networks": ["0.0.0.0/0", "::/0"]}
    return daemon(config={"auth": auth}, args=["--host", "0.0.0.0"])


def test_from_the_external_zone_things_can_be_read_and_nothing_else(outside):
    one = outside
    who = call(one, "GET", "/v1/auth/identity", KEY).json()
    assert (who["zone"], who["trust"]) == ("external", 0.5)
    for path in ("/v1/models", "/v1/status", "/v1/mcp/contexts", "/metrics"):
        assert call(one, "GET", path, KEY).status_code == 200, path
    assert call(one, "POST", "/api/show", KEY, {"model": "phi3"}).status_code == 200
    token = make(one, "operator", "--scope", "admin")
    for method, path, body in [
        ("POST", "/v1/chat/completions", CHAT), ("POST", "/v1/messages", {**CHAT, "max_tokens": 4}),
        ("DELETE", "/v1/mcp/contexts/talk", None), ("POST", "/v1/conversations", {}), ("POST", "/api/chat", CHAT),
        ("POST", "/v1/admin/tokens", {"name": "x"}), ("GET", "/v1/admin/tokens", None), ("POST", "/v1/swarm/rotate", {}),
    ]:
        refused = call(one, method, path, token, body)
        assert refused.status_code == 403, f"{method} {path}: {refused.text}"
    assert "external zone" in call(one, "POST", "/v1/chat/completions", KEY, CHAT).json()["error"]["message"]
    assert call(one, "GET", "/v1/models", "wrong-key-0").status_code == 401
    # The machine itself is none of it.
    assert one.ask("hello")

    def audited() -> bool:
        entries = one.get("/v1/admin/audit").json()["data"]
        written = {(entry["kind"], entry["action"], entry["status"]) for entry in entries}
        return ("denied", "POST /v1/chat/completions", 403) in written and ("external", "GET /v1/status", 200) in written

    eventually("both are in the audit log", audited)


def test_a_trusted_network_is_named_in_the_settings(daemon):
    address = own_address()
    auth = {"keys": [{"name": "ann", "key": KEY}], "trusted_networks": [f"{address}/32"]}
    one = daemon(config={"auth": auth}, args=["--host", "0.0.0.0"])
    assert call(one, "GET", "/v1/auth/identity", KEY).json()["zone"] == "trusted"
    assert call(one, "POST", "/v1/chat/completions", KEY, CHAT).status_code == 200
    assert one.get("/v1/auth/identity").json() == {
        "caller": "local", "scopes": ["chat", "read", "admin"], "zone": "local", "trust": 0.9}


# Keys from everyone


def test_where_a_key_is_always_required_this_machine_needs_one_too(daemon):
    auth = {"keys": [{"name": "ann", "key": KEY}], "required": "always"}
    one = daemon(config={"auth": auth}, start=False)
    one.start(until=None)

    def ask(path: str = "/v1/models", key: str | None = None) -> httpx.Response | None:
        try:
            return httpx.get(one.url + path, headers={"x-api-key": key} if key else {}, timeout=PATIENCE)
        except httpx.TransportError:
            return None

    eventually("it listens", lambda: ask(key=KEY) is not None and ask("/readyz", KEY).status_code == 200)
    for path in ("/v1/models", "/v1/status", "/livez", "/"):
        refused = ask(path)
        assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Bearer")
        assert "auth.required" in refused.json()["error"]["message"]
    assert ask("/v1/models", KEY).status_code == 200
    # A key that lies in every client does not become an administrator's by being used here.
    assert ask("/v1/admin/tokens", KEY).status_code == 403
    # The verbs of the daemon's own user go by the socket.
    printed = subprocess.run(
        [str(one.binary), "status", "--port", str(one.port)], cwd=one.home, env=one.environment, capture_output=True, text=True,
        timeout=60, stdin=subprocess.DEVNULL)
    assert printed.returncode == 0, printed.stderr
