"""Rows of the store that are taken away or changed behind the daemon's back: noticed, named, and put right."""

import json
import sqlite3
from contextlib import closing

import httpx
import pytest

from daemon import samples
from swarm import KEY, MODEL, wait_for

# Kinds of operations: 1 is a client's turn, 2 a model's.
DAMAGE = {
    "a row deleted": "DELETE FROM operations WHERE id = (SELECT min(id) FROM operations WHERE kind = 2)",
    "the last row deleted": "DELETE FROM operations WHERE id = (SELECT max(id) FROM operations)",
    "a row overwritten":
        "UPDATE operations SET sealed = zeroblob(80) WHERE id = (SELECT min(id) FROM operations WHERE kind = 1)",
    "a conversation's row deleted": "DELETE FROM streams WHERE id = (SELECT min(id) FROM streams)",
    "a conversation's row overwritten":
        "UPDATE streams SET sealed = zeroblob(80) WHERE id = (SELECT min(id) FROM streams)",
}


# Rows that only say what other rows say.
COUNTS = {
    "the state overwritten": "UPDATE meta SET state = zeroblob(80)",
    "how far each origin reaches overwritten": "UPDATE origins SET sealed = zeroblob(80)",
    "the origins deleted": "DELETE FROM origins",
    "an origin renamed": "UPDATE origins SET epoch = epoch + 7",
}


def harm(host, statement):
    with closing(sqlite3.connect(host.database, timeout=30)) as database, database:
        assert database.execute(statement).rowcount >= 1, statement


def metric(host, name):
    return sum(value for sample, value in samples(host.fetch("/metrics").text) if sample.split("{")[0] == name)


def filled(pair):
    for host in pair.hosts:
        for talk in ("talk", "other"):
            host.hear(f"from {host.home.name}", talk)
        pair.equal()
    return {talk: pair.hosts[0].texts(talk) for talk in ("talk", "other")}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_was_damaged_while_a_host_was_down_comes_back_from_a_peer(swarm, damage):
    pair = swarm(2)
    a, b = pair.hosts
    said = filled(pair)
    assert b.stop() == 0
    harm(b, DAMAGE[damage])
    b.start()
    pair.together()
    wait_for(
        lambda: f"the conversations whole again: {b.logs()[-3000:]}",
        lambda: all(b.fetch(f"/v1/mcp/contexts/{talk}").status == 200 and b.texts(talk) == said[talk] for talk in said),
        20)
    assert "damaged or taken away" in b.logs() and "put right from a peer's copy" in b.logs()
    assert metric(b, "igris_store_repaired_operations_total") >= 1
    wait_for(lambda: "no damage left", lambda: metric(b, "igris_store_damaged_operations") == 0, 10)
    # All of it is really on the disk: it is there after another start, alone.
    a.stop()
    b.restart()
    assert {talk: b.texts(talk) for talk in said} == said
    assert b.fetch("/v1/mcp/contexts").json["data"][0]["turns"] > 0
    assert len(b.fetch("/v1/mcp/contexts").json["data"]) == len(said)
    b.hear("and on", "talk")
    a.start()
    pair.together()
    pair.equal()
    assert a.texts("talk") == b.texts("talk")


@pytest.mark.parametrize("damage", COUNTS)
def test_what_other_rows_tell_is_made_anew_without_anybody(swarm, damage):
    pair = swarm(2)
    a, b = pair.hosts
    said = filled(pair)
    assert a.stop() == 0
    assert b.stop() == 0
    harm(b, COUNTS[damage])
    b.start()
    assert {talk: b.texts(talk) for talk in said} == said
    assert "made anew from the others" in b.logs()
    b.hear("and on", "talk")
    a.start()
    pair.together()
    pair.equal()
    assert a.texts("talk") == b.texts("talk")
    assert "and on" in " ".join(a.texts("talk"))


def test_what_is_damaged_while_a_host_is_up_is_named_by_verify_and_comes_back(swarm):
    pair = swarm(2)
    a, b = pair.hosts
    said = filled(pair)
    assert "all as they were written" in b.command("verify", "--peers")
    assert f"{a.home.name} {a.id[:12]}: equal" in b.command("verify", "--peers")
    harm(b, DAMAGE["a row overwritten"])
    harm(b, "DELETE FROM operations WHERE id = (SELECT max(id) FROM operations WHERE kind = 2)")
    report = json.loads(b.command("verify", "--peers", "--json", code=1))
    assert report["verdict"] == "repaired", json.dumps(report) + b.logs()[-3000:]
    assert len(report["damaged"]) == 2 and all(one["repaired"] for one in report["damaged"]), report
    assert {one["conversation"] for one in report["damaged"]} <= {"talk", "other"}, report
    assert [peer["state"] for peer in report["peers"]] == ["equal"], report
    assert b.command("verify", "--peers", code=0).startswith("ok: ")
    b.restart()
    pair.together()
    assert {talk: b.texts(talk) for talk in said} == said


def test_damage_is_noticed_by_itself(swarm):
    pair = swarm(2)
    _, b = pair.hosts
    filled(pair)
    # The look after the start is over.
    wait_for(lambda: "the first look", lambda: metric(b, "igris_store_scrubs_total") >= 1, 20)
    harm(b, DAMAGE["a row overwritten"])
    wait_for(
        lambda: f"the damage put right: {b.logs()[-2000:]}",
        lambda: metric(b, "igris_store_repaired_operations_total") >= 1, 60)


