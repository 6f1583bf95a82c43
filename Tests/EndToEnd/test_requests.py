"""Requests that are answered in the background: `POST /v1/requests`. Taken by any host, polled or watched on any host,
ended once whichever host dies."""

import json

import pytest

from daemon import recall
from swarm import Events, Host, Swarm, wait_for
from websocket import WebSocket

QUESTION = "Remember: my name is Alice"
ANSWER = "I will remember that your name is Alice"
# An answer of 39 tokens takes two seconds.
WRITER = recall(pace=20)
WEIGHTS = {"capability": 0.4, "load": 0.3, "performance": 0.2, "resources": 0.1}


def capable(host: Host, *names: str) -> None:
    file = json.loads(host.config.read_text())
    file["node"]["capabilities"] = list(names)
    host.config.write_text(json.dumps(file))


def ready(asked: Host) -> int:
    entry = next(row for row in asked.fetch("/v1/models").json["data"] if row["id"] == "igris-recall")
    return sum(host["state"] == "ready" for host in entry.get("igris", {}).get("hosts", []))


def started(swarm: Swarm, count: int = 3) -> Swarm:
    swarm.start()
    for host in swarm.hosts:
        wait_for(lambda: f"{count} are ready: {ready(host)}", lambda: ready(host) == count, within=20)
    return swarm


def submit(host: Host, headers: dict | None = None, **fields) -> dict:
    body = {"model": "igris-recall", "messages": [{"role": "user", "content": QUESTION}], **fields}
    if "prompt" in fields:
        del body["messages"]
    reply = host.fetch("/v1/requests", "POST", body, headers=headers)
    assert reply.status == 202, f"{reply.status} {reply.text}\n{host.logs()[-3000:]}"
    return reply.json


def look(host: Host, request: str) -> dict:
    reply = host.fetch(f"/v1/requests/{request}")
    assert reply.status == 200, reply.text
    return reply.json


def over(host: Host, request: str, within: float = 20) -> dict:
    """The request once it is over, as that host shows it."""
    def ended():
        reply = host.fetch(f"/v1/requests/{request}")
        return reply.json if reply.status == 200 and reply.json["result"] or reply.status == 200 and reply.json[
            "status"] in ("completed", "failed", "cancelled") else None

    return wait_for(lambda: f"it is over: {host.fetch(f'/v1/requests/{request}').text}\n{host.logs()[-3000:]}", ended, within)


def name_of(swarm: Swarm, node: str) -> Host:
    return next(host for host in swarm.running if host.id == node)


def test_it_is_taken_at_once_and_polled_to_its_end_on_every_host(swarm):
    one = started(swarm(3, start=False, models=[WRITER]))
    a, b, c = one.hosts
    taken = submit(a, metadata={"for": "test"}, priority="high", max_tokens=100)
    assert taken["status"] in ("queued", "running") and taken["result"] is None
    assert taken["replicas"] == 3, "two other hosts hold it before its client has its id"
    assert taken["id"].startswith("request_")
    wait_for(lambda: f"it runs: {look(b, taken['id'])}", lambda: look(b, taken["id"])["status"] == "running", 10)
    ends = [over(host, taken["id"]) for host in one.hosts]
    assert [end["status"] for end in ends] == ["completed"] * 3
    assert {end["result"]["text"] for end in ends} == {ANSWER}
    assert ends[0]["result"]["finish_reason"] == "stop"
    assert ends[0]["metadata"] == {"for": "test"} and ends[0]["priority"] == "high"
    assert ends[0]["served_by"] in {host.id for host in one.hosts}
    assert ends[0]["route_reason"].startswith("auto: ")
    assert {row["node"] for row in ends[1]["route"]["hosts"]} == {host.id for host in one.hosts}
    assert [step["event"] for step in ends[2]["trace"]] == ["opened", "began", "ended"]
    assert (ends[0]["reruns"], ends[0]["discarded"]) == (0, 0)
    # What is shown is what is kept, in the same words everywhere.
    keep = [{key: value for key, value in end.items() if key != "replicas"} for end in ends]
    assert keep[0] == keep[1] == keep[2]
    listed = b.fetch("/v1/requests").json["data"]
    assert [row["id"] for row in listed] == [taken["id"]]
    assert a.metrics()['igris_requests_total{status="completed"}'] == 1


