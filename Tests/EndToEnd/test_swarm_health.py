"""How the swarm fares: figures that rise, what is logged, warnings before trouble, and who is relied on."""

import json
import os
import re
import select
import shutil
import subprocess
import time

import pytest

from daemon import ECHO, scripted_engine
from impostor import Impostor
from swarm import FOUND, HEALED, KEY, MODEL, wait_for
from websocket import CLOSE

SECRET = "Quintaval"


# Figures


def test_every_metric_that_is_described_is_there(swarm, root):
    """A description without a figure is a promise that nobody keeps."""
    described = set()
    for file in (root / "Sources").rglob("*.swift"):
        described |= set(re.findall(r'MetricDescription\(\s*"(igris_\w+)"', file.read_text()))
    assert len(described) > 25
    # One that comes and goes: loads and unloads are counted.
    passing = {**scripted_engine("passing", "echo.py"), "keep_alive": "0"}
    several = scripted_engine("several", "echo.py", instances={"max": 2})
    a, b = swarm(2, found_by="both", models=[MODEL, passing, several], config={"tls": {"enabled": True}}).hosts
    a.hear("hello", "talk")
    a.hear("hello", "talk", fields={"model": "passing"})
    wait_for(lambda: "the turn on B", lambda: b.texts("talk"), HEALED)

    def missing():
        # What is counted per peer or commit comes with the first of them.
        page = a.fetch("/metrics").text + b.fetch("/metrics").text
        return {name for name in described if f"# TYPE {name} " not in page}

    wait_for(lambda: f"on the pages: {missing()}", lambda: not missing(), HEALED)


def test_announcements_go_on(swarm):
    a = swarm(1, found_by="multicast").hosts[0]
    count = lambda: a.count("igris_announcements_total")
    # At the start there are five within four seconds; after those one every ten.
    wait_for(lambda: f"the first ones: {count()}", lambda: count() >= 5, 3 * FOUND)
    before = count()
    wait_for(lambda: f"another one: {count()}", lambda: count() > before, 15)


def test_a_partition_is_measured_and_suspicions_are_counted(swarm):
    pair = swarm(2)
    a, b = pair.hosts
    assert a.count("igris_membership_suspicions_total") == 0
    assert a.count("igris_partition_recovery_seconds_count") == 0
    begin = time.monotonic()
    b.freeze()
    wait_for(lambda: f"B dead: {a.peers()}", lambda: a.state_of(b) == "dead", 15)
    a.hear("meanwhile", "talk")
    b.thaw()
    pair.together(within=3 * FOUND)
    pair.equal()
    wait_for(lambda: "the partition on A's page", lambda: a.count("igris_partition_recovery_seconds_count") == 1, HEALED)
    lasted = time.monotonic() - begin
    assert 1 < a.count("igris_partition_recovery_seconds_sum") <= lasted
    assert a.count("igris_membership_suspicions_total") >= 1
    # Who was killed and comes back was not cut off.
    b.kill9()
    wait_for(lambda: f"B dead: {a.peers()}", lambda: a.state_of(b) == "dead", 15)
    b.start()
    pair.together()
    pair.equal()
    assert a.count("igris_partition_recovery_seconds_count") == 1


# The log


def test_the_log_can_be_read_over_http_and_followed(swarm):
    pair = swarm(2)
    a, b = pair.hosts
    a.hear(SECRET, "talk")
    page = a.fetch("/v1/logs").json
    messages = [event["message"] for event in page["data"]]
    assert "listening" in messages and "linked" in messages
    for event in page["data"]:
        assert {"cursor", "time", "level", "label", "message"} <= set(event)
    b.kill9()

    def death():
        later = a.fetch(f"/v1/logs?since={page['next']}").json["data"]
        return [event for event in later if event["message"] == "member dead"]

    (dead,) = wait_for(lambda: "the death in the log", death, 15)
    assert dead["peer.name"] == "B" and dead["cursor"] > page["next"]
    # A time does as well as a cursor.
    assert dead in a.fetch(f"/v1/logs?since={dead['time'][:-5]}Z").json["data"]
    assert len(a.fetch("/v1/logs?limit=1").json["data"]) == 1
    everything = a.fetch("/v1/logs?since=0&limit=1000").text
    assert SECRET not in everything and KEY not in everything


