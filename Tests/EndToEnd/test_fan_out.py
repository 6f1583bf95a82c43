"""Several hosts answer one request: `mode` and `redundancy` of `POST /v1/requests`."""

import json

from daemon import eventually, recall, scripted_engine
from swarm import Events, Host, Swarm, wait_for
from test_requests import ANSWER, over, submit


def answering(swarm: Swarm, *answers: str) -> Swarm:
    """Each host with an engine of its own that always says the same."""
    for host, text in zip(swarm.hosts, answers):
        file = json.loads(host.config.read_text())
        model = scripted_engine("judge", "echo.py")
        model["command"] += ["--answer", text]
        file["models"] = [model]
        host.config.write_text(json.dumps(file))
    swarm.start()
    for host in swarm.hosts:
        wait_for(lambda: f"all are ready: {judges(host)}", lambda: judges(host) == len(swarm.hosts), 20)
    return swarm


def judges(asked: Host) -> int:
    entry = next(row for row in asked.fetch("/v1/models").json["data"] if row["id"] == "judge")
    return sum(host["state"] == "ready" for host in entry.get("igris", {}).get("hosts", []))


def ask(host: Host, **fields) -> dict:
    return submit(host, model="judge", prompt="which?", **fields)


def test_a_vote_of_three_goes_to_the_majority(swarm):
    one = answering(swarm(3, start=False), "Blue", "red", "  BLUE ")
    ids = {host.id: text for host, text in zip(one.hosts, ("Blue", "red", "  BLUE "))}
    for asked in one.hosts:
        end = over(asked, ask(asked, mode="vote", n=3)["id"])
        assert end["status"] == "completed"
        assert end["result"]["text"].strip().lower() == "blue", end
        parts = end["parts"]
        assert len({part["node"] for part in parts}) == 3, "each part on another host"
        for part in parts:
            if part["status"] == "completed":
                assert part["text"] == ids[part["node"]]
                assert part["votes"] == (1 if part["text"] == "red" else 2)
        assert ids[end["served_by"]] == end["result"]["text"]


def test_a_tie_goes_to_the_first_by_the_route(swarm):
    one = answering(swarm(2, start=False), "yes", "no")
    end = over(one.hosts[0], ask(one.hosts[0], mode="vote", n=2)["id"])
    assert end["result"]["text"] == end["parts"][0]["text"]
    assert [part["votes"] for part in end["parts"]] == [1, 1]


def test_merged_answers_stand_under_their_hosts_names(swarm):
    one = answering(swarm(3, start=False), "one", "two", "three")
    end = over(one.hosts[1], ask(one.hosts[0], mode="merge", hosts=["C", one.hosts[0].id])["id"])
    assert sorted(end["result"]["text"].split("\n\n")) == ["[A]\none", "[C]\nthree"]
    assert {part["node"] for part in end["parts"]} == {one.hosts[0].id, one.hosts[2].id}


def test_one_of_two_is_killed_and_the_reply_is_the_other_s(swarm):
    """No rerun, no failover: the other one has been at it all the time."""
    one = swarm(3, start=False, models=[recall(pace=12)])
    file = json.loads(one.hosts[0].config.read_text())
    file["models"] = [{**recall(), "name": "other", "aliases": []}]
    one.hosts[0].config.write_text(json.dumps(file))
    one.start()
    a, *writers = one.hosts
    taken = eventually("the hosts are known", lambda: a.fetch("/v1/requests", "POST", {
        "model": "igris-recall", "prompt": "Remember: my name is Alice", "redundancy": 2}).status == 202 and submit(
            a, redundancy=2))
    with Events(a, f"/v1/requests/{taken['id']}") as feed:
        wait_for(
            lambda: f"both write: {feed.seen}", lambda: len({piece["part"] for piece in feed.named("piece")}) == 2, 15)
        writers[0].kill9()
        wait_for(lambda: f"a result: {feed.seen}", lambda: feed.named("result"), 20)
        end = feed.named("result")[0]["request"]
    assert (end["status"], end["result"]["text"], end["reruns"]) == ("completed", ANSWER, 0)
    assert end["served_by"] == writers[1].id
    states = {part["node"]: part["status"] for part in end["parts"]}
    assert states[writers[1].id] == "completed" and len(states) == 2
    assert sorted(states.values()) == ["completed", "failed"]


def test_the_first_answer_counts_and_the_other_is_stopped(swarm):
    """The slow host would take ten seconds more."""
    one = swarm(2, start=False, models=[recall()])
    file = json.loads(one.hosts[1].config.read_text())
    file["models"] = [recall(pace=3)]
    one.hosts[1].config.write_text(json.dumps(file))
    one.start()
    quick, slow = one.hosts
    eventually("both are known", lambda: len(quick.fetch("/v1/route/explain?model=igris-recall").json["hosts"]) == 2)
    wait_for(lambda: "the slow one is ready", lambda: slow.fetch("/readyz").status == 200, 20)
    end = over(quick, submit(quick, mode="first-success", n=2)["id"], 10)
    assert (end["status"], end["served_by"], end["result"]["text"]) == ("completed", quick.id, ANSWER)
    assert {part["node"]: part["status"] for part in end["parts"]} == {quick.id: "completed", slow.id: "cancelled"}
    wait_for(
        lambda: "the slow one stops",
        lambda: not any(model["running"] for model in slow.fetch("/v1/status").json["models"]), 5)