def test_a_prompt_and_the_same_key_again(swarm):
    one = started(swarm(1, start=False, models=[recall()]), 1)
    host = one.hosts[0]
    first = submit(host, prompt=QUESTION, headers={"Idempotency-Key": "one"})
    again = submit(host, prompt=QUESTION, headers={"Idempotency-Key": "one"})
    other = submit(host, prompt=QUESTION, headers={"Idempotency-Key": "two"})
    assert first["id"] == again["id"] != other["id"]
    assert over(host, first["id"])["result"]["text"] == ANSWER
    reused = host.fetch(
        "/v1/requests", "POST", {"model": "igris-recall", "prompt": "else"}, {"Idempotency-Key": "one"})
    assert reused.status == 400 and reused.json["error"]["param"] == "Idempotency-Key"


@pytest.mark.parametrize("body, status, param", [
    ({}, 400, "messages"),
    ({"prompt": "x"}, 400, "model"),
    ({"prompt": "x", "model": "nothing"}, 404, "model"),
    ({"prompt": "", "model": "igris-recall"}, 400, "prompt"),
    ({"prompt": "x", "model": "igris-recall", "mode": "poll"}, 400, "mode"),
    ({"prompt": "x", "model": "igris-recall", "n": 3}, 400, "n"),
    ({"prompt": "x", "model": "igris-recall", "mode": "vote", "redundancy": 2}, 400, "redundancy"),
    ({"prompt": "x", "model": "igris-recall", "priority": "now"}, 400, "priority"),
    ({"prompt": "x", "model": "igris-recall", "deadline": -1}, 400, "deadline"),
    ({"prompt": "x", "model": "igris-recall", "deadline": "yesterday"}, 400, "deadline"),
    ({"prompt": "x", "model": "igris-recall", "required_capabilities": "vision"}, 400, "required_capabilities"),
    ({"prompt": "x", "model": "igris-recall", "replication_factor": 1000}, 400, "replication_factor"),
])
def test_what_is_asked_wrongly_is_said(one, body, status, param):
    reply = one.fetch("/v1/requests", "POST", body)
    assert (reply.status, reply.json["error"]["param"]) == (status, param), reply.text


def test_what_is_not_there_is_404(one):
    for path in ("/v1/requests/x", "/v1/requests/request_" + "0" * 55 + "1"):
        assert one.fetch(path).status == 404
        assert one.fetch(path, "DELETE").status == 404
        assert one.fetch(path + "/cancel", "POST").status == 404


@pytest.fixture(scope="module")
def one(binary, tmp_path_factory):
    alone = Swarm(binary, tmp_path_factory.mktemp("one"), 1, models=[recall()])
    try:
        yield started(alone, 1).hosts[0]
    finally:
        alone.close()


def test_only_a_host_with_enough_of_what_is_required_serves(swarm):
    """More than 0.7 of it: two of three are not enough, three of four are."""
    one = swarm(3, start=False, models=[recall()])
    capable(one.hosts[1], "german", "law", "long")
    capable(one.hosts[2], "german")
    started(one)
    a, b, c = one.hosts
    for _ in range(3):
        taken = submit(a, required_capabilities=["german", "law", "long", "poetry"])
        end = over(a, taken["id"])
        assert (end["status"], end["served_by"]) == ("completed", b.id), end
    assert over(c, submit(c, required_capabilities=["law"])["id"])["served_by"] == b.id
    for required in (["poetry"], ["german", "law", "poetry"]):
        refused = a.fetch("/v1/requests", "POST", {
            "model": "igris-recall", "prompt": "x", "required_capabilities": required})
        assert (refused.status, refused.json["error"]["code"]) == (503, "no_capable_node"), refused.text
        assert "retry-after" in refused.headers
    # What engines can do counts as well.
    assert over(a, submit(a, required_capabilities=["partial"])["id"])["status"] == "completed"


@pytest.mark.parametrize("channel", ["websocket", "sse"])
def test_states_and_pieces_are_pushed(swarm, channel):
    one = started(swarm(2, start=False, models=[WRITER]), 2)
    a, b = one.hosts
    taken = submit(a)
    if channel == "websocket":
        def read(host: Host) -> list[dict]:
            socket = WebSocket(host.socket(), f"/v1/requests/{taken['id']}")
            events = []
            while not events or events[-1]["event"] != "result":
                events.append(socket.event())
            return events

        events, elsewhere = read(a), read(b)
    else:
        with Events(a, f"/v1/requests/{taken['id']}") as here, Events(b, f"/v1/requests/{taken['id']}") as there:
            wait_for(lambda: f"a result here: {here.seen}", lambda: here.named("result"), 20)
            wait_for(lambda: f"a result there: {there.seen}", lambda: there.named("result"), 20)
            events, elsewhere = ([data for _, _, data in feed.seen] for feed in (here, there))
    pieces = [event["text"] for event in events if event["event"] == "piece"]
    assert "".join(pieces) == ANSWER and len(pieces) > 3
    states = [event["request"]["status"] for event in events if event["event"] == "state"]
    assert states and set(states) <= {"queued", "running"} and states[-1] == "running"
    for feed in (events, elsewhere):
        assert feed[-1]["request"]["status"] == "completed"
        assert feed[-1]["request"]["result"]["text"] == ANSWER