@pytest.mark.parametrize("query", ["since=yesterday", "since=-1", "limit=0", "limit=many"])
def test_what_is_no_place_in_the_log_is_refused_by_name(daemon, query):
    reply = daemon(models=[ECHO]).get(f"/v1/logs?{query}")
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == query.partition("=")[0]


def test_the_log_is_for_those_whom_auth_lets_in(daemon):
    host = daemon(models=[ECHO], config={"auth": {"keys": ["a-long-random-text"]}})
    assert host.get("/v1/logs", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_the_command_follows_the_log(swarm):
    pair = swarm(2)
    a, b = pair.hosts
    assert "linked" in a.command("logs")
    lines = [json.loads(line) for line in a.command("logs", "--json").splitlines()]
    assert any(line["message"] == "listening" for line in lines)
    assert a.command("logs", "--since", "tomorrow", code=1).count("since") == 1
    follower = subprocess.Popen(
        [str(a.binary), "logs", "--follow", "--url", a.url], stdout=subprocess.PIPE, text=True, env=a.environment)
    try:
        b.stop()
        seen = ""
        deadline = time.monotonic() + 15
        while "member left" not in seen:
            assert select.select([follower.stdout], [], [], max(0, deadline - time.monotonic()))[0], seen
            seen += follower.stdout.readline()
        assert seen.count("listening") == 1
    finally:
        follower.terminate()
        follower.wait(10)


# Warnings


def test_a_disk_that_is_nearly_full_is_told_before_it_is_full(swarm):
    if os.getuid() or not shutil.which("unshare"):
        pytest.skip("a small disk needs root and unshare")
    one = swarm(1, start=False)
    a = one.hosts[0]
    disk = a.home / "small"
    disk.mkdir()
    one.configure(a, storage_path=str(disk / "contexts.db"))
    # A disk of its own, seen by this process alone.
    a.launcher = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                  f'mount -t tmpfs -o size=64m tmpfs {disk} && exec "$0" "$@"']
    a.start()
    warning = wait_for(lambda: f"a warning: {a.status()}", lambda: a.status()["warnings"], HEALED)
    assert "disk" in warning[0] and "mcp.storage_path" in warning[0], warning
    assert "disk" in a.fetch("/v1/logs").text
    a.launcher = []
    status = a.command("status")
    assert status.startswith("ok, but:") and "the disk of the store" in status
    assert a.hear("still here", "talk") == "1: still here"


