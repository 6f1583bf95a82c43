"""Every named place at which a debug build can be told to die (docs/crash-safety.md): each is reached, and whatever was
acknowledged by then is there afterwards.

IGRIS_FAILPOINT_ROUNDS=100 goes through all of them so many times.
"""

import concurrent.futures
import contextlib
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon import eventually, recall
from failpoint_lives import GONE, INSTANT, Life, names, places
from swarm import Swarm, wait_for
from swarm_load import append_part
from test_swarm_cli import run

ROUNDS = int(os.environ.get("IGRIS_FAILPOINT_ROUNDS", "1"))
LIMIT = 600 + 150 * ROUNDS

# Where a life ends while it begins: in an empty home, and in one that is in use.
NEW = ["keyfile.write", "keyfile.name.before", "keyfile.name.after", "store.make.before", "store.make.after"]
STARTING = [
    "store.open", "store.recover.before", "store.recover.after", "epochmark.save.before", "epochmark.save.after",
    "privatefile.write", "privatefile.rename.before", "privatefile.rename.after",
]
TURNING = [
    "store.begin.before", "store.begin.after", "store.put.before", "store.put.after", "store.commit.before",
    "store.commit.after", "store.flush.before", "store.flush.after", "log.propose.before", "log.propose.after",
    "log.settle", "answer.first", "answer.end", "store.checkpoint.before", "store.checkpoint.after",
    "engine.spawn.before", "engine.spawn.after",
]
DATA_KEY = [
    "datakey.install.before", "datakey.install.after", "datakey.use", "datakey.rewrite", "datakey.retire.before",
    "datakey.retire.after",
]


@pytest.fixture(scope="module")
def debug(root: Path) -> Path:
    """The debug build, which has failpoints."""
    path = root / ".build/debug/igris-runtime"
    if not path.is_file():
        pytest.skip("there is no debug build (make build)")
    return path.resolve()


def once(act: Callable[[], object]) -> Callable[[], object]:
    acts = [act]
    return lambda: acts and acts.pop()()


def starts(binary: Path, folder: Path, hits: Counter) -> None:
    for number in range(ROUNDS):
        for name in NEW:
            # Of its own keys: those of its identity, of its store and of its swarm.
            life = Life(binary, folder / f"new-{number}-{name}", hits, number, key=None)
            # The first file of each kind, or one after it.
            life.dies(name, lambda: None, at=1 if name.startswith("store") else life.chance.randint(1, 2))
        life.ends()
    life = Life(binary, folder / "starts", hits)
    for number in range(ROUNDS):
        for name in STARTING:
            life.dies(name, life.turn)
    life.ends()


def turns(binary: Path, folder: Path, hits: Counter) -> None:
    life = Life(binary, folder / "turns", hits)
    for number in range(ROUNDS):
        for name in TURNING:
            # The log is moved once nothing is said for a moment.
            pause = 0.5 if "checkpoint" in name else 0

            def turn() -> None:
                life.turn(f"talk-{number}")
                time.sleep(pause)

            life.dies(name, turn, at=1 if "spawn" in name or pause else 3)
        for name in ["store.erase.before", "store.erase.after"]:
            life.dies(name, life.delete, at=life.chance.randint(1, 3))
        # A second signal would end it at once.
        life.dies("store.goodbye", once(life.host.terminate))
        life.dies("engine.exit", lambda: [os.kill(pid, 9) for pid in life.host.children()])
    life.ends()


def keys(binary: Path, folder: Path, hits: Counter) -> None:
    life = Life(binary, folder / "keys", hits)
    host = life.host
    assert life.start()
    append_part(host.port, "many", 300, 4)
    host.kill9()

    def verb(*words: str) -> None:
        if host.process.poll() is None:
            run(host, *words, "--config", str(host.config), "--port", str(host.port))

    for number in range(ROUNDS):
        for name in DATA_KEY:
            life.dies(name, lambda: (life.turn(), verb("store", "rotate-key", "--wait", "0")))
        for name in ["rotation.begin", "ring.save.before", "ring.save.after"]:
            life.dies(name, lambda: host.fetch("/v1/swarm/rotate", "POST", {}, timeout=5))
        life.dies("drain.begin", lambda: host.fetch("/v1/admin/drain", "POST", {"on": True}, timeout=5))
    life.ends()


