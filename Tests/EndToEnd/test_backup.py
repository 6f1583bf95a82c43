"""Backups: made while the daemon works, sealed, proven, and put back on this machine or another one."""

import json
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from daemon import ECHO, PATIENCE, eventually
from swarm_load import append_part
from test_auth import own_address
from test_swarm_cli import run
from test_tokens import make

KEY = "bac0" * 16
KEYED = {"MCP_ENCRYPTION_KEY": KEY}
WORDS = "seven words that nobody else would say"
ONE = {**ECHO, "aliases": ["phi3"]}
CONFIG = {"models": [ONE], "mcp": {"mdns": False, "multicast": False}}
SETTINGS = {**CONFIG, "mcp": {**CONFIG["mcp"], "encryption_key": "${MCP_ENCRYPTION_KEY}"}}


def backup(host, file: Path, *arguments: str, **options):
    return run(host, "backup", str(file), "--config", str(host.config), "--port", str(host.port), *arguments, **options)


def verify(host, file: Path, *arguments: str):
    return run(host, "backup", "verify", str(file), "--config", str(host.config), "--json", *arguments)


def restore(host, file: Path, *arguments: str):
    return run(host, "restore", str(file), "--config", str(host.config), "--port", str(host.port), *arguments)


def words(home: Path, text: str = WORDS) -> str:
    file = home / "words"
    file.write_text(text + "\n")
    return str(file)


@pytest.fixture
def host(daemon):
    return daemon(config=SETTINGS, env=KEYED)


@pytest.fixture
def elsewhere(daemon):
    """Another machine: nothing of the first one is there, but the swarm's key."""
    return daemon(config=SETTINGS, env=KEYED, home="elsewhere", start=False)


def test_a_backup_is_made_at_work_and_a_new_machine_goes_on_with_it(host, elsewhere, tmp_path):
    for number in range(8):
        host.ask(f"Quintaval {number}", conversation="talk", user="Kerestes")
    file = tmp_path / "backup"
    made = backup(host, file)
    assert made.returncode == 0, made.stderr
    assert "1 conversation, " in made.stdout and "rows open" in made.stdout
    assert file.stat().st_mode & 0o777 == 0o600
    content = file.read_bytes()
    for planted in (b"Quintaval", b"Kerestes", b"talk", KEY.encode(), bytes.fromhex(KEY)):
        assert planted not in content
    host.kill9()
    proven = verify(elsewhere, file)
    assert proven.returncode == 0, proven.stderr
    report = json.loads(proven.stdout)
    assert report["conversations"] == 1 and report["left_out"] == 0 and report["operations"] >= 16
    back = restore(elsewhere, file)
    assert back.returncode == 0, back.stderr
    elsewhere.start()
    said = elsewhere.texts("talk")
    assert [text for text in said if text.startswith("Quintaval")] == [f"Quintaval {n}" for n in range(8)]
    elsewhere.ask("and on", conversation="talk")
    assert len(elsewhere.texts("talk")) == len(said) + 2


def test_everything_acknowledged_before_a_backup_began_is_in_it_while_more_is_written(host, elsewhere, tmp_path):
    append_part(host.port, "before", 200, 8)
    before = {name: host.texts(name) for name in listed(host)}
    assert len(before) >= 40
    stop = threading.Event()
    written = []

    def write() -> None:
        while not stop.is_set():
            written.extend(append_part(host.port, f"during-{len(written)}", 20, 4))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually("something is being written", lambda: written)
        made = backup(host, tmp_path / "backup", "--json")
    finally:
        stop.set()
        writer.join()
    assert made.returncode == 0, made.stderr
    assert restore(elsewhere, tmp_path / "backup").returncode == 0
    elsewhere.start()
    assert {name: elsewhere.texts(name) for name in before} == before
    check = run(elsewhere, "verify", "--port", str(elsewhere.port))
    assert check.returncode == 0, check.stdout


def listed(host) -> set[str]:
    return {item["id"] for item in host.get("/v1/mcp/contexts?limit=1000").json()["data"]}


def test_a_daemon_that_does_not_run_is_backed_up_from_its_store(host, elsewhere, tmp_path):
    host.ask("Hello", conversation="talk")
    said = host.texts("talk")
    host.kill9()
    made = backup(host, tmp_path / "backup")
    assert made.returncode == 0, made.stderr
    assert restore(elsewhere, tmp_path / "backup").returncode == 0
    assert elsewhere.start().texts("talk") == said
    # And goes on itself as if nothing had been.
    assert host.start().texts("talk") == said


