"""Any host continues any conversation, whatever happens to the others."""

import http.client
import os
import random
import threading
import time

import pytest

from daemon import eventually
from swarm import FOUND, HEALED, Events, Tap, wait_for
from websocket import WebSocket

# `make soak-swarm` asks for 600.
SOAK = float(os.environ.get("IGRIS_SOAK_SECONDS", "30"))
SEED = int(os.environ.get("IGRIS_SEED", "20261121"))


def test_what_is_said_on_one_host_is_in_the_prompts_of_the_others(swarm):
    a, b, c = swarm(3).hosts
    a.hear("the code is 4711", "talk")
    for other in (b, c):
        eventually("the turn on the others", lambda: len(other.texts("talk")) == 2, within=1)
    # The echo engine shows its prompt.
    assert "the code is 4711" in b.hear("which code?", "talk")
    assert "the code is 4711 | which code?" in c.hear("again?", "talk")


def test_turn_by_turn_on_another_host_and_the_copies_are_equal(swarm):
    all_three = swarm(3)
    a, b, c = all_three.hosts
    for number in range(9):
        # No pause between the turns: each host must already have what the one before acknowledged.
        host = all_three.hosts[number % 3]
        expected = " | ".join(f"t{n}" for n in range(number + 1))
        answer = wait_for_prompt(host, f"t{number}", number)
        assert answer == f"{2 * number + 1}: {expected}"
    wait_for(
        lambda: f"equal digests: {[host.context('talk') for host in (a, b, c)]}",
        lambda: len({host.context_digest("talk") for host in (a, b, c)}) == 1, HEALED)
    assert a.texts("talk") == b.texts("talk") == c.texts("talk")
    assert len(a.texts("talk")) == 18
    all_three.equal()


def wait_for_prompt(host, text, before):
    """Says `text` once the host holds all turns before it: at once, within 100 ms on a LAN (the requirement)."""
    eventually(f"{2 * before} turns", lambda: len(host.texts("talk")) == 2 * before, within=1)
    return host.hear(text, "talk")


def test_the_default_conversation_is_shared(swarm):
    a, b = swarm(2).hosts
    name = a.say("bare").headers["x-conversation-id"]
    eventually("the turn on the other", lambda: len(b.texts(name)) == 2, within=1)
    assert b.hear("as bare") == "3: bare | as bare"


def test_a_conversation_of_one_owner_stays_the_owners_on_every_host(swarm):
    keys = {"auth": {"keys": [{"name": "ann", "key": "ann-key-0123456789"}, {"name": "ben", "key": "ben-key-0123456789"}]}}
    a, b = swarm(2, config=keys).hosts
    ann, ben = ({"Authorization": f"Bearer {name}-key-0123456789"} for name in ("ann", "ben"))
    a.hear("ann's secret", "c", headers=ann)
    eventually("ann's on the other host", lambda: "ann's secret" in b.hear("mine", "c", headers=ann), within=1)
    assert b.hear("ben here", "c", headers=ben) == "1: ben here"


