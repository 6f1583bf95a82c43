"""Disks with a past: restored backups, clones, hosts that are far behind."""

import hashlib
import shutil
import time

import pytest

from daemon import scripted_engine
from swarm import FOUND, wait_for
from swarm_load import append_part

# Answers at once, and shortly.
INSTANT = scripted_engine("instant", "echo.py", aliases=["phi3"])
INSTANT["command"] += ["--answer", "ok"]


def database_files(host):
    return sorted(host.database.parent.glob(host.database.name + "*"))


def copy_of_disk(host, folder):
    """What a backup program takes of a stopped host."""
    folder.mkdir()
    for file in database_files(host):
        shutil.copy2(file, folder / file.name)


def put_back(host, folder):
    for file in database_files(host):
        file.unlink()
    for file in folder.iterdir():
        shutil.copy2(file, host.home / file.name)


@pytest.mark.parametrize("alone", [False, True], ids=["others stay up", "others start later"])
def test_a_restored_backup_loses_nothing_and_forks_nothing(swarm, tmp_path, alone):
    three = swarm(3)
    a, b, c = three.hosts
    for number in range(5):
        a.hear(f"before {number}", "talk")
    assert a.stop() == 0
    copy_of_disk(a, tmp_path / "backup")
    a.start()
    three.together()
    for number in range(5):
        a.hear(f"after {number}", "talk")
    three.equal()
    a.stop()
    if alone:
        b.stop()
        c.stop()
    put_back(a, tmp_path / "backup")
    a.start()
    # It writes at once, over sequence numbers that it has used before, not knowing it.
    a.hear("written on the restored disk", "talk")
    if alone:
        b.start(until=None)
        c.start(until=None)
        b.wait_until("/readyz")
        c.wait_until("/readyz")
    three.together()
    three.equal()
    for host in three.hosts:
        texts = host.texts("talk")
        for said in [f"before {n}" for n in range(5)] + [f"after {n}" for n in range(5)] + ["written on the restored disk"]:
            assert texts.count(said) == 1, (host.port, said, texts)
    a.hear("and on", "talk")
    three.equal()


@pytest.mark.parametrize("rebooted", [False, True], ids=["while the machine ran on", "and the machine was off"])
def test_a_whole_disk_put_back_that_is_written_to_before_it_meets_anyone_forks_nothing(swarm, tmp_path, rebooted):
    """Everything that lies on the disk agrees with itself: the store, the identity, what is noted beside it."""
    three = swarm(3)
    a, b, c = three.hosts
    for number in range(3):
        a.hear(f"before {number}", "talk")
    assert a.stop() == 0
    copy_of_disk(a, tmp_path / "backup")
    shutil.copytree(a.home / "state", tmp_path / "state")
    a.start()
    three.together()
    for number in range(3):
        a.hear(f"after {number}", "talk")
    three.equal()
    for host in three.hosts:
        assert host.stop() == 0
    # In the same places of the disk, as a disk that is put back as a whole has them.
    for file in (tmp_path / "backup").iterdir():
        (a.home / file.name).write_bytes(file.read_bytes())
    shutil.rmtree(a.home / "state")
    shutil.copytree(tmp_path / "state", a.home / "state")
    if rebooted:
        shutil.rmtree(a.home / "run")
        (a.home / "run").mkdir()
    a.start()
    for number in range(3):
        a.hear(f"alone {number}", "talk")
    for host in (b, c):
        host.start(until=None)
    for host in (b, c):
        host.wait_until("/readyz")
    three.together()
    three.equal()
    said = [f"{when} {n}" for when in ("before", "after", "alone") for n in range(3)]
    for host in three.hosts:
        texts = host.texts("talk")
        assert sorted(text for text in texts if text in said) == sorted(said), (host.port, texts)
        assert texts == a.texts("talk")
        assert "signed two different streams" not in host.logs()
    b.hear("and on", "talk")
    three.equal()