def test_without_a_peer_a_damaged_conversation_says_so_and_shows_no_hole(daemon):
    one = daemon(models=[MODEL], env={"MCP_ENCRYPTION_KEY": KEY})
    one.ask("first", conversation="talk")
    one.ask("second", conversation="talk")
    one.ask("else", conversation="other")
    one.stop()
    harm(one, DAMAGE["a row deleted"])
    one.start()
    for reply in (one.get("/v1/mcp/contexts/talk"), one.post("third", conversation="talk")):
        assert reply.status_code == 503, reply.text
        error = reply.json()["error"]
        assert error["code"] == "conversation_damaged" and "verify" in error["message"], error
    assert "else" in one.texts("other")
    wait_for(
        lambda: f"status names it: {one.get('/v1/status').text}",
        lambda: any("damaged" in reason for reason in one.get("/v1/status").json()["reasons"]), 20)
    assert one.get("/readyz").status_code == 200
    # Deleted, it can be begun anew.
    assert httpx.delete(f"{one.url}/v1/mcp/contexts/talk", timeout=30).status_code == 200
    one.ask("anew", conversation="talk")
    assert [text for text in one.texts("talk") if text in ("first", "second", "anew")] == ["anew"]


def spoil(host, author, kind, nth):
    """The nth operation of this kind in the author's stream, which is in the same order in every store."""
    harm(
        host, "UPDATE operations SET sealed = zeroblob(80) WHERE id = (SELECT operations.id FROM operations "
        f"JOIN origins ON origins.id = operations.id >> 40 WHERE kind = {kind} AND node = x'{author}' "
        f"ORDER BY operations.id LIMIT 1 OFFSET {nth})")


def test_two_hosts_that_are_damaged_put_one_another_right(swarm):
    """Each in what the other wrote. Of one and the same stream a host can only give what has no damage of its own before
    the next seal of its author."""
    pair = swarm(2)
    a, b = pair.hosts
    said = filled(pair)
    names = [host.id for host in (a, b)]
    for host in (a, b):
        assert host.stop() == 0
    for host, other in ((a, names[1]), (b, names[0])):
        spoil(host, other, 1, 0)
        spoil(host, other, 2, 1)
    pair.start()
    for host in (a, b):
        wait_for(
            lambda host=host: f"whole again: {host.logs()[-3000:]}",
            lambda host=host: all(host.fetch(f"/v1/mcp/contexts/{talk}").status == 200
                                  and host.texts(talk) == said[talk] for talk in said), 30)
        wait_for(lambda: "no damage left", lambda host=host: metric(host, "igris_store_damaged_operations") == 0, 20)
        assert host.command("verify", "--peers", code=0).startswith("ok: ")
    pair.equal()


def test_what_every_host_has_lost_is_named_on_each_and_the_rest_goes_on(swarm):
    three = swarm(3)
    a, b, c = three.hosts
    for talk in ("talk", "other"):
        for number in range(4):
            a.hear(f"{talk} {number}", talk)
    three.equal()
    said = {talk: a.texts(talk) for talk in ("talk", "other")}
    author = a.id
    for host in three.hosts:
        assert host.stop() == 0
    # The third thing that was said in `other`.
    for host in (a, b):
        spoil(host, author, 1, 6)
    for host in (a, b):
        host.start(until=None)
    for host in (a, b):
        host.wait_until("/livez")
    three.together(hosts=[a, b])
    for host in (a, b):
        wait_for(lambda: "it is noticed", lambda host=host: metric(host, "igris_store_damaged_operations") == 1, 30)
        assert host.texts("talk") == said["talk"]
        reply = host.fetch("/v1/mcp/contexts/other")
        assert reply.status == 503 and reply.json["error"]["code"] == "conversation_damaged", reply.text
        assert "other 1" not in reply.text
        assert "1 operations of this host's store are damaged" in host.fetch("/readyz").text
        report = json.loads(host.command("verify", "--peers", "--json", code=1))
        lost = [one for one in report["damaged"] if not one["repaired"]]
        assert [one["conversation"] for one in lost] == ["other"] and lost[0]["operation"], report
        assert report["verdict"] not in ("ok", "repaired"), report
        assert host.say("and on", "new").status == 200
    doctor = json.loads(a.command("doctor", "--json", code=None))
    assert any("damaged" in check["finding"] for check in doctor["checks"] if check["verdict"] == "warn"), doctor
    # One more has it: it was away.
    c.start()
    three.together(20)
    for host in (a, b):
        wait_for(
            lambda host=host: f"all is back: {host.logs()[-3000:]}",
            lambda host=host: host.fetch("/v1/mcp/contexts/other").status == 200 and host.texts("other") == said["other"],
            40)


def test_verify_tells_what_a_peer_lacks(swarm):
    pair = swarm(2)
    a, b = pair.hosts
    filled(pair)
    b.freeze()
    a.hear("while it was frozen", "talk")
    b.thaw()
    pair.equal(within=20)
    assert a.command("verify", "--peers", code=0)
    b.stop()
    report = a.command("verify", "--peers", code=None)
    assert "ok: " in report