def test_the_runner_is_killed_and_another_host_runs_it_again_once(swarm):
    one = started(swarm(3, start=False, models=[WRITER]))
    a, b, c = one.hosts
    taken = submit(a)
    wait_for(lambda: f"it runs: {look(b, taken['id'])}", lambda: look(b, taken["id"])["status"] == "running", 10)
    first = a.id
    a.kill9()
    seen = set()

    def ended():
        found = look(b, taken["id"])
        seen.add(found["status"])
        return found if found["status"] in ("completed", "failed") else None

    end = wait_for(lambda: f"it is over: {look(b, taken['id'])}", ended, 30)
    assert (end["status"], end["result"]["text"]) == ("completed", ANSWER)
    assert "rerun" in seen, seen
    assert (end["reruns"], end["discarded"]) == (1, 0)
    events = [(step["event"], step["node"]) for step in end["trace"]]
    runner = end["host"]
    assert runner in (b.id, c.id)
    assert events == [
        ("opened", first), ("began", first), ("rerun", runner), ("began", runner), ("ended", runner)], events
    # Whoever is first on the ring of those that live.
    ring = b.fetch(f"/v1/swarm/dht/{taken['id']}").json
    assert ring["owner"]["node"] == runner
    assert sum(host.metrics()["igris_request_reruns_total"] for host in (b, c)) == 1
    # The first runner comes back, and knows the one result.
    a.start()
    one.together()
    back = wait_for(
        lambda: f"it knows the result: {look(a, taken['id'])}",
        lambda: (found := look(a, taken["id"]))["status"] == "completed" and found, 10)
    assert back["result"] == end["result"] and back["trace"] == end["trace"]
    texts = [message["content"] for message in a.fetch(f"/v1/mcp/contexts/{end['conversation']}").json["messages"]]
    assert texts == [QUESTION, ANSWER]


def test_a_host_alone_runs_again_what_it_ran_when_it_was_killed(swarm):
    one = started(swarm(1, start=False, models=[WRITER]), 1)
    host = one.hosts[0]
    taken = submit(host)
    wait_for(lambda: "it runs", lambda: look(host, taken["id"])["status"] == "running", 10)
    host.kill9()
    host.start()
    end = over(host, taken["id"], 30)
    assert (end["status"], end["result"]["text"], end["reruns"]) == ("completed", ANSWER, 1)


def test_a_runner_that_stops_leaves_its_requests_to_others(swarm):
    one = started(swarm(2, start=False, models=[recall(pace=8)]), 2)
    a, b = one.hosts
    taken = submit(a)
    wait_for(lambda: "it runs", lambda: look(b, taken["id"])["status"] == "running", 10)
    a.process.terminate()
    end = over(b, taken["id"], 30)
    assert (end["status"], end["reruns"], end["host"]) == ("completed", 1, b.id)


def test_the_writer_is_killed_and_the_runner_goes_on_elsewhere(swarm):
    """The host that runs it has no engine of its own: no rerun, the answer goes on."""
    one = swarm(3, start=False, models=[WRITER])
    file = json.loads(one.hosts[0].config.read_text())
    file["models"] = [{**recall(), "name": "other", "aliases": []}]
    one.hosts[0].config.write_text(json.dumps(file))
    started(one, 2)
    a, *writers = one.hosts
    taken = submit(a)
    with Events(a, f"/v1/requests/{taken['id']}") as feed:
        wait_for(lambda: f"pieces: {feed.seen}", lambda: len(feed.named("piece")) > 3, 10)
        victim = next(
            host for host in writers if sum(model["running"] for model in host.fetch("/v1/status").json["models"]))
        victim.kill9()
        wait_for(lambda: f"a result: {feed.seen}", lambda: feed.named("result"), 20)
        end = feed.named("result")[0]["request"]
        assert "".join(piece["text"] for piece in feed.named("piece")) == ANSWER
    assert (end["status"], end["result"]["text"], end["reruns"]) == ("completed", ANSWER, 0)
    assert end["served_by"] == next(host.id for host in writers if host is not victim)