def test_both_sides_of_one_conversation_at_once_become_whole_turns(swarm):
    three = swarm(3)
    threads = [
        threading.Thread(target=lambda host=host, n=n: [host.hear(f"{n}.{i}", "busy") for i in range(10)])
        for n, host in enumerate(three.hosts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    three.equal()
    messages = three.hosts[0].context("busy")["messages"]
    assert len(messages) == 60
    # Pairs stay adjacent: each question is followed by its answer, which ends with it.
    for question, answer in zip(messages[::2], messages[1::2]):
        assert (question["role"], answer["role"]) == ("user", "assistant")
        assert answer["content"].endswith(question["content"])
    assert len({host.context_digest("busy") for host in three.hosts}) == 1


def test_the_answer_says_how_many_stores_hold_the_turn(swarm):
    """At its first safe copy: at least one, whichever comes first; with `quorum` more than half of the hosts."""
    three = swarm(3, config={"context": {"durability": "quorum"}})
    a = three.hosts[0]
    replicas = [int(a.say(f"t{n}", "talk").headers["x-igris-replicas"]) for n in range(10)]
    assert all(2 <= number <= 3 for number in replicas), replicas
    pair = swarm(2)
    replicas = [int(pair.hosts[0].say(f"t{n}", "talk").headers["x-igris-replicas"]) for n in range(10)]
    assert all(1 <= number <= 2 for number in replicas), replicas
    lone = swarm(1)
    assert lone.hosts[0].say("alone", "talk").headers["x-igris-replicas"] == "1"


def test_with_quorum_a_host_that_is_cut_off_acknowledges_nothing(swarm):
    three = swarm(3, config={"context": {"durability": "quorum"}})
    a, b, c = three.hosts
    assert a.say("with all", "talk").status == 200
    b.freeze()
    c.freeze()
    try:
        reply = a.say("alone", "talk", timeout=25)
        assert reply.status == 503, reply.text
    except TimeoutError:
        pass
    finally:
        b.thaw()
        c.thaw()
    three.together(within=2 * HEALED)
    three.equal()


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_kill_9_of_any_host_loses_nothing_that_was_acknowledged(swarm, victim):
    three = swarm(3)
    dead = three.hosts[victim]
    others = [host for host in three.hosts if host is not dead]
    dead.hear("the last words", "talk")
    dead.kill9()
    for host in others:
        eventually("the last words on the others", lambda: len(host.texts("talk")) >= 2, within=HEALED)
        assert "the last words" in host.hear(f"go on {host.port}", "talk")
    three.equal(hosts=others)
    dead.start()
    three.together()
    three.equal()
    assert "the last words" in dead.texts("talk")
    assert f"go on {others[0].port}" in dead.texts("talk")


def test_a_frozen_host_is_noticed_and_catches_up(swarm):
    three = swarm(3)
    a, b, c = three.hosts
    a.hear("before", "talk")
    c.freeze()
    a.hear("while it slept", "talk")
    # The living are not held up by it: they have answered before they know.
    assert a.state_of(c) != "dead"
    wait_for(lambda: f"C noticed: {a.peers()}", lambda: a.state_of(c) in ("suspect", "dead"), 4)
    wait_for(lambda: f"C dead: {a.peers()} {b.peers()}", lambda: a.state_of(c) == b.state_of(c) == "dead", 11)
    c.thaw()
    three.together(within=HEALED)
    three.equal()
    assert "while it slept" in c.texts("talk")


def test_a_host_that_stops_says_goodbye_and_is_not_dead(swarm):
    three = swarm(3)
    a, b, c = three.hosts
    assert c.stop() == 0
    for host in (a, b):
        wait_for(lambda: f"C left: {host.peers()}", lambda: host.state_of(c) == "left", 2)
    a.hear("without c", "talk")
    c.start()
    three.together()
    three.equal()


def test_with_mcp_off_a_host_is_no_member(swarm):
    pair = swarm(2, start=False)
    a, b = pair.hosts
    pair.configure(b, enabled=False)
    for host in pair.hosts:
        host.start()
    assert b.fetch("/v1/mcp/peers").status == 404
    assert a.hear("one", "talk") == "1: one"
    assert b.hear("two", "talk") == "1: two"
    time.sleep(1)
    assert a.alive() == 0


# Deletion


def gone(host, name):
    return host.context(name) is None


def test_a_deleted_conversation_is_gone_everywhere(swarm):
    three = swarm(3)
    a, b, c = three.hosts
    a.hear("to be forgotten", "doomed")
    a.hear("to be kept", "kept")
    three.equal()
    reply = b.delete("doomed")
    assert reply.status == 200, reply.text
    # Who has done it is named.
    assert len(reply.json["confirmed"]) == 3 and not reply.json["pending"], reply.text
    for host in three.hosts:
        assert gone(host, "doomed")
        assert len(host.texts("kept")) == 2
        assert "doomed" not in host.fetch("/v1/mcp/contexts").text
    three.equal()
    # Begun anew, it knows nothing of before.
    assert c.hear("fresh", "doomed") == "1: fresh"
    eventually("the new one on the others", lambda: a.texts("doomed") == ["fresh", "1: fresh"], within=1)


@pytest.mark.parametrize("away", ["killed", "frozen"])
def test_a_host_that_was_away_deletes_too_and_brings_nothing_back(swarm, away):
    three = swarm(3)
    a, b, c = three.hosts
    a.hear("to be forgotten", "doomed")
    three.equal()
    c.kill9() if away == "killed" else c.freeze()
    reply = a.delete("doomed")
    assert reply.status in (200, 202), reply.text
    assert c.port and len(reply.json["pending"]) == 1, reply.text
    c.start() if away == "killed" else c.thaw()
    three.together(within=2 * HEALED)
    three.equal()
    assert all(gone(host, "doomed") for host in three.hosts)
    # And it stays so over restarts.
    for host in (a, c):
        host.kill9()
        host.start()
    three.together()
    three.equal()
    assert all(gone(host, "doomed") for host in three.hosts)


def test_deleting_what_is_not_there_is_a_404(swarm):
    a, _ = swarm(2).hosts
    assert a.delete("nowhere").status == 404


# Events


def test_events_tell_what_happens(swarm):
    three = swarm(3)
    a, b, c = three.hosts
    with Events(a) as events:
        b.hear("hello", "talk")
        eventually("the turn", lambda: events.named("conversation_updated"), within=2)
        assert "hello" not in str(events.seen)
        c.kill9()
        eventually("the death", lambda: events.named("node_dead"), within=HEALED)
        c.start()
        eventually("the return", lambda: events.named("node_alive"), within=HEALED)
        b.delete("talk")
        eventually("the deletion", lambda: events.named("conversation_deleted"), within=2)


def test_events_come_over_a_websocket_as_well(swarm):
    pair = swarm(2)
    a, b = pair.hosts
    with a.socket() as connection:
        events = WebSocket(connection, "/v1/swarm/events")
        first = events.event()
        assert first["event"] == "status" and first["status"]["id"] == a.id
        b.hear("hello", "talk")
        told = events.event()
        while told["event"] != "conversation_updated":
            told = events.event()
        assert "hello" not in str(told) and {"event", "at", "node", "detail"} <= set(told)
        b.stop()
        while told["event"] != "node_left":
            told = events.event()
        assert told["node"] and told["detail"] == "B"
        # The end of the host is the end of the stream, said in good order.
        a.terminate()
        with pytest.raises(ConnectionError):
            while True:
                events.event()


def test_a_page_of_another_site_gets_no_websocket(swarm):
    a = swarm(1).hosts[0]
    with a.socket() as connection, pytest.raises(ConnectionError, match="403"):
        WebSocket(connection, "/v1/swarm/events", {"Origin": "https://evil.example"})


# A link that is open and carries nothing


def test_a_link_that_stalls_holds_up_nobody_and_is_given_up(swarm):
    pair = swarm(2, start=False)
    a, b = pair.hosts
    a.start()
    tap = Tap(a.port)
    try:
        # B reaches A through a relay, and A does not know where B listens.
        pair.configure(a, seeds=[])
        a.restart()
        pair.configure(b, seeds=[f"127.0.0.1:{tap.port}"])
        b.start()
        wait_for(lambda: f"linked: {b.peers()}", lambda: b.alive() == 1, FOUND)
        text = "x" * 60_000
        tap.stalled.set()
        for number in range(8):
            # An answer that waited for B would wait for ever.
            assert a.say(f"{number} {text}", f"talk{number}", timeout=10).status == 200
        wait_for(lambda: f"given up: {a.peers()}", lambda: a.alive() == 0, 30)
        assert a.hear("alone", "talk", timeout=10) == "1: alone"
        tap.stalled.clear()
        wait_for(lambda: f"linked again: {b.peers()}", lambda: a.alive() == b.alive() == 1, 30)
        pair.equal(within=2 * HEALED)
        assert b.texts("talk7")[0].startswith("7 xxx")
    finally:
        tap.close()


# Everything at once, for a while


@pytest.mark.timeout(120 + 2 * SOAK)
def test_mixed_traffic_with_kills_loses_nothing_acknowledged(swarm):
    traffic(swarm(3), duration=SOAK, seed=SEED)


def traffic(three, duration, seed):
    """Turns on all hosts, in shared and own conversations, while hosts are killed, frozen and started again."""
    chance = random.Random(seed)
    stop = threading.Event()
    kept: list[tuple[str, str]] = []
    problems: list[str] = []

    def talk(number: int) -> None:
        own = random.Random(seed + number)
        turn = 0
        while not stop.is_set():
            turn += 1
            host = own.choice(three.hosts)
            # Conversations stay short, so that prompts do.
            name = own.choice([f"shared-{turn // 40}", f"own-{number}-{turn // 20}"])
            text = f"{number}.{turn}"
            try:
                reply = host.say(text, name, timeout=10)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if reply.status == 200:
                kept.append((name, text))
            elif reply.status not in (429, 503):
                problems.append(f"{reply.status} {reply.text}")

    talkers = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
    for talker in talkers:
        talker.start()
    kills = freezes = 0
    deadline = time.monotonic() + duration
    try:
        while time.monotonic() < deadline:
            time.sleep(chance.uniform(0.2, 2.5))
            victim = chance.choice(three.hosts)
            if chance.random() < 0.7:
                victim.kill9()
                kills += 1
                time.sleep(chance.uniform(0, 1.5))
                victim.start(until=None)
            else:
                victim.freeze()
                freezes += 1
                time.sleep(chance.uniform(0.2, 3))
                victim.thaw()
    finally:
        stop.set()
        for talker in talkers:
            talker.join()
        for host in three.hosts:
            host.thaw()
    for host in three.hosts:
        if host.process.poll() is not None:
            problems.append(f"{host.port} ended by itself: {host.process.returncode}\n{host.logs()[-3000:]}")
            host.start(until=None)
        host.wait_until("/readyz")
    three.together(within=2 * HEALED)
    took = three.equal(within=HEALED)
    print(f"{duration:.0f} s, seed {seed}: {len(kept)} turns acknowledged, {kills} kills, {freezes} freezes, "
          f"equal {took * 1000:.0f} ms after all saw one another")
    assert not problems, problems[:5]
    names = sorted({name for name, _ in kept})
    for host in three.hosts:
        held = {name: host.texts(name) for name in names}
        lost = [(name, text) for name, text in kept if held[name].count(text) != 1]
        assert not lost, f"seed {seed}, host {host.port}: {len(lost)} of {len(kept)}, {lost[:10]}"
    assert len(kept) > duration, "hardly anything was acknowledged"
    for host in three.hosts:
        assert host.status()["divergences"] == 0
