"""Conversations whose time is over, and stores that may not grow further."""

import time

from daemon import samples
from swarm import MODEL, wait_for


def expired(host):
    return sum(
        value for name, value in samples(host.fetch("/metrics").text)
        if name.startswith("igris_conversations_expired_total"))


def talks(host):
    return {row["id"] for row in host.fetch("/v1/mcp/contexts?limit=1000").json["data"]}


def test_nothing_expires_where_nothing_is_said(daemon):
    one = daemon(models=[MODEL])
    assert one.get("/v1/status").json()["store"].get("expired") is None


def test_a_conversation_expires_everywhere_and_does_not_return_from_a_host_that_was_away(swarm):
    three = swarm(3, config={"context": {"retention": "8s"}})
    a, b, c = three.hosts
    a.hear("a secret of then", "old")
    three.equal()
    # Away, with all of it on its disk.
    assert c.stop() == 0
    wait_for(
        lambda: f"gone on both: {talks(a)} {talks(b)} {a.logs()[-2000:]}",
        lambda: "old" not in talks(a) | talks(b), 40)
    b.hear("of now", "new")
    assert expired(a) + expired(b) >= 1
    assert sum(host.fetch("/v1/status").json["store"]["expired"] for host in (a, b)) >= 1
    assert "has expired" in a.logs() + b.logs()
    c.start()
    three.together()
    three.equal()
    for host in three.hosts:
        assert "old" not in talks(host)
        assert host.context("old") is None


def test_what_is_in_use_does_not_expire(swarm):
    pair = swarm(2, config={"context": {"retention": "4s"}})
    a, b = pair.hosts
    until = time.monotonic() + 14
    number = 0
    while time.monotonic() < until:
        number += 1
        (a, b)[number % 2].hear(f"turn {number}", "busy")
        time.sleep(0.5)
    texts = [text for text in a.texts("busy") if text.startswith("turn ")]
    assert f"turn {number}" in texts and "turn 1" in texts


def test_where_conversations_take_too_much_the_oldest_go(daemon):
    one = daemon(
        models=[MODEL],
        config={"context": {"max_bytes": "200kB"}, "mcp": {"mdns": False, "multicast": False}})
    for number in range(12):
        one.ask(f"{number} " + "x" * 20_000, conversation=f"talk-{number:02}")

    def left():
        return sorted(row["id"] for row in one.get("/v1/mcp/contexts?limit=1000").json()["data"])

    # Each takes some 20 kB.
    def gone():
        return one.get("/v1/status").json()["store"]["expired"]

    wait_for(
        lambda: f"few left: {left()} {one.logs()[-1500:]}",
        lambda: 3 <= gone() <= 9 and gone() == 12 - len(left()), 60)
    rest = left()
    assert rest == [f"talk-{number:02}" for number in range(12 - len(rest), 12)], "the oldest first"
    assert any(name.startswith("igris_conversations_expired_total") and 'reason="max_bytes"' in name
               for name in one.metrics())
    one.ask("and on", conversation="talk-11")
