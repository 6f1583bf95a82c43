"""What lies on disk: nothing readable without the key, and nothing touched with a wrong one."""

import hashlib
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from daemon import eventually, recall, scripted_engine

ECHO = {**scripted_engine("echo", "echo.py"), "aliases": ["phi3"]}
PLANTED = ["Alice", "Quintaval", "secret-conversation", "planted-user", "Zürich", "planted-system"]
CUSTOM = {"mcp": {"encryption_key": "${MCP_ENCRYPTION_KEY}"}}
KEY = "correct horse battery staple, a long pass phrase"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def contents(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def database_files(one) -> list[Path]:
    return sorted(one.database.parent.glob(one.database.name + "*"))


def plant(one) -> None:
    one.ask("Remember: my name is Alice", conversation="secret-conversation", user="planted-user")
    one.ask([
        {"role": "system", "content": "planted-system"},
        {"role": "user", "content": "Remember: my dog is Quintaval. I live in Zürich."},
    ])
    one.client().chat.completions.create(
        model="phi3", messages=[{"role": "user", "content": "What is my dog? Quintaval"}], stream=False)


def test_nothing_that_was_said_is_readable_on_disk(daemon):
    one = daemon(models=[recall()], args=[], config={"log": {"level": "trace"}})
    plant(one)
    # While it runs (WAL), after a kill, and after a clean stop.
    for act in (lambda: None, one.kill9, lambda: (one.start(), one.stop())):
        act()
        found = [
            f"{word} in {path.relative_to(one.home)}"
            for path in files(one.home) for word in PLANTED if word.encode() in path.read_bytes()
        ]
        assert not found
    assert database_files(one), "nothing was stored at all"


def test_the_processes_show_nothing_on_their_command_lines(daemon):
    one = daemon(models=[recall()], config=CUSTOM, env={"MCP_ENCRYPTION_KEY": KEY})
    plant(one)
    assert one.children()
    for pid in [one.pid, *one.children()]:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert not [word for word in [*PLANTED, KEY] if word.encode() in line]
    for pid in one.children():
        assert KEY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def test_the_custom_key_is_nowhere_on_disk(daemon):
    one = daemon(models=[recall()], config={**CUSTOM, "log": {"level": "trace"}}, env={"MCP_ENCRYPTION_KEY": KEY})
    plant(one)
    one.stop()
    assert not [path for path in files(one.home) if KEY.encode() in path.read_bytes()]


def test_files_are_their_owners_alone(daemon):
    one = daemon(models=[recall()])
    plant(one)
    ours = [path for path in files(one.home) if path.name not in ("config.json5", "daemon.log")]
    assert len(ours) >= 2, "a database and a key file at least"
    for path in ours:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, f"{path} {oct(path.stat().st_mode)}"


def test_the_same_key_opens_a_copy_elsewhere(daemon):
    one = daemon(models=[recall()], config=CUSTOM, env={"MCP_ENCRYPTION_KEY": KEY})
    one.ask("Remember: my name is Alice", conversation="c")
    assert one.stop() == 0
    other = daemon(models=[recall()], config=CUSTOM, env={"MCP_ENCRYPTION_KEY": KEY}, home="elsewhere", start=False)
    for path in database_files(one):
        shutil.copy(path, other.home / path.name)
    other.start()
    assert other.ask("What is my name?", conversation="c") == "Your name is Alice"


@pytest.mark.parametrize("wrong", [{"MCP_ENCRYPTION_KEY": "another pass phrase of some length"}, {}])
def test_with_a_wrong_key_the_store_stays_untouched_and_inference_goes_on(daemon, wrong):
    one = daemon(models=[recall()], config=CUSTOM, env={"MCP_ENCRYPTION_KEY": KEY})
    one.ask("Remember: my name is Alice", conversation="c")
    assert one.stop() == 0
    before = {path: contents(path) for path in database_files(one)}
    one.environment.pop("MCP_ENCRYPTION_KEY")
    one.environment.update(wrong)
    mark = len(one.logs())
    one.start(until="/livez")
    eventually("an answer though the store is locked", lambda: one.post("Hello", store=False).status_code == 200)
    ready = one.get("/readyz")
    reasons = " ".join(ready.json()["reasons"])
    # What is wrong and what to do, in both places.
    for words in (reasons, one.logs()[mark:]):
        assert "the key does not open the store" in words and "mcp.encryption_key" in words
    refused = one.get("/v1/mcp/contexts/c")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_locked")
    assert KEY not in reasons + one.logs()
    # A bare request is answered too; it is not kept.
    assert one.post("Hello again").status_code == 200
    one.stop()
    after = {path: contents(path) for path in database_files(one)}
    assert {path: digest for path, digest in after.items() if path in before} == before
    # The right key again: all is there.
    one.environment["MCP_ENCRYPTION_KEY"] = KEY
    one.start()
    assert one.ask("What is my name?", conversation="c") == "Your name is Alice"


def test_a_copied_database_without_its_device_key_does_not_open(daemon):
    one = daemon(models=[recall()])
    one.ask("Remember: my name is Alice", conversation="c")
    one.stop()
    thief = daemon(models=[recall()], home="thief", start=False)
    for path in database_files(one):
        shutil.copy(path, thief.home / path.name)
    thief.start(until="/livez")
    reply = thief.get("/v1/mcp/contexts/c")
    assert reply.status_code >= 400
    assert "Alice" not in reply.text
    assert thief.get("/readyz").json()["reasons"]


def test_nothing_is_written_with_persist_false(daemon):
    one = daemon(models=[recall()], config={"mcp": {"persist": False}})
    one.ask("Remember: my name is Alice")
    assert one.ask("What is my name?") == "Your name is Alice"
    assert not list(one.home.rglob("*.db*"))
    one.stop()
    one.start()
    assert "Alice" not in one.ask("What is my name?")


def test_two_daemons_with_one_file_and_different_ports_both_work(daemon):
    """Each with a store of its own; that they share by themselves is switched off here (`test_seed_swarm` has it on)."""
    one = daemon(models=[ECHO], config={"mcp": {"mdns": False, "multicast": False}})
    two = daemon(config=one.config)
    assert two.config == one.config
    assert one.ask("first", conversation="c") == "1: first"
    assert two.ask("second", conversation="c") == "1: second"
    # Two hosts, not one twice.
    served = [each.post("Hello", store=False).headers["x-igris-served-by"] for each in (one, two)]
    assert served[0] != served[1]
    # The second keeps its own file, says so, and finds it again.
    fallback = one.database.with_name(f"mcp_contexts.{two.port}.db")
    assert fallback.exists()
    assert fallback.name in two.logs()
    two.kill9()
    two.start()
    assert two.texts("c") == ["second", "1: second"]
    # Each comes back to its own, whichever starts first.
    one.kill9()
    two.kill9()
    two.start()
    one.start()
    assert two.texts("c") == ["second", "1: second"]
    assert one.texts("c") == ["first", "1: first"]


def test_the_same_daemon_started_twice_leaves_no_files_behind(daemon):
    one = daemon(models=[ECHO])
    again = daemon(config=one.config, args=["--port", str(one.port)], start=False)
    before = sorted(path.name for path in one.database.parent.iterdir())
    again.port = one.port
    again.start(until=None)
    assert again.process.wait(30) == 78
    assert f"port {one.port} is in use" in again.logs()
    assert sorted(path.name for path in one.database.parent.iterdir()) == before


def test_a_database_of_a_newer_version_is_refused_untouched(daemon):
    one = daemon(models=[recall()])
    one.ask("Remember: my name is Alice", conversation="c")
    one.stop()
    with sqlite3.connect(one.database) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    before = contents(one.database)
    one.start(until=None)
    assert one.process.wait(30) == 78
    assert "newer version" in one.logs() and "9999" in one.logs()
    assert contents(one.database) == before


def test_a_flipped_bit_is_never_read_as_something_else(daemon):
    one = daemon(models=[ECHO])
    one.ask("the true text", conversation="c")
    one.stop()
    with sqlite3.connect(one.database) as connection:
        rows = connection.execute("SELECT id, sealed FROM operations").fetchall()
        assert len(rows) >= 3
        for row, sealed in rows:
            damaged = sealed[:-3] + bytes([sealed[-3] ^ 1]) + sealed[-2:]
            connection.execute("UPDATE operations SET sealed = ? WHERE id = ?", [damaged, row])
    connection.close()
    one.start(until=None)
    one.wait_until("/livez")
    reply = one.get("/v1/mcp/contexts/c")
    assert reply.status_code >= 500
    assert "text" not in reply.json()["error"]["message"].replace("context", "")
    assert eventually("an answer without memory", lambda: one.post("Hello", store=False).status_code == 200)
