"""`igris-runtime debug bundle`: what others need to know, and nothing else."""

import json
import tarfile
import time

from daemon import ECHO, eventually
from test_swarm_cli import run

SECRET = "canary-of-an-upstream-51c0"
WORD = "Quintaval"


def members(path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive.getmembers()}


def test_it_lists_what_is_inside_and_holds_no_secret_and_nothing_that_was_said(daemon, tmp_path):
    engine = {**ECHO, "aliases": ["phi3"], "command": [*ECHO["command"], f"--answer=ok {SECRET}"]}
    remote = {"name": "far", "engine": "remote", "url": "http://127.0.0.1:9/v1", "api_key": "${FAR_KEY}"}
    one = daemon(
        config={"models": [engine, remote], "log": {"level": "trace"}}, env={"FAR_KEY": SECRET + "-key"}, start=False)
    one.start(until="/livez")
    said = {"conversation": "talk", "user": WORD, "model": "echo"}
    eventually("an answer", lambda: one.post(f"my name is {WORD}", **said).status_code == 200)
    path = tmp_path / "bundle.tar"
    begin = time.monotonic()
    done = run(one, "debug", "bundle", str(path), "--config", str(one.config), "--port", str(one.port))
    assert done.returncode == 0, done.stderr
    # A bound of the program itself, with room for a busy machine: UT-30 says 15 s.
    assert time.monotonic() - begin < 30
    parts = members(path)
    names = [name.removeprefix("igris-debug/") for name in parts]
    assert names == [
        "version.json", "settings.json", "status.json", "swarm.json", "hosts.json", "diagnostics.json", "metrics.txt",
        "logs.json",
    ]
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == names and lines[-1] == f"wrote {path}"
    assert path.stat().st_mode & 0o777 == 0o600
    for name, content in parts.items():
        assert not [word for word in (SECRET, WORD) if word.encode() in content], name
    assert json.loads(parts["igris-debug/version.json"])["igris_runtime"]
    settings = {
        item["key"]: item["value"] for item in json.loads(parts["igris-debug/settings.json"])["settings"]}
    assert settings["models[0].engine"] == "stdio" and settings["log.level"] == "trace"
    assert settings["models[0].command"] == f"<{len(engine['command'])} items>"
    assert b"igris_http_requests_total" in parts["igris-debug/metrics.txt"]
    assert json.loads(parts["igris-debug/status.json"])["models"]
    assert json.loads(parts["igris-debug/logs.json"])["data"]


def test_it_can_be_had_without_a_daemon_and_overwrites_nothing(daemon, tmp_path):
    one = daemon(models=[ECHO], start=False)
    place = ["--config", str(one.config), "--port", str(one.port)]
    path = tmp_path / "bundle.tar"
    done = run(one, "debug", "bundle", str(path), *place)
    assert done.returncode == 0, done.stderr
    parts = members(path)
    assert b"no daemon answers" in parts["igris-debug/status.json"]
    assert b"kernel" in parts["igris-debug/version.json"]
    before = path.read_bytes()
    again = run(one, "debug", "bundle", str(path), *place)
    assert again.returncode == 78 and path.read_bytes() == before
    listed = run(one, "debug", "bundle", "--list", *place)
    assert listed.returncode == 0 and "version.json" in listed.stdout and "wrote" not in listed.stdout
