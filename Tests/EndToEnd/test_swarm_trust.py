"""Who is let in: holders of the swarm's key, and nobody else; and nothing readable on the wire."""

import base64
import os
import shutil
import socket
import ssl
import time

import pytest

from daemon import eventually
from swarm import FOUND, HEALED, KEY, OTHER_KEY, Tap, capture, wait_for

SECRETS = ["Quintaval", "planted-conversation", "planted-user", KEY]


def plain_tls() -> ssl.SSLContext:
    """TLS of a stranger: no certificate of the swarm, and none asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def stranger(host, path: str, headers: dict[str, str] | None = None) -> int | None:
    """The status that a stranger gets over TLS on the host's one port; None where the handshake itself is refused."""
    try:
        with socket.create_connection(("127.0.0.1", host.port), timeout=10) as raw:
            with plain_tls().wrap_socket(raw) as connection:
                lines = [f"GET {path} HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in (headers or {}).items())]
                connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
                answer = connection.recv(4096)
                return int(answer.split(b" ")[1]) if answer else None
    except ssl.SSLError:
        return None


UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
}


@pytest.mark.parametrize("path", ["/v1/swarm/ws", "/v1/swarm/work", "/v1/swarm/tunnel", "/v1/sync/snapshot", "/v1/sync/vector", "/v1/sync/streams", "/v1/sync/anything"])
def test_routes_for_peers_answer_strangers_with_401(swarm, path):
    a, b = swarm(2).hosts
    a.hear("Quintaval", "talk")
    upgrade = UPGRADE if path.endswith("/ws") else {}
    # In the clear: no certificate at all.
    reply = a.fetch(path, headers=upgrade)
    assert reply.status == 401, reply.text
    assert reply.json["error"]["code"]
    # Over TLS without the swarm's certificate: 401, or not even a handshake.
    assert stranger(a, path, upgrade) in (401, None)
    # The members do not mind.
    assert a.state_of(b) == "alive"


def test_a_self_made_certificate_is_no_certificate(swarm, tmp_path):
    a, _ = swarm(2).hosts
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    if os.system(
        f"openssl req -x509 -newkey ed25519 -nodes -keyout {key} -out {certificate} -subj /CN=igris -days 1 2>/dev/null"
    ):
        pytest.skip("no openssl program here")
    context = plain_tls()
    context.load_cert_chain(certificate, key)
    try:
        with socket.create_connection(("127.0.0.1", a.port), timeout=10) as raw:
            with context.wrap_socket(raw) as connection:
                lines = ["GET /v1/swarm/ws HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in UPGRADE.items())]
                connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
                answer = connection.recv(4096)
    except (ssl.SSLError, ConnectionError):
        return
    assert not answer or answer.split(b" ")[1] == b"401", answer


def test_garbage_on_the_port_hurts_nobody(swarm):
    a, b = swarm(2).hosts
    for blob in (b"\x16", b"\x16\x03\x01\xff\xff" + os.urandom(200), b"\x16" * 70_000, os.urandom(5000)):
        with socket.create_connection(("127.0.0.1", a.port), timeout=5) as raw:
            try:
                raw.sendall(blob)
                raw.shutdown(socket.SHUT_WR)
                raw.settimeout(5)
                while raw.recv(65536):
                    pass
            except OSError:
                pass
    assert a.hear("still here", "talk") == "1: still here"
    assert a.state_of(b) == "alive" and b.state_of(a) == "alive"


def test_a_handshake_that_never_ends_is_cut_off(swarm):
    a = swarm(1).hosts[0]
    with socket.create_connection(("127.0.0.1", a.port), timeout=30) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))
        begin = time.monotonic()
        try:
            while raw.recv(4096):
                pass
        except ConnectionError:
            pass
        assert time.monotonic() - begin < 25


def test_a_host_with_another_key_is_foreign_on_both_sides_and_gets_nothing(swarm):
    pair = swarm(2, start=False)
    a, b = pair.hosts
    b.environment["MCP_ENCRYPTION_KEY"] = OTHER_KEY
    for host in pair.hosts:
        host.start()
    a.hear("Quintaval", "talk")
    for here, there in ((a, b), (b, a)):
        row = wait_for(lambda: f"foreign: {here.peers()}", lambda: is_foreign(here, there), FOUND)
        assert "key" in row["why_not"], row
    assert b.context("talk") is None and b.status()["operations"] == 0
    assert a.alive() == b.alive() == 0