def rights(binary: Path, folder: Path, hits: Counter) -> None:
    """Tokens, the audit log, models."""
    life = Life(binary, folder / "rights", hits)
    host = life.host
    made: set[str] = set()
    revoked: set[str] = set()

    def make() -> None:
        name = f"token-{life.count}"
        life.turn()
        if host.fetch("/v1/admin/tokens", "POST", {"name": name}, timeout=5).status == 201:
            made.add(name)

    def revoke() -> None:
        make()
        name = sorted(made)[0]
        made.discard(name)
        if host.fetch(f"/v1/admin/tokens/{name}", "DELETE", timeout=5).status == 200:
            revoked.add(name)

    def see() -> None:
        """All that were made and not revoked are good."""
        rows = host.fetch("/v1/admin/tokens", timeout=5).json["data"]
        good = {row["name"] for row in rows if row["state"] == "active"}
        assert made <= good and not revoked & good, (made, revoked, good)

    model = life.host.home / "more.gguf"
    model.write_bytes((Path(__file__).resolve().parents[2] / "Models/igris-recall/igris-recall-q8_0.gguf").read_bytes())

    def add() -> None:
        host.fetch("/v1/admin/models", "POST", {"path": str(model), "name": f"more-{life.count}"}, timeout=10)
        host.fetch(f"/v1/admin/models/more-{life.count}", "DELETE", timeout=10)
        life.count += 1

    for number in range(ROUNDS):
        for name, act in [
            ("token.issue.before", make), ("token.issue.after", make), ("token.revoke.before", revoke),
            ("token.revoke.after", revoke), ("audit.append.before", make), ("audit.append.after", make),
            ("model.copy", add), ("model.register.before", add), ("model.register.after", add),
        ]:
            life.dies(name, act)
            assert life.start()
            see()
            host.kill9()
    life.ends()


def archives(binary: Path, folder: Path, hits: Counter) -> None:
    life = Life(binary, folder / "archives", hits)
    host = life.host
    file = host.home / "backup"

    def verb(*words: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(binary), *words, "--config", str(host.config), "--port", str(host.port)], cwd=host.home,
            env={**host.environment, **environment}, capture_output=True, text=True, timeout=60)

    for number in range(ROUNDS):
        file.unlink(missing_ok=True)
        life.dies("backup.chunk", lambda: (life.turn(), verb("backup", str(file), IGRIS_FAILPOINTS="")))
        assert not file.exists(), "half a backup"
        assert life.start()
        died = verb("backup", str(file), IGRIS_FAILPOINTS="backup.finish=kill")
        assert died.returncode == -9 and not file.exists(), died.stderr
        hits["backup.finish"] += 1
        made = verb("backup", str(file))
        assert made.returncode == 0, made.stderr
        host.kill9()
        for name in ["restore.rename.before", "restore.rename.after"]:
            died = verb("restore", str(file), "--force", IGRIS_FAILPOINTS=f"{name}=kill")
            assert died.returncode == -9, died.stderr
            hits[name] += 1
            # The old store or the new one, and both hold the same.
            assert life.start()
            life.check()
            host.kill9()
    life.ends()


def pair(binary: Path, folder: Path, hits: Counter) -> None:
    """One host of two dies while they tell each other what was said; then a newcomer, or who gives it a snapshot."""
    two = Swarm(binary, folder / "pair", 2, models=[INSTANT])
    a, b = two.hosts
    said: list[str] = []

    def say() -> None:
        with contextlib.suppress(*GONE):
            if b.say(text := f"to b {time.monotonic_ns()}", "shared", timeout=10).status == 200:
                said.append(text)

    def dies(name: str, victim, act: Callable[[], object]) -> None:
        victim.environment["IGRIS_FAILPOINTS"] = f"{name}=kill@1"
        victim.start(until=None)
        deadline = time.monotonic() + 60
        while victim.process.poll() is None:
            assert time.monotonic() < deadline, f"{name} is never reached\n{victim.logs()[-3000:]}"
            act()
            time.sleep(0.002)
        assert victim.process.wait() == -9, victim.logs()[-3000:]
        hits[name] += 1
        victim.environment.pop("IGRIS_FAILPOINTS")

    def alike(hosts) -> None:
        """What either acknowledged both have, once."""
        wait_for(lambda: f"equal: {[h.digest() for h in hosts]}", lambda: len({h.digest() for h in hosts}) == 1, 60)
        for host in hosts:
            texts = host.texts("shared")
            assert [text for text in said if texts.count(text) != 1] == []

    try:
        two.start(within=30)
        for number in range(ROUNDS):
            for name in ["batch.receive", "batch.apply.before", "batch.apply.after", "batch.send", "batch.acknowledge"]:
                a.kill9()
                # Of its own turns it hears that they have arrived.
                own = name in ("batch.send", "batch.acknowledge")
                dies(name, a, (lambda: tell(a)) if own else say)
                a.start()
                two.together(30)
                alike([a, b])
        append_part(b.port, "many", 1_300, 8)
        a.kill9()
        for number in range(ROUNDS):
            for name in ["snapshot.make", "snapshot.part", "snapshot.send", "snapshot.apply"]:
                newcomer = two.host(f"{name}-{number}")
                if name == "snapshot.apply":
                    dies(name, newcomer, lambda: None)
                    newcomer.start(until=None)
                else:
                    b.kill9()
                    newcomer.start(until=None)
                    dies(name, b, lambda: None)
                    b.start(until=None)
                for host in (b, newcomer):
                    host.wait_until("/readyz")
                alike([b, newcomer])
                newcomer.close()
                two.hosts.remove(newcomer)
    finally:
        two.close()