def test_a_cloned_disk_is_noticed_and_named(swarm):
    pair = swarm(2)
    a, b = pair.hosts
    a.hear("before", "talk")
    pair.equal()
    assert a.stop() == 0
    clone = pair.host("clone")
    for name in ("state", "config"):
        shutil.copytree(a.home / name, clone.home / name, dirs_exist_ok=True)
    for file in database_files(a):
        shutil.copy2(file, clone.home / file.name)
    # A clone of the whole machine has the same paths: the identity belongs to the path of the store.
    clone_identity(a, clone)
    node = b.peer(a)["id"]
    a.start()
    pair.together(hosts=[a, b])
    clone.start()

    def named():
        rows = [row for host in (a, b, clone) for row in host.peers() if row["state"] == "cloned"]
        return rows and rows[0]

    row = wait_for(lambda: f"the clone named: {[h.peers() for h in (a, b, clone)]}", named, 2 * FOUND)
    assert row["id"] == node and row["why_not"], row
    assert "clone" in (b.logs() + a.logs() + clone.logs()).lower()
    # The true ones go on, and no two contents have one dot.
    b.hear("still fine", "talk")
    pair.equal(hosts=[a, b])


def clone_identity(original, clone):
    """Puts the original's identity where the clone looks for that of its own store path."""
    nodes = lambda host: host.home / "state" / "igris" / "nodes"  # noqa: E731
    [folder] = [path for path in nodes(original).iterdir() if path.is_dir()]
    name = hashlib.sha256(str(clone.database).encode()).hexdigest()[:16]
    shutil.copytree(folder, nodes(clone) / name, dirs_exist_ok=True)


def test_a_store_copied_without_its_identity_is_another_host(swarm):
    pair = swarm(2)
    a, b = pair.hosts
    a.hear("before", "talk")
    pair.equal()
    a.stop()
    third = pair.host("third")
    for file in database_files(a):
        shutil.copy2(file, third.home / file.name)
    a.start()
    third.start()
    pair.together()
    third.hear("from the third", "talk")
    a.hear("from the first", "talk")
    pair.equal()
    assert len({host.id for host in pair.hosts}) == 3
    assert len(b.texts("talk")) == 6


# Far behind


def fill(host, requests, clients=16, per_conversation=5, prefix="fill"):
    """So many turns, quickly."""
    append_part(host.port, prefix, requests, clients, per_conversation)


@pytest.mark.timeout(240)
def test_a_host_ten_thousand_messages_behind_catches_up(swarm):
    three = swarm(3, models=[INSTANT])
    a, b, c = three.hosts
    c.stop()
    fill(a, 5_000)
    three.equal(hosts=[a, b])
    c.start()
    begin = time.monotonic()
    three.equal(within=30)
    took = time.monotonic() - begin
    print(f"{a.status()['operations']} operations behind: equal after {took:.2f} s")
    assert c.fetch("/v1/mcp/contexts?limit=1").status == 200
    assert c.texts("fill-0-0") == a.texts("fill-0-0") != []


@pytest.mark.timeout(240)
def test_a_newcomer_gets_ten_thousand_messages_as_a_snapshot(swarm):
    pair = swarm(2, models=[INSTANT])
    a, b = pair.hosts
    fill(a, 5_000)
    pair.equal()
    newcomer = pair.host("newcomer")
    newcomer.start(until=None)
    begin = time.monotonic()
    newcomer.wait_until("/readyz")
    pair.equal(within=30)
    took = time.monotonic() - begin
    print(f"{a.status()['operations']} operations: the newcomer is equal after {took:.2f} s")
    assert "snapshot taken" in newcomer.logs(), "the operations came one by one"
    assert newcomer.texts("fill-0-0") == a.texts("fill-0-0") != []
    # It is a member in full: what it says is heard.
    newcomer.hear("hello", "fill-0-0")
    pair.equal()
