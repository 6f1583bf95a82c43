"""The swarm on a LAN: hosts with networks of their own on one switch, and what happens to cables and switches.

Needs root, `ip netns` and nftables, and for mDNS Avahi; skipped with the reason elsewhere.
"""

import contextlib
import json
import re
import threading
import time

import pytest

from daemon import eventually, recall
from lab import lab
from swarm import FOUND, HEALED, wait_for
from test_failover import ANSWER, QUESTION, give, offered, writing

# The bar: a frozen or unplugged host is known to all in less.
NOTICED = 5.0


@pytest.fixture
def lan(binary, tmp_path):
    """lan(3, found_by="mdns"): a lab with a swarm that has come together."""
    with contextlib.ExitStack() as stack:
        yield lambda count=3, **options: stack.enter_context(lab(binary, tmp_path / "lab", count, **options))


# Discovery


@pytest.mark.parametrize("way", ["mdns", "multicast", "seeds"])
def test_each_way_of_discovery_suffices_alone(lan, way):
    three = lan(3, found_by=way, start=False)
    for host in three.hosts:
        host.start(until=None)
    for host in three.hosts:
        host.wait_until("/readyz")
    begin = time.monotonic()
    three.together(within=FOUND)
    print(f"{way}: all found all {time.monotonic() - begin:.2f} s after they were ready")
    a, b, c = three.hosts
    a.hear("hello", "talk")
    eventually("the turn on the others", lambda: len(b.texts("talk")) == len(c.texts("talk")) == 2, within=1)
    # The row says how it was found; others may be told by a member.
    ways = {channel for host in three.hosts for row in host.peers() for channel in row["via"]}
    assert ways - {"peer"} == {{"seeds": "seed"}.get(way, way)}, a.peers()


def test_two_instances_of_one_host_find_one_another_by_mdns(lan):
    pair = lan(2, found_by="mdns", per_node=2)
    pair.hosts[0].hear("hello", "talk")
    pair.equal()


def test_with_every_way_switched_off_nobody_is_found(lan):
    pair = lan(2, found_by="none", start=False)
    for host in pair.hosts:
        host.start()
    time.sleep(3)
    assert not any(host.peers() for host in pair.hosts)


def test_with_avahi_stopped_multicast_carries_on_and_the_state_says_so(lan):
    pair = lan(2, found_by="mdns multicast")
    a, b = pair.hosts
    pair("avahi", "1", "off")

    def unavailable():
        return next(
            (each for each in a.status()["discovery"] if each["channel"] == "mdns" and each["state"] == "unavailable"),
            None)

    state = wait_for(lambda: f"mdns unavailable: {a.status()['discovery']}", unavailable, 15)
    assert "multicast" in state["detail"] or "avahi" in state["detail"].lower(), state
    b.kill9()
    b.start()
    pair.together()
    pair("avahi", "1", "on")
    wait_for(lambda: f"mdns back: {a.status()['discovery']}", lambda: not unavailable(), 15)


def test_another_multicast_port_is_another_lan(lan):
    pair = lan(2, start=False)
    pair.configure(pair.hosts[1], multicast_port=5355)
    for host in pair.hosts:
        host.start()
    time.sleep(3)
    assert pair.hosts[0].alive() == 0
    pair.configure(pair.hosts[0], multicast_port=5355)
    pair.hosts[0].restart()
    pair.together()


def test_a_host_joins_by_one_seed_and_leaves(lan):
    four = lan(4, found_by="seeds", start=False)
    a, b, c, d = four.hosts
    for host in (a, b, c):
        host.start()
    four.together()
    a.hear("before d", "talk")
    # It knows one member only; the others are told to it.
    four.configure(d, seeds=[a.endpoint])
    d.start()
    four.together()
    four.equal()
    assert d.texts("talk")[0] == "before d"
    d.hear("from d", "talk")
    four.equal()
    assert d.stop() == 0
    for host in (a, b, c):
        wait_for(lambda: f"D left: {host.peers()}", lambda: host.state_of(d) == "left", 2)


# Trouble


def test_a_partition_heals_and_both_sides_turns_are_everywhere(lan):
    three = lan(3)
    a, b, c = three.hosts
    a.hear("before", "talk")
    three.equal()
    three("partition", "1,2", "3")
    wait_for(lambda: f"apart: {a.peers()} {c.peers()}",
             lambda: a.state_of(c) == b.state_of(c) == "dead" and c.alive() == 0, 20)
    for number in range(5):
        a.hear(f"left {number}", "talk")
        c.hear(f"right {number}", "talk")
    b.hear("left b", "talk")
    three("heal")
    begin = time.monotonic()
    three.together(within=15)
    met = time.monotonic() - begin
    three.equal()
    print(f"healed: all saw one another after {met:.2f} s, equal after {time.monotonic() - begin:.2f} s")
    texts = a.texts("talk")
    for said in ["before", "left b", *(f"{side} {n}" for side in ("left", "right") for n in range(5))]:
        assert texts.count(said) == 1, (said, texts)
    assert a.texts("talk") == b.texts("talk") == c.texts("talk")
    assert len({host.context_digest("talk") for host in three.hosts}) == 1