def tell(host) -> None:
    with contextlib.suppress(*GONE):
        host.say("x", f"own-{time.monotonic_ns()}", timeout=5)


def standbys(binary: Path, folder: Path, hits: Counter) -> None:
    """The host that stands by for an answer dies as it begins to, or as it goes on with it: the answer ends all the
    same, or is asked for again."""
    three = Swarm(binary, folder / "three", 3, models=[recall(pace=30)])
    try:
        three.start(within=30)
        a, b, c = three.hosts
        for number in range(ROUNDS):
            for name in ["standby.begin", "standby.takeup"]:
                for host in (b, c):
                    host.kill9()
                    host.environment["IGRIS_FAILPOINTS"] = f"{name}=kill@1"
                    host.start(until=None)
                for host in (b, c):
                    host.wait_until("/readyz")
                three.together(30)
                text = f"Remember: my name is Alice {number} {name}"

                def ask() -> None:
                    with contextlib.suppress(*GONE):
                        a.say(text, f"by-{name}-{number}", fields={"model": "igris-recall"}, timeout=20)

                thread = threading.Thread(target=ask)
                thread.start()
                if name == "standby.takeup":
                    eventually("somebody stands by", lambda: any(h.count("igris_standby_answers") for h in (b, c)))
                    a.kill9()
                eventually(
                    f"one dies at {name}", lambda: any(h.process.poll() == -9 for h in (b, c)), within=40)
                hits[name] += 1
                thread.join(30)
                for host in (b, c):
                    # The other one is still to die.
                    host.kill9()
                    host.environment.pop("IGRIS_FAILPOINTS")
                for host in (a, b, c):
                    if host.process.poll() is not None:
                        host.start(until=None)
                for host in (a, b, c):
                    host.wait_until("/readyz")
                three.together(30)
                # The question was acknowledged by its first byte at the latest; it is on every host, and they are one.
                three.equal(30)
                assert a.hear("Remember: my name is Bob", f"after-{name}-{number}")
    finally:
        three.close()


def test_each_name_stands_for_one_place(root: Path):
    found = places(root)
    assert names(root) == set(found), set(names(root)) ^ set(found)
    assert {name: count for name, count in found.items() if count != 1} == {}
    assert len(found) >= 40


def test_the_release_binary_has_none_of_it(binary: Path, root: Path):
    """Neither the names, nor what arms them, nor the type."""
    # A short name may stand there for something else.
    words = sorted(name for name in names(root) if name.count(".") > 1) + ["IGRIS_FAILPOINTS", "FailpointO"]
    assert len(words) > 20
    found = subprocess.run(
        ["grep", "-aoF", "-f", "-", str(binary)], input="\n".join(words), capture_output=True, text=True, timeout=60)
    assert found.stdout == "" and found.returncode == 1, found


@pytest.mark.timeout(LIMIT)
def test_wherever_a_host_dies_nothing_acknowledged_is_lost(debug: Path, root: Path, tmp_path: Path):
    hits: Counter = Counter()
    jobs = [pair, turns, standbys, starts, keys, rights, archives]
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            running = {pool.submit(job, debug, tmp_path, hits): job for job in jobs}
            failures = [
                f"{job.__name__}: {error!r}" for future, job in running.items() if (error := future.exception())]
    finally:
        for life in Life.made:
            life.host.close()
        Life.made.clear()
    print(f"{sum(hits.values())} deaths at {len(hits)} places")
    assert not failures, "\n".join(failures)
    missed = {name: hits[name] for name in names(root) if hits[name] < ROUNDS}
    assert missed == {}
