"""How hosts on one machine find one another, and what the pages and commands show of it. The LAN is in
`test_lab_swarm.py`."""

import json
import os
import re
import socket
import time

import pytest

from daemon import eventually
from swarm import FOUND, KEY, wait_for

STATES = {"alive", "suspect", "dead", "left", "connecting", "unreachable", "foreign", "evicted", "incompatible", "cloned"}


@pytest.mark.parametrize("way", ["seeds", "multicast"])
def test_each_way_suffices_alone(swarm, way):
    three = swarm(3, found_by=way)
    three.hosts[0].hear("hello", "talk")
    three.equal()


def test_the_port_of_the_multicast_decides_who_hears(swarm):
    pair = swarm(2, found_by="multicast", start=False)
    pair.configure(pair.hosts[1], multicast_port=pair.multicast_port + 1)
    for host in pair.hosts:
        host.start()
    time.sleep(2)
    assert not pair.hosts[0].peers()
    pair.configure(pair.hosts[1])
    pair.hosts[1].restart()
    pair.together()


def test_one_seed_leads_to_all_members(swarm):
    four = swarm(4, start=False)
    a, *others = four.hosts
    four.configure(a, seeds=[])
    for host in others:
        four.configure(host, seeds=[f"127.0.0.1:{a.port}"])
    for host in four.hosts:
        host.start(until=None)
    for host in four.hosts:
        host.wait_until("/readyz")
    four.together()


def test_a_host_is_joined_by_hand_where_nothing_finds_it(swarm):
    pair = swarm(2, found_by="none", start=False)
    a, b = pair.hosts
    for host in pair.hosts:
        host.start()
    time.sleep(1)
    assert not a.peers() and not b.peers()
    reply = a.fetch("/v1/swarm/join", "POST", {"address": f"127.0.0.1:{b.port}"})
    assert reply.status in (200, 202, 204), reply.text
    pair.together()
    refused = a.fetch("/v1/swarm/join", "POST", {"address": "127.0.0.1:1"})
    assert 400 <= refused.status < 600 and refused.json["error"]["message"], refused.text


def test_junk_on_the_multicast_port_changes_nothing(swarm):
    pair = swarm(2, found_by="multicast")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for size in (0, 1, 7, 60, 200, 1400):
            for _ in range(50):
                try:
                    sender.sendto(os.urandom(size), ("239.255.42.99", pair.multicast_port))
                    sender.sendto(os.urandom(size), ("127.0.0.1", pair.multicast_port))
                except OSError:
                    pass
    time.sleep(0.5)
    for host in pair.hosts:
        assert host.alive() == 1 and len(host.peers()) == 1, host.peers()


# Pages and commands


def test_peers_nodes_status_and_topology_tell_the_same(swarm):
    three = swarm(3)
    a, b, c = three.hosts
    # Told once the engines are ready.
    wait_for(lambda: f"models: {a.peers()}", lambda: all("echo" in row["models"] for row in a.peers()), FOUND)
    for row in a.peers():
        assert row["state"] in STATES
        assert row["state"] == "alive"
        assert {"id", "address", "last_seen", "state", "version", "models"} <= set(row)
    ids = {host.id for host in three.hosts}
    assert {row["id"] for row in a.peers()} == ids - {a.id}
    assert {row["id"] for row in a.fetch("/v1/mcp/peers?self=1").json["peers"]} == ids
    assert {row["id"] for row in a.fetch("/v1/swarm/nodes").json["nodes"]} == ids
    status = a.status()
    assert status["role"] == "worker" and status["members"]["alive"] == 3 and status["security"] == "key"
    assert [each["phase"] for each in status["phase_history"]]
    # Each host shows the links of all: members tell whom they are linked with.
    pairs = {frozenset((one.id, other.id)) for one in three.hosts for other in three.hosts if one is not other}
    for host in three.hosts:
        def shown(host=host):
            links = host.fetch("/v1/swarm/topology").json["links"]
            return {frozenset((row["from"], row["to"])) for row in links}
        wait_for(lambda: f"links: {shown()}", lambda: shown() == pairs, FOUND)


def test_the_commands_use_the_same_words(swarm):
    three = swarm(3)
    a, b, c = three.hosts
    shown = a.command("peers")
    for host in (b, c):
        assert host.home.name in shown and host.id[:8] in shown and str(host.port) in shown
    assert shown.count("alive") >= 2
    rows = json.loads(a.command("peers", "--json"))
    assert {row["id"] for row in rows["peers"]} >= {b.id, c.id}
    c.kill9()
    wait_for(lambda: f"dead: {a.command('peers')}", lambda: "dead" in a.command("peers"), FOUND)
    assert re.search(r"\b(2|alive|worker|steady)\b", a.command("status"))


def test_diagnostics_look_at_everything_and_say_what_to_do(swarm):
    pair = swarm(2, found_by="both")
    report = pair.hosts[0].fetch("/v1/mcp/diagnostics", timeout=20).json
    checks = report["checks"]
    assert len(checks) >= 25
    assert len({check["id"] for check in checks}) == len(checks)
    for check in checks:
        assert check["verdict"] in ("ok", "warn", "fail", "skipped")
        assert check["finding"]
        if check["verdict"] in ("warn", "fail"):
            assert check["fix"], check
    assert KEY not in json.dumps(report)
    out = pair.hosts[0].command("doctor", "peers", "--verbose", code=None)
    assert sum(check["title"] in out for check in checks) >= len(checks) - 2


def test_metrics_of_the_swarm_are_there(swarm):
    pair = swarm(2, found_by="both")
    a, b = pair.hosts
    a.hear("hello", "talk")
    pair.equal()
    assert eventually("an announcement", lambda: a.count("igris_announcements_total"), within=FOUND) > 0
    text = a.fetch("/metrics").text
    for name in ["igris_sync_bytes_total", "igris_sync_latency_seconds", "igris_announcements_total"]:
        assert name in text, name
    assert b.count("igris_sync_latency_seconds_count") > 0
    # Nobody's address or name as a label of conversations.
    assert "talk" not in text


# Many


@pytest.mark.timeout(180)
def test_eight_hosts_become_one_swarm_and_stay_one(swarm):
    eight = swarm(8, start=False)
    begin = time.monotonic()
    eight.start(within=10)
    print(f"8 hosts: all saw all {time.monotonic() - begin:.2f} s after the first start")
    for number in range(24):
        eight.hosts[number % 8].hear(f"t{number}", f"talk{number % 4}")
    eight.equal()
    assert all(len(host.texts("talk0")) == 12 for host in eight.hosts)
    for victim in (eight.hosts[2], eight.hosts[5]):
        victim.kill9()
    rest = eight.running
    wait_for(
        lambda: f"two dead everywhere: {[host.status() for host in rest]}",
        lambda: all(host.alive() == 5 for host in rest), FOUND)
    rest[0].hear("without the two", "talk0")
    eight.equal(hosts=rest)
    for victim in (eight.hosts[2], eight.hosts[5]):
        victim.start()
    eight.together(within=10)
    eight.equal()