def test_a_passphrase_in_place_of_the_key(daemon, tmp_path):
    one = daemon(config=CONFIG)
    one.ask("Hello", conversation="talk")
    said = one.texts("talk")
    file = tmp_path / "backup"
    short = backup(one, file, "--secret", words(tmp_path, "short"))
    assert short.returncode == 78 and "12 characters" in short.stderr
    assert backup(one, file, "--secret", words(tmp_path)).returncode == 0
    # Neither this host's own key nor other words open it.
    assert WORDS.encode() not in file.read_bytes()
    for arguments in ([], ["--secret", words(tmp_path, "other words of that length")]):
        refused = verify(one, file, *arguments)
        assert refused.returncode == 1 and "passphrase" in refused.stderr
    two = daemon(config=CONFIG, home="elsewhere", start=False)
    done = restore(two, file, "--secret", words(tmp_path))
    assert done.returncode == 0, done.stderr
    assert two.start().texts("talk") == said
    assert WORDS not in one.logs() + two.logs()


def test_the_key_of_another_swarm_is_named_and_can_be_given(host, daemon, tmp_path):
    host.ask("Hello", conversation="talk")
    assert backup(host, tmp_path / "backup").returncode == 0
    other = daemon(config=CONFIG, home="elsewhere", start=False)
    refused = restore(other, tmp_path / "backup")
    assert refused.returncode == 1 and "swarm join" in refused.stderr
    assert not list(other.home.glob("*.db*")) or not other.database.exists()
    assert restore(other, tmp_path / "backup", "--secret", words(tmp_path, KEY)).returncode == 0
    assert other.start().texts("talk") == host.texts("talk")


def damaged(content: bytes) -> dict[str, tuple[bytes, str]]:
    head, chunk = 86, 256 * 1024 + 32
    one, two = content[head:head + chunk], content[head + chunk:head + 2 * chunk]
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    return {
        "cut off": (content[:-50], "cut off"),
        "cut off between two chunks": (content[:head + chunk], "cut off"),
        "a flipped bit": (bytes(flipped), "damaged or changed"),
        "swapped chunks": (content[:head] + two + one + content[head + 2 * chunk:], "swapped"),
        "a damaged head": (content[:30] + b"x" + content[31:], "head was damaged"),
        "another file": (b"PK\x03\x04" + content, "no backup"),
        "an empty file": (b"", "no backup"),
    }


def test_what_is_wrong_with_an_archive_is_named_and_nothing_is_restored_of_it(host, elsewhere, tmp_path):
    append_part(host.port, "talk", 300, 8, text="x" * 4_000)
    file = tmp_path / "backup"
    assert backup(host, file).returncode == 0
    host.kill9()
    for name, (content, words_of_it) in damaged(file.read_bytes()).items():
        bad = tmp_path / "bad"
        bad.write_bytes(content)
        for refused in (verify(elsewhere, bad), restore(elsewhere, bad)):
            assert refused.returncode == 1 and words_of_it in refused.stderr, (name, refused.stderr)
        assert not elsewhere.database.exists() and not list(elsewhere.home.glob("*.new*")), name


def test_a_store_that_is_there_is_kept_aside_and_only_where_that_is_asked_for(host, tmp_path):
    host.ask("first", conversation="talk")
    file = tmp_path / "backup"
    assert backup(host, file).returncode == 0
    host.ask("second", conversation="talk")
    # While the daemon works the store is its own.
    refused = restore(host, file, "--force")
    assert refused.returncode == 69 and "in use" in refused.stderr
    host.kill9()
    refused = restore(host, file)
    assert refused.returncode == 78 and "--force" in refused.stderr
    assert "second" in host.start().texts("talk")
    host.kill9()
    done = restore(host, file, "--force")
    assert done.returncode == 0, done.stderr
    assert "second" not in host.start().texts("talk")
    host.kill9()
    # The one before is whole, log included.
    aside, = (path for path in host.home.glob(host.database.name + ".before-*") if not path.name.endswith("-wal"))
    for path in host.home.glob(host.database.name + "*"):
        if ".before-" not in path.name:
            path.unlink()
    for path in [aside, aside.with_name(aside.name + "-wal")]:
        if path.exists():
            path.rename(path.with_name(path.name.replace(aside.name, host.database.name)))
    assert "second" in host.start().texts("talk")


