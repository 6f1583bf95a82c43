"""The keys that seal the store: changed while it works, whatever happens meanwhile, and with what was deleted."""

import random
import shutil
import sqlite3
import threading
import time

import pytest

from daemon import ECHO, eventually
from swarm_load import append_part
from test_swarm_cli import run

INSTANT = {**ECHO, "command": [*ECHO["command"], "--answer", "ok"], "aliases": ["phi3"]}
CONFIG = {"models": [INSTANT], "mcp": {"mdns": False, "multicast": False}}


def rotate(host, *arguments: str):
    return run(host, "store", "rotate-key", "--config", str(host.config), "--port", str(host.port), *arguments)


def files(host):
    return [path for path in (host.database, host.database.with_name(host.database.name + "-wal")) if path.exists()]


def versions(host) -> set[int]:
    """Of the keys that seal the rows on the disk of a host that does not run."""
    with sqlite3.connect(host.database) as connection:
        found = {row[0] for row in connection.execute("SELECT substr(sealed, 1, 1) FROM operations")}
    connection.close()
    return {value[0] for value in found}


def test_the_verb_seals_every_row_anew_and_destroys_the_old_key(daemon):
    one = daemon(config=CONFIG)
    append_part(one.port, "talk", 600, 8)
    said = one.texts("talk-0-0")
    done = rotate(one)
    assert done.returncode == 0, done.stderr
    assert "data key 2" in done.stdout and "no older one" in done.stdout
    metrics = one.metrics()
    assert metrics["igris_store_key_version"] == 2 and metrics["igris_store_rows_to_rewrite"] == 0
    assert one.get("/v1/admin/store/key").json()["keys"] == 1
    one.kill9()
    assert versions(one) == {2}
    one.start()
    assert one.texts("talk-0-0") == said
    check = run(one, "verify", "--port", str(one.port))
    assert check.returncode == 0, check.stdout


def test_kills_in_a_loop_while_keys_change_lose_nothing(daemon):
    """Some kills fall before the first row, some in the middle, some after the last: the pauses are random, and there
    are more until one of them was in the middle."""
    one = daemon(config=CONFIG)
    append_part(one.port, "talk", 3_000, 8, text="x" * 2_000)
    names = {item["id"] for item in one.get("/v1/mcp/contexts?limit=1000").json()["data"]}
    before = {name: one.texts(name) for name in sorted(names)[::25]}
    chance = random.Random(6)
    in_the_middle = 0
    for turn in range(60):
        if turn >= 10 and in_the_middle:
            break
        done = rotate(one, "--wait", "0")
        assert done.returncode == 0, done.stderr
        time.sleep(chance.random() * 0.3)
        in_the_middle += one.get("/v1/admin/store/key").json()["keys"] > 1
        one.kill9()
        one.start()
    assert in_the_middle, "no kill fell into a change of keys"
    eventually("older keys are gone", lambda: one.get("/v1/admin/store/key").json()["keys"] == 1)
    assert {name: one.texts(name) for name in before} == before
    check = run(one, "verify", "--port", str(one.port))
    assert check.returncode == 0, check.stdout
    one.kill9()
    assert len(versions(one)) == 1


def test_writes_go_on_while_rows_are_sealed_anew(daemon):
    one = daemon(config=CONFIG)
    append_part(one.port, "talk", 1_000, 8)
    over = threading.Event()
    written = []

    def write() -> None:
        while not over.is_set():
            written.extend(append_part(one.port, f"more-{len(written)}", 20, 4))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = rotate(one)
    finally:
        over.set()
        writer.join()
    assert done.returncode == 0, done.stderr
    check = run(one, "verify", "--port", str(one.port))
    assert check.returncode == 0, check.stdout


def test_deleted_content_stands_in_no_file_any_more(daemon):
    one = daemon(config=CONFIG)
    for number in range(20):
        one.ask(f"secret {number}", conversation="gone")
        one.ask(f"other {number}", conversation="stays")
    # The sealed rows as they are now, from a copy.
    copy = one.home / "copy"
    copy.mkdir()
    for path in files(one):
        shutil.copy(path, copy / path.name)
    with sqlite3.connect(copy / one.database.name) as connection:
        rows = {row[0]: row[1] for row in connection.execute("SELECT id, sealed FROM operations")}
    connection.close()
    assert one.get("/v1/mcp/contexts/gone").status_code == 200
    assert run(one, "conversations", "rm", "gone", "--port", str(one.port)).returncode == 0

    def remaining() -> int:
        content = b"".join(path.read_bytes() for path in files(one))
        return sum(sealed in content for sealed in rows.values())

    # Those of the other conversation are all there, those of the deleted one are not: 20 questions, 20 answers.
    eventually("the deleted rows' bytes are gone", lambda: remaining() <= len(rows) - 40)
    assert remaining() >= 40
    assert one.texts("stays")[0] == "other 0"


@pytest.mark.parametrize("keyed", [False, True], ids=["the machine's key", "a key of the settings"])
def test_a_copy_from_before_a_deletion_with_the_keys_that_are_there_now(daemon, keyed):
    """With the machine's own key it opens nothing any more; with a key of the settings it does, as docs/security.md
    says: that key opens copies anywhere."""
    config = {**CONFIG, "mcp": {**CONFIG["mcp"], **({"encryption_key": "${MCP_ENCRYPTION_KEY}"} if keyed else {})}}
    env = {"MCP_ENCRYPTION_KEY": "5a1e" * 16} if keyed else {}
    one = daemon(config=config, env=env)
    one.ask("secret", conversation="gone")
    one.ask("other", conversation="stays")
    one.stop()
    copy = one.home / "copy.db"
    shutil.copy(one.database, copy)
    one.start()
    assert run(one, "conversations", "rm", "gone", "--port", str(one.port)).returncode == 0
    # What would come by itself within a minute.
    assert rotate(one).returncode == 0
    one.stop()
    present = one.home / "present.db"
    shutil.move(one.database, present)
    shutil.copy(copy, one.database)
    one.start(until="/livez")
    if keyed:
        eventually("the copy opens", lambda: one.get("/readyz").status_code == 200)
        assert one.texts("gone")[0] == "secret"
    else:
        refused = one.get("/v1/mcp/contexts/gone")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_locked")
        assert "copy from before" in " ".join(one.get("/readyz").json()["reasons"])
    one.stop()
    shutil.copy(present, one.database)
    one.start()
    assert one.texts("stays")[0] == "other"
    assert one.get("/v1/mcp/contexts/gone").status_code == 404