def test_cancelled_from_another_host_it_keeps_what_came(swarm):
    one = started(swarm(2, start=False, models=[recall(pace=8)]), 2)
    a, b = one.hosts
    taken = submit(a)
    with Events(a, f"/v1/requests/{taken['id']}") as feed:
        wait_for(lambda: f"pieces: {feed.seen}", lambda: feed.named("piece"), 10)
        stopped = b.fetch(f"/v1/requests/{taken['id']}/cancel", "POST")
    assert stopped.status == 200 and stopped.json["status"] == "cancelled", stopped.text
    text = stopped.json["result"]["text"]
    assert text and ANSWER.startswith(text) and text != ANSWER
    wait_for(
        lambda: "nothing runs on any host",
        lambda: not any(
            model["running"] for host in one.hosts for model in host.fetch("/v1/status").json["models"]), 5)
    assert over(a, taken["id"])["status"] == "cancelled"
    # Taken away, it is nowhere any more.
    assert a.fetch(f"/v1/requests/{taken['id']}", "DELETE").status == 200
    for host in one.hosts:
        wait_for(lambda: "it is gone", lambda: host.fetch(f"/v1/requests/{taken['id']}").status == 404, 5)


def test_a_deadline_ends_it(swarm):
    one = started(swarm(1, start=False, models=[recall(pace=4)]), 1)
    taken = submit(one.hosts[0], deadline=1_500)
    end = over(one.hosts[0], taken["id"])
    assert (end["status"], end["error"]["code"]) == ("failed", "deadline_exceeded"), end


def test_bids_are_kept_and_can_be_computed_again(swarm):
    one = started(swarm(3, start=False, models=[recall()], config={"routing": {"algorithm": "auction"}}))
    end = over(one.hosts[1], submit(one.hosts[0])["id"])
    assert end["status"] == "completed", end["error"]
    assert len(end["bids"]) == 3
    scores = {row["node"]: sum(WEIGHTS[name] * value for name, value in row["parts"].items()) for row in end["bids"]}
    for row in end["bids"]:
        assert set(row["parts"]) == set(WEIGHTS)
        assert row["score"] == pytest.approx(scores[row["node"]])
    best = max(scores.values())
    # Of equal bids the first by id.
    assert end["served_by"] == min(node for node, score in scores.items() if score == pytest.approx(best))


def test_each_key_has_the_same_owners_whoever_is_asked(swarm):
    one = swarm(3, models=[recall()])
    ids = {host.id for host in one.hosts}

    def owners(host: Host, key: str) -> list[str]:
        page = host.fetch(f"/v1/swarm/dht/{key}").json
        return [page["owner"]["node"], *(row["node"] for row in page["successors"])]

    def agreed():
        return all(len({tuple(owners(host, f"key {n}".replace(" ", "%20"))) for host in one.running}) == 1
                   for n in range(20))

    wait_for(lambda: "all agree", agreed, 5)
    lists = [owners(one.hosts[0], f"k{n}") for n in range(40)]
    assert all(set(found) == ids for found in lists)
    assert {found[0] for found in lists} == ids, "each host has its share"
    gone = one.hosts[2].id
    one.hosts[2].kill9()
    wait_for(lambda: "the others know", lambda: len(owners(one.hosts[0], "k0")) == 2, 10)
    # Only what was the lost host's has a new owner: its first successor.
    for number, before in enumerate(lists):
        assert owners(one.hosts[0], f"k{number}") == [node for node in before if node != gone]


def test_the_better_class_begins_first_where_the_model_is_busy(swarm):
    one = started(swarm(1, start=False, models=[recall(pace=20, slots=1)]), 1)
    [a] = one.hosts
    first = submit(a)
    wait_for(lambda: f"it runs: {look(a, first['id'])}", lambda: look(a, first["id"])["status"] == "running", 10)
    low = [submit(a, priority="low") for _ in range(2)]
    high = submit(a, priority="high")
    assert over(a, high["id"])["status"] == "completed"
    assert [look(a, request["id"])["status"] for request in low].count("completed") == 0
    assert {over(a, request["id"])["status"] for request in low} == {"completed"}