def test_a_name_that_is_taken_is_left_alone(host, tmp_path):
    host.ask("Hello")
    file = tmp_path / "backup"
    file.write_text("mine")
    refused = backup(host, file)
    assert refused.returncode == 78 and file.read_text() == "mine"
    assert backup(host, file, "--force").returncode == 0
    assert verify(host, file).returncode == 0
    shown = run(host, "backup", "verify", str(file), "--config", str(host.config)).stdout
    assert [line.split()[0] for line in shown.splitlines()] == ["ok:", "made"] and shown.isascii(), shown


@pytest.mark.parametrize("victim", ["the program that writes it", "the daemon"])
def test_killed_in_mid_backup_no_half_file_is_left(host, tmp_path, victim):
    append_part(host.port, "talk", 1_500, 16, text="x" * 8_000)
    before = sorted(tmp_path.iterdir())
    command = [str(host.binary), "backup", str(tmp_path / "backup"), "--config", str(host.config), "--port", str(host.port)]
    # Whether it was caught in the middle is up to the machine: so it is tried until it was.
    for _ in range(40):
        writing = subprocess.Popen(command, env=host.environment, cwd=host.home, stderr=subprocess.PIPE)
        eventually("it is being written", lambda: writing.poll() is not None or written(writing.pid) > 300_000)
        if writing.poll() is None:
            (writing if victim != "the daemon" else host.process).kill()
        ended = writing.wait(30)
        writing.stderr.close()
        if victim == "the daemon" and host.process.poll() is not None:
            host.process.wait()
            host.start()
        if ended != 0:
            break
        (tmp_path / "backup").unlink()
    assert ended != 0, "it was never caught in the middle"
    assert sorted(tmp_path.iterdir()) == before
    assert backup(host, tmp_path / "backup").returncode == 0


def written(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def test_restored_in_a_swarm_nothing_is_lost_and_nothing_forks(swarm, tmp_path):
    three = swarm(3)
    a, _, _ = three.hosts
    for number in range(5):
        a.hear(f"before {number}", "talk")
    assert backup(a, tmp_path / "backup").returncode == 0
    for number in range(5):
        a.hear(f"after {number}", "talk")
    three.equal()
    a.kill9()
    for path in a.home.glob(a.database.name + "*"):
        path.unlink()
    done = restore(a, tmp_path / "backup")
    assert done.returncode == 0, done.stderr
    a.start()
    # At once, over numbers that it has used before, not knowing it.
    a.hear("on the restored store", "talk")
    three.together()
    three.equal()
    said = [f"{when} {n}" for when in ("before", "after") for n in range(5)] + ["on the restored store"]
    for host in three.hosts:
        texts = host.texts("talk")
        assert sorted(text for text in texts if text in said) == sorted(said), texts
        assert "signed two different streams" not in host.logs()


def test_it_is_the_operators_alone_and_audited(host, tmp_path):
    host.ask("Hello")
    assert backup(host, tmp_path / "backup").returncode == 0
    entries = run(host, "audit", "--json", "--port", str(host.port)).stdout.splitlines()
    assert any(json.loads(entry)["action"] == "POST /v1/admin/backup" for entry in entries)
    assert host.metrics()['igris_backups_total{outcome="made"}'] == 1


def test_a_passphrase_is_not_taken_over_the_network_in_the_open(daemon):
    address = own_address()
    one = daemon(config=SETTINGS, env=KEYED, args=["--host", "0.0.0.0"])
    token = make(one, "operator", "--scope", "admin")
    url = f"http://{address}:{one.port}/v1/admin/backup"
    with httpx.Client(trust_env=False, timeout=PATIENCE, headers={"Authorization": f"Bearer {token}"}) as client:
        refused = client.post(url, json={"passphrase": WORDS})
        assert refused.status_code == 403 and "this machine only" in refused.text
        assert client.post(url, json={}).content.startswith(b"IGRSBACK")
        assert client.post(url, json={"pass": WORDS}).status_code == 400
        reader = make(one, "watcher", "--scope", "read")
        assert client.post(url, headers={"Authorization": f"Bearer {reader}"}).status_code == 403