def test_a_one_way_cut_between_two_kills_nobody_and_stops_nothing(lan):
    three = lan(3)
    a, b, c = three.hosts
    three("oneway", "1", "2")
    died = threading.Event()

    def watch():
        deadline = time.monotonic() + 12
        while time.monotonic() < deadline and not died.is_set():
            for here, there in ((a, b), (b, a), (c, a), (c, b)):
                if here.state_of(there) == "dead":
                    died.set()
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    a.hear("around the cut", "talk")
    eventually("the turn on B, by way of C", lambda: "around the cut" in b.texts("talk"), within=HEALED + 3)
    b.hear("and back", "talk")
    eventually("the turn on A", lambda: "and back" in a.texts("talk"), within=HEALED + 3)
    watcher.join()
    assert not died.is_set(), "declared dead though a third host reaches it"
    three("heal")
    three.together(within=15)
    three.equal()


def test_at_twenty_percent_loss_hosts_meet_talk_and_stay(lan):
    three = lan(3, found_by="mdns multicast", start=False)
    three("loss", "20")
    for host in three.hosts:
        host.start(until=None)
    for host in three.hosts:
        host.wait_until("/readyz")
    begin = time.monotonic()
    three.together(within=15)
    print(f"20 % loss: all found all after {time.monotonic() - begin:.2f} s")
    dead = 0
    for number in range(20):
        host = three.hosts[number % 3]
        host.hear(f"t{number}", f"talk{number % 3}")
        dead += sum(row["state"] == "dead" for each in three.hosts for row in each.peers())
        time.sleep(0.25)
    assert dead == 0
    three.equal(within=15)


def test_a_pulled_cable_is_noticed_and_forgiven(lan):
    three = lan(3)
    a, b, c = three.hosts
    a.hear("before", "talk")
    three.equal()
    three("link", "3", "down")
    begin = time.monotonic()
    wait_for(
        lambda: f"C dead: {a.peers()} {b.peers()}", lambda: a.state_of(c) == b.state_of(c) == "dead", NOTICED)
    print(f"cable pulled: known to both others after {time.monotonic() - begin:.2f} s")
    a.hear("while it was out", "talk")
    c.hear("out here", "talk")
    three("link", "3", "up")
    begin = time.monotonic()
    three.together(within=15)
    three.equal()
    print(f"plugged in again: equal after {time.monotonic() - begin:.2f} s")
    assert {"while it was out", "out here"} <= set(a.texts("talk"))


def test_an_answer_outlives_the_cable_of_its_writer(lan):
    three = lan(3, start=False)
    a, *writers = three.hosts
    for host in writers:
        give(host, recall(pace=20))
    three.start()
    offered(a, 2)
    body = json.dumps(
        {"model": "igris-recall", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}).encode()
    client = a.socket()
    client.settimeout(30)
    client.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    received, victim, pause = b"", None, 0.0
    last = time.monotonic()
    while b"[DONE]" not in received:
        received += client.recv(65536)
        now = time.monotonic()
        pause, last = max(pause, now - last), now
        if victim is None and received.count(b"data: ") > 8:
            victim = writing(writers)
            three("link", str(victim.number), "down")
    client.close()
    pieces = re.findall(rb'"content":"([^"]*)"', received)
    assert b"".join(pieces).decode() == ANSWER
    assert b'"cause":"silent","way":"continued"' in received
    print(f"cable pulled in mid-answer: longest pause {pause * 1000:.0f} ms")
    three("link", str(victim.number), "up")


def test_doctor_finds_out_why_a_host_does_not_see_another(lan):
    pair = lan(2)
    a, b = pair.hosts
    report = a.fetch("/v1/mcp/diagnostics", timeout=20).json
    checks = report["checks"]
    assert len(checks) >= 25
    assert all(check["fix"] for check in checks if check["verdict"] in ("warn", "fail")), checks
    # Over the wall between them.
    pair("partition", "1", "2")
    wait_for(lambda: f"apart: {a.peers()}", lambda: a.state_of(b) == "dead", 20)
    begin = time.monotonic()
    out = a.command("doctor", "peers", within=20, code=None)
    assert time.monotonic() - begin < 12
    assert "10.77.0.2" in out, out
