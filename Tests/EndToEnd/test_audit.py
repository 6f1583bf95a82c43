"""Who was refused, and who changed what: kept, copied, chained, and silent about everything else."""

import contextlib
import json
import sqlite3
import subprocess

import httpx
import pytest

from daemon import PATIENCE, eventually
from test_auth import own_address
from test_swarm_cli import run
from test_tokens import LAN, get, make, revoke, status


def entries(daemon, *arguments: str) -> list[dict]:
    shown = run(daemon, "audit", "--json", "--port", str(daemon.port), *arguments)
    assert shown.returncode == 0, shown.stderr
    return [json.loads(line) for line in shown.stdout.splitlines()]


def verified(daemon, *arguments: str) -> subprocess.CompletedProcess:
    return run(daemon, "audit", "verify", "--port", str(daemon.port), *arguments)


def test_what_was_refused_and_what_was_changed_is_told_and_nothing_else(daemon):
    address = own_address()
    one = daemon(args=LAN)
    token = make(one, "phone")
    one.ask("The planted word is Quintaval", conversation="talk")
    assert revoke(one, "phone").returncode == 0
    for _ in range(20):
        assert status(one, token, "/v1/models?planted-query=1") == 401
    assert get(address, one.port, "/planted-path", None).status_code == 401
    told = entries(one)
    assert [(entry["kind"], entry["action"], entry["target"], entry["status"]) for entry in told[:2]] == [
        ("privileged", "POST /v1/admin/tokens", "phone", 201),
        ("privileged", "DELETE /v1/admin/tokens/{name}", "phone", 200),
    ]
    assert {entry["caller"] for entry in told[:2]} == {"local"}
    denied = [entry for entry in told if entry["kind"] == "denied"]
    # Twenty of a kind are one, until their minute is over.
    assert [entry["action"] for entry in denied] == ["GET /v1/models", "GET unknown"]
    assert denied[0]["address"] == address and denied[0]["token"].startswith("tok_")
    shown = json.dumps(told)
    for secret in ("Quintaval", token, "planted", "talk"):
        assert secret not in shown
    assert [entry["number"] for entry in told] == list(range(1, len(told) + 1))
    assert "every link holds" in verified(one).stdout


def test_the_chain_goes_on_after_kill_9_and_after_a_stop(daemon):
    one = daemon(args=LAN)
    make(one, "ann")
    entries(one)
    one.kill9()
    one.start()
    make(one, "bob")
    # What is left of a minute's refusals is written when the daemon stops.
    for _ in range(7):
        assert status(one, "igr_" + "0" * 43) == 401
    one.restart()
    told = entries(one)
    assert [entry["target"] for entry in told if entry["kind"] == "privileged"] == ["ann", "bob"]
    assert sum(entry["count"] for entry in told if entry["kind"] == "denied") == 7
    assert "every link holds" in verified(one).stdout


def test_verify_names_the_first_link_that_was_touched(daemon):
    one = daemon(args=LAN)
    for name in ("ann", "bob", "cid", "dan"):
        make(one, name)
    assert len(entries(one)) == 4
    one.stop()
    with contextlib.closing(sqlite3.connect(one.database)) as database, database:
        rows = database.execute("SELECT id, sealed FROM operations WHERE kind = 10 ORDER BY id").fetchall()
        assert len(rows) == 4
        number, sealed = rows[1]
        touched = bytes([sealed[-1] ^ 1])
        database.execute("UPDATE operations SET sealed = ? WHERE id = ?", (sealed[:-1] + touched, number))
    one.start(until="/livez")
    told = verified(one)
    assert told.returncode != 0 and "entry 2" in told.stderr
    # The others are shown all the same.
    assert [entry["target"] for entry in entries(one)] == ["ann", "cid", "dan"]


def test_other_hosts_have_a_copy(swarm):
    a, b = swarm(2).hosts
    make(a, "phone")
    entries(a)
    node = a.fetch("/v1/swarm/status").json["id"]
    eventually("the copy is there", lambda: [entry["target"] for entry in entries(b, "--host", node)] == ["phone"])
    assert entries(b, "--host", node) == entries(a)
    assert "every link holds" in verified(b, "--host", node).stdout
    assert entries(b) == []


def test_a_token_of_admin_reads_it_from_elsewhere_and_others_do_not(daemon):
    one = daemon(args=LAN)
    admin, reader = make(one, "operator", "--scope", "admin"), make(one, "watcher", "--scope", "read")
    assert status(one, admin, "/v1/admin/audit") == 200
    assert status(one, reader, "/v1/admin/audit") == 403


# The socket of the daemon's own user


def socket_of(daemon):
    return daemon.home / "state/igris" / f"admin.{daemon.port}.sock"


def test_verbs_work_over_the_socket_where_the_port_takes_another_address(daemon):
    """Without it the daemon would see its own machine come from the address of the network."""
    address = own_address()
    one = daemon(args=["--host", address], start=False)
    one.start(until=None)
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        def answers():
            try:
                return client.get(f"http://{address}:{one.port}/readyz").status_code == 401
            except httpx.TransportError:
                return False
        eventually("it listens", answers)
    config = one.home / "config.json5"
    made = run(one, "token", "new", "ann", "--config", str(config), "--port", str(one.port))
    assert made.returncode == 0, made.stderr
    assert status(one, made.stdout.strip()) == 200
    told = entries(one, "--config", str(config))
    assert [(entry["caller"], entry["address"]) for entry in told if entry["kind"] == "privileged"] == [("local", "")]


def test_the_socket_is_for_its_user_alone_and_goes_with_the_daemon(daemon):
    one = daemon()
    path = socket_of(one)
    eventually("the socket is there", path.exists)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert run(one, "status", "--port", str(one.port)).returncode == 0
    one.kill9()
    # What is left of it is in nobody's way.
    assert run(one, "status", "--port", str(one.port)).returncode == 69
    one.start()
    eventually("the socket is served again", lambda: run(one, "token", "ls", "--port", str(one.port)).returncode == 0)
    one.stop()
    assert not path.exists()


@pytest.mark.skipif("__import__('os').geteuid() != 0", reason="another user can only be taken by root")
def test_another_user_is_nobody_on_the_socket(daemon):
    one = daemon()
    path = socket_of(one)
    eventually("the socket is there", path.exists)
    # Even one for whom somebody has opened the folder and the file.
    for place in (path, *path.parents):
        if place == one.home.parent.parent:
            break
        place.chmod(0o777)
    script = (
        "import os, socket, sys; os.chdir(sys.argv[1]); os.setgid(65534); os.setuid(65534)\n"
        "one = socket.socket(socket.AF_UNIX); one.connect(sys.argv[2])\n"
        "one.sendall(b'GET /v1/admin/tokens HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "print(one.recv(64).split(b' ')[1].decode())\n")
    asked = subprocess.run(
        ["python3", "-c", script, str(path.parent), path.name], capture_output=True, text=True, timeout=60)
    assert asked.stdout.strip() == "401", asked.stdout + asked.stderr


def test_the_chain_goes_on_beside_a_row_that_does_not_open(daemon):
    one = daemon()
    for name in ("ann", "bob"):
        make(one, name)
    entries(one)
    one.stop()
    with contextlib.closing(sqlite3.connect(one.database)) as database, database:
        database.execute("UPDATE operations SET sealed = zeroblob(80) WHERE id = (SELECT min(id) FROM operations "
                         "WHERE kind = 10)")
    one.start(until="/livez")
    make(one, "cid")
    assert [(entry["number"], entry["target"]) for entry in entries(one)] == [(2, "bob"), (3, "cid")]
    assert "entry 1" in verified(one).stderr
