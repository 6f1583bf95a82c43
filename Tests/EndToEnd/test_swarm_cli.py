"""The verbs about the swarm: its key, its members, what is wrong with it, what is deleted."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys

import pytest

from daemon import ECHO, Daemon, eventually, free_port

KEY = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"


def run(daemon: Daemon, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(daemon.binary), *arguments], cwd=daemon.home, env=daemon.environment, capture_output=True, text=True,
        timeout=60, **({"input": input} if input is not None else {"stdin": subprocess.DEVNULL}),
    )


@pytest.fixture
def idle(daemon):
    """A home folder whose daemon does not run."""
    return daemon(start=False)


# The key


def test_the_key_is_made_once_and_shown_only_when_asked(idle):
    first, second = run(idle, "swarm", "key", "--json"), run(idle, "swarm", "key", "--json")
    assert first.returncode == 0 and first.stdout == second.stdout
    shown = json.loads(first.stdout)
    path = idle.home / "state/igris/swarm.key"
    assert shown["source"] == str(path) and not shown["rotated"] and re.fullmatch("[0-9a-f]{32}", shown["swarm"])
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    secret = path.read_bytes().hex()
    assert secret not in first.stdout + run(idle, "swarm", "key").stdout
    assert run(idle, "swarm", "key", "--reveal").stdout == secret + "\n"


def test_a_revealed_key_makes_another_host_a_member(daemon):
    one, other = daemon(home="one", start=False), daemon(home="other", start=False)
    revealed = run(one, "swarm", "key", "--reveal").stdout
    before = json.loads(run(other, "swarm", "key", "--json").stdout)["swarm"]
    joined = run(other, "swarm", "join", "-", input=revealed)
    assert joined.returncode == 0, joined.stderr
    assert "shared" in joined.stdout and revealed.strip() not in joined.stdout
    ids = [json.loads(run(host, "swarm", "key", "--json").stdout)["swarm"] for host in (one, other)]
    assert ids[0] == ids[1] != before
    assert (other.home / "state/igris/swarm.key.old").exists()


def test_the_configuration_wins_over_the_key_file(daemon):
    host = daemon(start=False, config={"mcp": {"encryption_key": KEY}})
    shown = json.loads(run(host, "swarm", "key", "--json", "--config", str(host.config)).stdout)
    assert shown["source"].startswith("mcp.encryption_key, from ")
    assert run(host, "swarm", "key", "--reveal", "--config", str(host.config)).stdout.strip() == KEY
    refused = run(host, "swarm", "join", KEY, "--config", str(host.config))
    assert refused.returncode == 78 and "mcp.encryption_key is set by" in refused.stderr
    assert not (host.home / "state/igris/swarm.key").exists()


@pytest.mark.parametrize(
    "key, words",
    [("", "holds no key"), ("\n", "holds no key"), ("short", "too short"), ("elevenchars", "too short")],
)
def test_what_is_no_key_is_refused(idle, key, words):
    before = run(idle, "swarm", "key", "--reveal").stdout
    refused = run(idle, "swarm", "join", "-", input=key)
    assert refused.returncode == 78 and words in refused.stderr
    assert run(idle, "swarm", "key", "--reveal").stdout == before


@pytest.mark.parametrize("key", [KEY[:-1], KEY + "0", KEY[:30] + "o" + KEY[31:], KEY + KEY[:6]])
def test_a_key_that_was_not_copied_whole_is_refused(idle, key):
    before = run(idle, "swarm", "key", "--reveal").stdout
    refused = run(idle, "swarm", "join", key)
    assert refused.returncode == 78 and "64 hexadecimal digits" in refused.stderr and "copy it again" in refused.stderr
    assert key not in refused.stderr
    assert run(idle, "swarm", "key", "--reveal").stdout == before


def test_what_answers_and_is_no_daemon_is_told_so(idle):
    web = "import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"
    talker = (
        "import socket; s = socket.create_server(('127.0.0.1', {port}))\n"
        "while True: c = s.accept()[0]; c.sendall(b'SSH-2.0-OpenSSH_9.2\\r\\n'); c.recv(4096); c.close()")
    for program, words in ((web, "does not speak as igris-runtime does"), (talker, "does not speak HTTP")):
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-c", program.format(port=port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_port(port)
            done = run(idle, "status", "--port", str(port))
            assert done.returncode == 69 and words in done.stderr, done.stderr
        finally:
            process.kill()
            process.wait()


def wait_for_port(port: int) -> None:
    def is_open() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            return False

    eventually("somebody listens", is_open)


def test_a_daemon_that_stands_still_is_not_waited_for(daemon):
    host = daemon(models=[ECHO])
    os.kill(host.pid, signal.SIGSTOP)
    try:
        done = run(host, "status", "--port", str(host.port))
        assert done.returncode == 69 and "has not answered" in done.stderr
    finally:
        os.kill(host.pid, signal.SIGCONT)


def test_an_open_host_has_no_key(daemon):
    host = daemon(start=False, config={"mcp": {"open": True}})
    assert "mcp.open" in run(host, "swarm", "key", "--config", str(host.config)).stdout
    assert run(host, "swarm", "join", KEY, "--config", str(host.config)).returncode == 78


# Without a daemon


@pytest.mark.parametrize(
    "verb",
    [
        ["peers"], ["status"], ["swarm", "status"], ["swarm", "rotate"], ["swarm", "evict", "kitchen"],
        ["conversations"], ["conv", "rm", "x"], ["models"], ["chat", "hello"],
    ],
)
def test_every_verb_says_that_nobody_answers_and_where(idle, verb):
    port = free_port()
    done = run(idle, *verb, "--port", str(port))
    assert done.returncode == 69
    assert f"no daemon answers at http://127.0.0.1:{port}" in done.stderr


def test_the_doctor_looks_by_itself_where_no_daemon_answers(idle):
    done = run(idle, "doctor", "--json", "--port", str(free_port()))
    assert done.returncode == 2 and "no daemon answers" in done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"] == "fail" and len(report["checks"]) >= 25
    assert all(check["fix"] for check in report["checks"] if check["verdict"] in ("warn", "fail"))


# With a daemon


def test_the_verbs_find_the_daemon_by_url_port_or_settings(daemon):
    host = daemon(models=[ECHO])
    host.config.write_text(json.dumps({"server": {"port": host.port}, "models": [ECHO]}))
    for where in (["--url", f"http://127.0.0.1:{host.port}"], ["--port", str(host.port)], ["--config", str(host.config)]):
        for verb in (["status"], ["peers"], ["chat", "hello"], ["models"]):
            done = run(host, *verb, *where)
            assert done.returncode == 0, (verb, where, done.stderr)


def test_a_host_alone_says_so(daemon):
    host = daemon(models=[ECHO], config={"mcp": {"mdns": False, "multicast": False}})
    where = ["--port", str(host.port)]
    peers = run(host, "peers", *where)
    assert peers.returncode == 0
    lines = peers.stdout.splitlines()
    assert lines[0].split() == [*"NAME ID ADDRESS STATE RTT VERSION ROLE MODELS LAG VIA WHY".split(), "NOT"]
    assert "(this host)" in lines[1] and "alive" in lines[1] and "doctor peers" in lines[-1]
    page = json.loads(run(host, "peers", "--json", *where).stdout)
    assert [peer["self"] for peer in page["peers"]] == [True]
    status = run(host, "status", *where)
    assert status.stdout.splitlines()[0] in ("ok", "ok, but:")
    assert re.search(r"^swarm  1 host  phase \w+  role worker  security key", status.stdout, re.M)
    swarm = json.loads(run(host, "swarm", "status", "--json", *where).stdout)
    assert list(swarm)[:3] == ["id", "role", "phase"]
    assert swarm["swarm"] == json.loads(run(host, "swarm", "key", "--json").stdout)["swarm"]


def test_the_doctor_asks_the_daemon(daemon):
    host = daemon(models=[ECHO])
    done = run(host, "doctor", "peers", "--json", "--port", str(host.port))
    report = json.loads(done.stdout)
    assert done.returncode == {"ok": 0, "warn": 1, "fail": 2}[report["verdict"]]
    assert len(report["checks"]) >= 25 and report["multicast"] in ("on", "off", "unavailable")
    words = run(host, "doctor", "-v", "--port", str(host.port)).stdout
    assert all(check["title"] in words for check in report["checks"])


def test_shared_context_switched_off_takes_the_swarm_away(daemon):
    host = daemon(models=[ECHO], config={"mcp": {"enabled": False}})
    done = run(host, "peers", "--port", str(host.port))
    assert done.returncode == 1 and "mcp.enabled" in done.stderr
    assert run(host, "status", "--port", str(host.port)).returncode == 0


def test_a_conversation_is_listed_and_deleted(daemon):
    host = daemon(models=[ECHO])
    where = ["--port", str(host.port)]
    for name in ("office", "a/b%c"):
        assert run(host, "chat", "-c", name, "hello", *where).returncode == 0
        listed = run(host, "conversations", *where).stdout
        assert re.search(rf"^{re.escape(name)} +2 +\d{{4}}-", listed, re.M), listed
        done = run(host, "conv", "rm", name, *where)
        assert done.returncode == 0 and done.stdout.startswith(f"deleted {name} on "), done.stderr
        eventually("it is gone", lambda: name not in run(host, "conv", "ls", *where).stdout)
    missing = run(host, "conv", "rm", "office2", *where)
    assert missing.returncode == 1 and "there is no" in missing.stderr


def test_nobody_is_evicted_by_a_name_that_fits_no_one(daemon):
    host = daemon(models=[ECHO])
    done = run(host, "swarm", "evict", "kitchen", "--port", str(host.port))
    assert done.returncode == 64 and "igris-runtime peers" in done.stderr
    own = json.loads(run(host, "swarm", "status", "--json", "--port", str(host.port)).stdout)["id"]
    assert run(host, "swarm", "evict", own, "--port", str(host.port)).returncode == 64


def three_of_one_name(daemon) -> list[Daemon]:
    """Instances of one user on one machine, none of which has a name of its own."""
    hosts = [daemon(models=[ECHO])]
    for number in (2, 3):
        state = {"XDG_STATE_HOME": str(hosts[0].home / "state")}
        hosts.append(daemon(models=[ECHO], home=f"home{number}", env=state))

    def alive(host) -> int:
        page = json.loads(run(host, "peers", "--json", "--port", str(host.port)).stdout)
        return sum(peer["state"] == "alive" for peer in page["peers"])

    eventually("all see all", lambda: all(alive(host) == 3 for host in hosts))
    return hosts


def test_hosts_of_one_name_are_told_apart_everywhere(daemon):
    one, two, three = three_of_one_name(daemon)
    where = ["--port", str(one.port)]
    ids = [json.loads(run(host, "status", "--json", "--port", str(host.port)).stdout)["id"] for host in (one, two, three)]
    shown = run(one, "peers", *where).stdout
    assert all(f"{node[:12]} " in shown for node in ids), shown
    assert all(f":{host.port} " in shown for host in (one, two, three)), shown
    # A conversation's deletion names each of them.
    assert run(one, "chat", "-c", "office", "hello", *where).returncode == 0
    deleted = run(one, "conv", "rm", "office", "--wait", "10", *where).stdout
    assert all(node[:12] in deleted for node in ids), deleted
    name = json.loads(run(one, "status", "--json", *where).stdout)["swarm"]["name"]
    # The name is two others': which one is meant has to be said, and the words say how.
    refused = run(one, "swarm", "evict", name, *where)
    assert refused.returncode == 64 and "2 hosts are called" in refused.stderr, refused.stderr
    assert all(node[:12] in refused.stderr for node in ids[1:]), refused.stderr
    evicted = run(one, "swarm", "evict", ids[2][:12], *where)
    assert evicted.returncode == 0 and evicted.stdout.startswith(f"evicted {name} ({ids[2]})"), evicted.stderr


def test_a_host_is_evicted_by_its_name(daemon):
    one = daemon(models=[ECHO], config={"node": {"name": "attic"}})
    state = {"XDG_STATE_HOME": str(one.home / "state")}
    two = daemon(models=[ECHO], config={"node": {"name": "Old laptop"}}, home="two", env=state)
    where = ["--port", str(one.port)]

    def rows() -> dict[str, str]:
        page = json.loads(run(one, "peers", "--json", *where).stdout)
        return {peer["name"]: peer["state"] for peer in page["peers"] + page["others"]}

    eventually("they are linked", lambda: rows().get("Old laptop") == "alive")
    done = run(one, "swarm", "evict", "Old laptop", *where)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("evicted Old laptop (") and "key rotation" in done.stdout
    eventually("it is out", lambda: rows().get("Old laptop") == "evicted")
    eventually("it says so", lambda: "evicted" in run(two, "status", "--port", str(two.port)).stdout)
    # Once more: it is out already, which is no failure.
    assert run(one, "swarm", "evict", "Old laptop", *where).returncode == 0


def test_two_on_one_machine_see_each_other_and_rotate_the_key(daemon):
    one = daemon(models=[ECHO], config={"node": {"name": "attic"}})
    # The same user: one state folder, so one key.
    two = daemon(models=[ECHO], config={"node": {"name": "cellar"}}, home="two", env={"XDG_STATE_HOME": str(one.home / "state")})
    where = ["--port", str(one.port)]

    def linked() -> bool:
        page = json.loads(run(one, "peers", "--json", *where).stdout)
        return any(peer["name"] == "cellar" and peer["state"] == "alive" for peer in page["peers"])

    eventually("they are linked", linked)
    before = json.loads(run(one, "swarm", "status", "--json", *where).stdout)["swarm"]
    rotated = run(one, "swarm", "rotate", *where)
    assert rotated.returncode == 0, rotated.stdout + rotated.stderr
    assert "done" in rotated.stdout
    for host in (one, two):
        status = json.loads(run(host, "swarm", "status", "--json", "--port", str(host.port)).stdout)
        assert status["swarm"] != before and status["rotation"]["phase"] == "retired"
    shown = json.loads(run(one, "swarm", "key", "--json").stdout)
    assert shown["rotated"] and shown["swarm"] != before
    eventually("they are linked again", linked)
    dry = run(one, "swarm", "evict", "cellar", "--dry-run", *where)
    assert dry.returncode == 0 and dry.stdout.startswith("would evict cellar")