def is_foreign(here, there):
    row = here.peer(there)
    return row if row and row["state"] == "foreign" else None


def test_no_text_on_the_wire(swarm, tmp_path):
    """Between the hosts lies a relay that sees all they say; where tcpdump can run, it looks as well."""
    pair = swarm(2, start=False)
    a, b = pair.hosts
    a.start()
    tap = Tap(a.port)
    pair.configure(b, seeds=[f"127.0.0.1:{tap.port}"])
    # A may not go around the relay.
    pair.configure(a, seeds=[])
    a.restart()
    file = tmp_path / "wire.pcap"
    # The clients' own requests are in the clear, on another connection: only the relay's port is looked at.
    dump = capture([tap.port], file) if shutil.which("tcpdump") and os.getuid() == 0 else None
    try:
        if dump:
            next(dump)
        b.start()
        wait_for(lambda: f"linked: {b.peers()}", lambda: b.alive() == 1 and a.alive() == 1, FOUND)
        for number in range(20):
            fields = {"user": "planted-user"}
            a.hear(f"Quintaval {number}", "planted-conversation", fields=fields)
            eventually("on B", lambda: b.status()["operations"] == a.status()["operations"], within=5)
            b.hear(f"Quintaval back {number}", "planted-conversation", fields=fields)
        pair.equal()
        if dump:
            time.sleep(0.5)
            next(dump, None)
        assert len(tap.carried) > 2000, "the relay was not on the way"
        seen = [bytes(tap.carried)] + ([file.read_bytes()] if dump else [])
        if dump:
            assert len(seen[1]) > 2000, "tcpdump saw nothing"
        for word in SECRETS:
            assert not any(word.encode() in data for data in seen), word
    finally:
        tap.close()


# Open


def test_open_hosts_find_one_another_without_a_key_and_say_so_loudly(swarm):
    pair = swarm(2, key=None, found_by="multicast", config={"mcp": {"open": True}})
    a, b = pair.hosts
    a.hear("for everyone", "talk")
    pair.equal()
    assert b.texts("talk")[0] == "for everyone"
    for host in pair.hosts:
        assert host.status()["security"] == "open"
        assert "open" in host.logs().lower()
        assert "open" in host.command("status") and "open" in host.command("swarm", "status")


def test_an_open_and_a_keyed_host_never_talk(swarm):
    pair = swarm(2, start=False)
    a, b = pair.hosts
    b.environment.pop("MCP_ENCRYPTION_KEY")
    pair.configure(b, open=True)
    for host in pair.hosts:
        host.start()
    a.hear("not for everyone", "talk")
    for here, there in ((a, b), (b, a)):
        row = wait_for(
            lambda: f"kept apart: {here.peers()}",
            lambda: (row := here.peer(there)) and row["state"] in ("incompatible", "foreign") and row, FOUND)
        assert "open" in row["why_not"] or "key" in row["why_not"], row
    assert b.context("talk") is None
    assert a.alive() == b.alive() == 0


# The key file: `igris-runtime swarm key`, `join`


def test_a_further_machine_joins_with_the_key_that_the_first_shows(swarm):
    pair = swarm(2, key=None, start=False)
    a, b = pair.hosts
    a.start()
    key = a.swarm_key()
    assert len(key) >= 40
    # Without being asked for, it is not shown.
    assert key not in a.own("swarm", "key")
    b.own("swarm", "join", key)
    b.start()
    pair.together()
    a.hear("shared", "talk")
    pair.equal()
    assert b.texts("talk") == ["shared", "1: shared"]
    assert key not in a.logs() + b.logs()


def test_a_key_that_is_none_is_refused(swarm):
    a = swarm(1, key=None).hosts[0]
    before = a.swarm_key()
    for wrong in ("short", ""):
        out = a.own("swarm", "join", wrong, code=None)
        assert "key" in out.lower()
    assert a.swarm_key() == before


# Eviction and rotation


