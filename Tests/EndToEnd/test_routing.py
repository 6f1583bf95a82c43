"""Which host answers: each algorithm, the reason in a header, and `/v1/route/explain`."""

import collections
import concurrent.futures
import json

import pytest

from daemon import recall
from swarm import Host, Swarm, wait_for

QUESTION = "Remember: my name is Alice"


def routed(swarm, algorithm: str, models: list[dict] | None = None, weights: list[int] | None = None) -> Swarm:
    one = swarm(3, start=False, models=models or [recall()], config={"routing": {"algorithm": algorithm}})
    for host, weight in zip(one.hosts, weights or []):
        file = json.loads(host.config.read_text())
        file["node"]["weight"] = weight
        host.config.write_text(json.dumps(file))
    one.start()
    for host in one.hosts:
        wait_for(lambda: f"all three are ready: {ready(host)}", lambda: ready(host) == 3, within=20)
    return one


def ready(asked: Host) -> int:
    """Hosts that can answer, as one of them knows."""
    entry = next(row for row in asked.fetch("/v1/models").json["data"] if row["id"] == "igris-recall")
    return sum(host["state"] == "ready" for host in entry.get("igris", {}).get("hosts", []))


def explain(host: Host) -> dict:
    reply = host.fetch("/v1/route/explain?model=phi3")
    assert reply.status == 200, reply.text
    return reply.json


def served(host: Host, conversation: str | None = None) -> tuple[str, str]:
    """Who wrote an answer, and why."""
    reply = host.say(QUESTION, conversation, fields={"max_tokens": 8})
    assert reply.status == 200, reply.text
    return reply.headers["x-igris-served-by"], reply.headers["x-igris-route-reason"]


def test_round_robin_gives_each_host_the_same(swarm):
    one = routed(swarm, "round-robin")
    counts = collections.Counter(served(one.hosts[0], f"c{turn}")[0] for turn in range(30))
    assert counts == {host.id: 10 for host in one.hosts}


def test_weights_divide_the_turns(swarm):
    one = routed(swarm, "weighted", weights=[3, 1, 0])
    counts = collections.Counter(served(one.hosts[0], f"c{turn}")[0] for turn in range(20))
    assert counts == {one.hosts[0].id: 15, one.hosts[1].id: 5}


def test_on_the_ring_a_conversation_has_one_owner_whoever_is_asked(swarm):
    one = routed(swarm, "hash")
    owners = {f"c{number}": {served(host, f"c{number}")[0] for host in one.hosts} for number in range(12)}
    assert all(len(owner) == 1 for owner in owners.values()), owners
    assert len(set.union(*owners.values())) > 1


@pytest.mark.parametrize("algorithm", ["auto", "least-connections"])
def test_requests_that_come_at_once_spread(swarm, algorithm):
    one = routed(swarm, algorithm, models=[recall(pace=20, slots=1)])
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        who = list(pool.map(lambda number: served(one.hosts[0], f"c{number}")[0], range(9)))
    counts = collections.Counter(who)
    assert set(counts) == {host.id for host in one.hosts} and max(counts.values()) <= 5, counts


def test_a_conversation_goes_back_to_the_host_that_has_read_it_and_on_when_that_is_gone(swarm):
    """The asked host is slow and busy when the conversation begins, so that another reads it."""
    one = routed(swarm, "auto", models=[recall(pace=20, slots=1)])
    asked = one.hosts[0]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        busy = pool.submit(asked.say, QUESTION, "busy")
        wait_for("it is busy", lambda: asked.fetch("/v1/status").json["models"][0]["running"] == 1, 10)
        first = asked.say("Remember: " + "my name is Alice. " * 60, "long", fields={"max_tokens": 8})
        busy.result()
    reader = first.headers["x-igris-served-by"]
    assert reader != asked.id
    again = asked.say("What is my name?", "long", fields={"max_tokens": 8})
    assert again.headers["x-igris-served-by"] == reader
    assert "has read" in again.headers["x-igris-route-reason"], again.headers
    next(host for host in one.hosts if host.id == reader).kill9()
    last = asked.say("What is my name?", "long", fields={"max_tokens": 8})
    assert last.status == 200 and last.headers["x-igris-served-by"] != reader


def test_bids_can_be_computed_again(swarm):
    one = routed(swarm, "auction")
    report = explain(one.hosts[0])
    weights = {"capability": 0.4, "load": 0.3, "performance": 0.2, "resources": 0.1}
    for row in report["hosts"]:
        assert set(row["parts"]) == set(weights)
        assert row["score"] == pytest.approx(sum(weights[name] * value for name, value in row["parts"].items()))
    assert report["served_by"] == max(report["hosts"], key=lambda row: row["score"])["node"]


def test_what_is_asked_wrongly_is_said(swarm):
    one = routed(swarm, "auto")
    assert one.hosts[0].fetch("/v1/route/explain").status == 400
    reply = one.hosts[0].fetch("/v1/route/explain?model=nobody")
    assert reply.status == 404 and reply.json["error"]["code"] == "model_not_found"