@pytest.fixture
def wrong_clock(tmp_path):
    """Environment that puts a program's clock an hour back."""
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    compiler = shutil.which("cc") or shutil.which("clang")
    if not compiler or subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"]).returncode:
        pytest.skip("no C compiler here")
    return {"LD_PRELOAD": str(library)}


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *time) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, time);
    if (id == CLOCK_REALTIME) time->tv_sec -= 3600;
    return result;
}
"""


def test_a_wrong_clock_is_named_and_stops_nothing(swarm, wrong_clock):
    three = swarm(3, start=False)
    a, b, c = three.hosts
    b.environment.update(wrong_clock)
    three.start()
    warning = wait_for(lambda: f"a warning: {a.status()}", lambda: a.status()["warnings"], 3 * FOUND)
    assert warning[0].startswith("the clock of B is 3600 s behind"), warning
    assert a.command("status").startswith("ok, but:")
    # The one that is off sees that all the others are.
    own = wait_for(lambda: f"a warning: {b.status()}", lambda: b.status()["warnings"], 3 * FOUND)
    assert own[0].startswith("this host's clock is about 3600 s behind"), own
    for number, host in enumerate([b, a, b, c]):
        host.hear(f"turn {number}", "talk")
    three.equal()
    assert [text for text in a.texts("talk") if text.startswith("turn")] == [f"turn {n}" for n in range(4)]


# Reputation


@pytest.fixture
def impostor(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("no openssl program here")
    return Impostor(KEY, tmp_path / "impostor")


def row_of(host, identity):
    return next((row for row in host.fetch("/v1/swarm/nodes").json["nodes"] if row["id"] == identity), None)


def test_who_sends_forged_frames_is_relied_on_less_and_then_excluded(swarm, impostor):
    pair = swarm(2)
    a, b = pair.hosts

    def forge():
        """One frame that is no message, on a link that is let in."""
        try:
            with impostor.link(a) as link:
                link.send(impostor.greeting())
                # A greeting that breaks off.
                link.send(b"\x01\x01\xff")
                # The host ends the link.
                while link.receive()[0] != CLOSE:
                    pass
        except OSError:
            pass

    before = a.count("igris_link_malformed_total")
    for _ in range(10):
        forge()
    wait_for(lambda: "ten forgeries", lambda: a.count("igris_link_malformed_total") - before == 10, HEALED)
    fallen = row_of(a, impostor.id)
    assert fallen["reputation"] <= 82 and not fallen["excluded"], fallen
    for _ in range(40):
        forge()
    log = a.fetch("/v1/logs?since=0&limit=1000").json["data"]
    told = [event for event in log if event["message"] == "a peer is excluded"]
    assert [event["peer.id"] for event in told] == [impostor.id], log
    row = row_of(a, impostor.id)
    assert row["reputation"] <= 20 and row["excluded"] and row["why_not"].startswith("excluded: it sent"), row
    assert "excluded" in a.command("status") and "REPUTATION" in a.command("peers")
    # Out means out: what it sends now is not even read.
    counted = a.count("igris_link_malformed_total")
    forge()
    assert a.count("igris_link_malformed_total") == counted
    # The honest ones do not notice.
    assert row_of(a, b.id)["reputation"] > 80 and not row_of(a, b.id)["excluded"]
    a.hear("on we go", "talk")
    pair.equal()


def test_who_signs_two_different_things_under_one_number_is_proven_to_all(swarm, impostor):
    three = swarm(3)
    a, b, c = three.hosts
    with impostor.link(a) as first, impostor.link(b) as second:
        for link in (first, second):
            link.send(impostor.greeting())
            # Its own greeting is the answer: from now on the link is in use.
            while not link.receive()[1].startswith(b"\x01\x01"):
                pass
        # To one host this, to the other that: both are rightly signed.
        first.send(impostor.push("meet at noon"))
        second.send(impostor.push("meet at midnight"))
        # Who was told neither holds the proof as well.
        for host in three.hosts:
            wait_for(
                lambda host=host: f"the proof on {host.home.name}: {host.logs()[-3000:]}",
                lambda host=host: host.count("igris_equivocations") == 1, 20)
            row = row_of(host, impostor.id)
            assert row is None or "signed two different operations" in row["why_not"], row
    told = a.fetch("/v1/logs?since=0&limit=1000").json["data"] + b.fetch("/v1/logs?since=0&limit=1000").json["data"]
    assert any("signed two different streams" in event["message"] for event in told), told
    # It outlives a start, and the honest ones go on.
    c.restart()
    three.together()
    wait_for(lambda: "the proof after a start", lambda: c.count("igris_equivocations") == 1, 10)
    a.hear("on we go", "talk")
    three.equal()


def test_what_a_later_version_may_say_is_held_against_nobody(swarm, impostor):
    a = swarm(1).hosts[0]
    with impostor.link(a) as link:
        # A channel, and a kind of message, that this version does not know; then a frame that is none.
        for frame in (b"\x63anything", b"\x01\x63anything", b"\x01\x01\xff"):
            link.send(frame)
        wait_for(lambda: "the last one", lambda: a.count("igris_link_malformed_total"), HEALED)
    assert a.count("igris_link_malformed_total") == 1


# Where hosts stand


def test_a_zone_is_told_to_the_others_and_shown(swarm):
    pair = swarm(2, start=False)
    a, b = pair.hosts
    for host, zone in ((a, "house-1"), (b, "house-2")):
        file = json.loads(host.config.read_text())
        file["node"]["zone"] = zone
        host.config.write_text(json.dumps(file))
    pair.start()
    wait_for(lambda: f"B's zone: {a.peers()}", lambda: a.peer(b)["zone"] == "house-2", FOUND)
    assert row_of(a, a.id)["zone"] == "house-1"
    zones = {node["id"]: node["zone"] for node in a.fetch("/v1/swarm/topology").json["nodes"]}
    assert zones == {a.id: "house-1", b.id: "house-2"}
    shown = a.command("peers")
    assert "ZONE" in shown.splitlines()[0] and "house-2" in shown