def test_an_evicted_host_is_kept_out_for_good(swarm):
    three = swarm(3, key=None, start=False)
    shared_key(three)
    a, b, c = three.hosts
    lost = c.id
    a.command("swarm", "evict", lost)
    for host in (a, b):
        wait_for(lambda: f"C evicted: {host.peers()}", lambda: state_by_id(host, lost) == "evicted", HEALED)
    wait_for(lambda: f"C is alone: {c.peers()}", lambda: c.alive() == 0, HEALED)
    knows_of_its_eviction(c)
    a.hear("Quintaval", "talk")
    eventually("on B", lambda: len(b.texts("talk")) == 2, within=HEALED)
    # Nor does it come back by being started again, at either side.
    for host in (c, b):
        host.kill9()
        host.start()
    wait_for(lambda: f"A and B: {a.peers()}", lambda: a.state_of(b) == "alive", HEALED)
    time.sleep(2)
    assert c.context("talk") is None
    assert state_by_id(b, lost) != "alive" and state_by_id(a, lost) != "alive" and c.alive() == 0
    knows_of_its_eviction(c)


def knows_of_its_eviction(host):
    def own() -> dict:
        rows = host.fetch("/v1/swarm/nodes").json["nodes"]
        return next(row for row in rows if row["self"])

    wait_for(lambda: f"it knows: {own()}", lambda: own()["state"] == "evicted", HEALED)
    assert "node.key" in own()["why_not"]
    assert any("evicted" in warning for warning in host.status()["warnings"])
    assert "evicted" in host.command("status", code=None)
    assert "this host was evicted" in host.logs()
    assert host.status()["links"]["own"] == 0


def test_a_host_that_was_away_when_it_was_evicted_learns_of_it_at_the_door(swarm):
    three = swarm(3, key=None, start=False)
    shared_key(three)
    a, b, c = three.hosts
    lost = c.id
    c.kill9()
    wait_for(lambda: f"C dead: {a.peers()}", lambda: a.state_of(c) == "dead", 11)
    # B stands still, so that the old key counts on: C gets as far as the door.
    b.freeze()
    a.command("swarm", "evict", lost, code=None)
    c.start()
    knows_of_its_eviction(c)
    b.thaw()


def state_by_id(host, node):
    row = next((row for row in host.peers() if row["id"] == node), None)
    return row["state"] if row else None


def shared_key(group) -> str:
    """Gives the group the key of its first host, through the commands; starts all."""
    first, *others = group.hosts
    first.start()
    key = first.swarm_key()
    for host in others:
        host.own("swarm", "join", key)
        host.start(until=None)
    for host in others:
        host.wait_until("/readyz")
    group.together()
    return key


def test_rotation_reaches_a_host_that_was_away(swarm):
    three = swarm(3, key=None, start=False)
    old = shared_key(three)
    a, b, c = three.hosts
    before = a.status()["swarm"]
    a.hear("before", "talk")
    three.equal()
    c.kill9()
    wait_for(lambda: f"C dead: {a.peers()}", lambda: a.state_of(c) == "dead", 11)
    # It goes on by itself: nobody waits for the one that is away.
    a.command("swarm", "rotate", "--wait", "0")
    wait_for(
        lambda: f"a new swarm: {a.status()} {b.status()}",
        lambda: a.status()["swarm"] == b.status()["swarm"] != before, 2 * HEALED)
    three.together(hosts=[a, b])
    b.hear("after", "talk")
    c.start()
    # It holds the old key only, is let in with that, and gets the new one.
    three.together(within=2 * HEALED)
    three.equal(within=2 * HEALED)
    wait_for(lambda: f"C has the new key: {c.status()}", lambda: c.status()["swarm"] == a.status()["swarm"], HEALED)
    assert a.swarm_key() == c.swarm_key() != old
    wait_for(lambda: f"retired: {a.status()}", lambda: a.status()["rotation"]["phase"] == "retired", 2 * HEALED)
    # The new key stands on disk at all three.
    for host in three.hosts:
        host.kill9()
        host.start(until=None)
    for host in three.hosts:
        host.wait_until("/readyz")
    three.together()
    assert b.hear("and on", "talk") == "5: before | after | and on"


def test_a_holder_of_a_retired_key_is_foreign(swarm):
    pair = swarm(2, key=None, start=False)
    old = shared_key(pair)
    a, b = pair.hosts
    before = a.status()["swarm"]
    a.command("swarm", "rotate", within=60)
    wait_for(
        lambda: f"rotated: {a.status()}",
        lambda: a.status()["swarm"] == b.status()["swarm"] != before
        and (a.status()["rotation"] or {}).get("phase", "retired") == "retired", 2 * HEALED)
    thief = pair.host("thief")
    thief.own("swarm", "join", old)
    thief.start()
    a.hear("Quintaval", "talk")
    time.sleep(2)
    assert thief.alive() == 0 and thief.context("talk") is None
