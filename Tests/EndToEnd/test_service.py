"""The daemon as a service: what systemd is told, and how little the unit lets it do."""

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from daemon import eventually, free_port

UNIT = "packaging/igris-runtime.service"


class Manager:
    """systemd's end of sd_notify."""

    def __init__(self, name: str):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.setblocking(False)
        self.name = name
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        while True:
            try:
                self.heard += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.heard

    def has(self, word: str) -> bool:
        return word in self.listen()


@pytest.fixture(params=["a path", "a name of Linux's own"])
def manager(request, tmp_path):
    name = f"@igris-test-{os.getpid()}-{free_port()}" if "own" in request.param else str(tmp_path / "notify")
    manager = Manager(name)
    yield manager
    manager.socket.close()


def test_systemd_is_told_when_the_port_is_open_and_when_it_stops(daemon, manager):
    one = daemon(env={"NOTIFY_SOCKET": manager.name}, start=False)
    assert manager.listen() == []
    one.start(until=None)
    eventually("READY=1", lambda: manager.has("READY=1"))
    # Told no earlier than the port takes connections.
    assert one.get("/livez").status_code == 200
    assert any(word.startswith("STATUS=listening on 127.0.0.1 port") for word in manager.heard)
    assert "STOPPING=1" not in manager.listen()
    assert one.stop() == 0
    assert manager.listen()[-1] == "STOPPING=1"
    # Nothing was said of life: nobody asked.
    assert "WATCHDOG=1" not in manager.heard


def test_signs_of_life_come_for_as_long_as_it_lives(daemon, manager):
    one = daemon(env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "300000"})
    eventually("several signs of life", lambda: manager.listen().count("WATCHDOG=1") >= 4)
    # A process that hangs gives none: that is what the watchdog is for.
    os.kill(one.pid, signal.SIGSTOP)
    try:
        manager.listen()
        count = manager.listen().count("WATCHDOG=1")
        with pytest.raises(AssertionError):
            eventually("a sign of life", lambda: manager.listen().count("WATCHDOG=1") > count, within=1)
    finally:
        os.kill(one.pid, signal.SIGCONT)
    eventually("it goes on", lambda: manager.listen().count("WATCHDOG=1") > count)


def test_a_watchdog_of_another_process_is_not_answered(daemon, manager):
    one = daemon(env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
    eventually("READY=1", lambda: manager.has("READY=1"))
    one.ask("Remember: my name is Alice", store=False)
    assert not manager.has("WATCHDOG=1")


@pytest.mark.parametrize("name", ["/nowhere/notify", "relative", "", "@" + "x" * 200])
def test_a_manager_that_is_not_there_hinders_nothing(daemon, name):
    one = daemon(env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000"})
    assert one.stop() == 0


def test_engines_are_told_nothing_of_the_manager(daemon, manager):
    one = daemon(env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "1000000"})
    assert one.children()
    for child in one.children():
        environment = Path(f"/proc/{child}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in environment and b"WATCHDOG" not in environment


def test_the_key_of_a_credential_opens_the_store(daemon, tmp_path):
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "MCP_ENCRYPTION_KEY").write_text("correct horse battery staple, a long pass phrase\n")
    config = {"mcp": {"encryption_key": "${MCP_ENCRYPTION_KEY}"}}
    one = daemon(config=config, env={"CREDENTIALS_DIRECTORY": str(folder)})
    one.ask("Remember: my name is Alice", conversation="c")
    assert one.stop() == 0
    # The same words as a variable: the same key.
    del one.environment["CREDENTIALS_DIRECTORY"]
    one.environment["MCP_ENCRYPTION_KEY"] = "correct horse battery staple, a long pass phrase"
    one.start()
    assert one.ask("What is my name?", conversation="c") == "Your name is Alice"


# The unit


def analyze(root, *arguments: str) -> subprocess.CompletedProcess:
    program = shutil.which("systemd-analyze")
    if not program:
        pytest.skip("systemd-analyze is not there")
    return subprocess.run([program, *arguments], cwd=root, capture_output=True, text=True, timeout=60)


def test_the_unit_leaves_it_little_to_do_harm_with(root):
    done = analyze(root, "security", "--offline=yes", UNIT)
    level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    assert float(level[1]) <= 1.2, done.stdout


def test_the_unit_has_no_mistakes(root, binary, tmp_path):
    unit = tmp_path / "igris-runtime.service"
    # Checked where it is not installed: systemd looks for the program.
    unit.write_text((root / UNIT).read_text().replace("/usr/local/bin/igris-runtime", str(binary)))
    done = analyze(root, "verify", "--man=no", str(unit))
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "igris-runtime" in line]
    assert done.returncode == 0 and not ours, done.stderr


def test_it_runs_with_the_little_of_proc_that_the_unit_leaves(daemon):
    """`ProcSubset=pid` and `ProtectProc=invisible`, in a mount namespace of its own."""
    mount = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec "$@"', "sh"]
    if os.geteuid() != 0 or subprocess.run([*mount, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs root and mount namespaces")
    one = daemon(start=False)
    one.launcher = mount
    one.start()
    assert one.ask("Remember: my name is Alice", store=False)
    assert one.get("/metrics").status_code == 200
    assert one.stop() == 0


def test_make_install_puts_it_where_the_unit_looks(root, tmp_path, binary):
    done = subprocess.run(
        ["make", "--no-print-directory", "install-files", f"DESTDIR={tmp_path}", f"BINARY={binary}"], cwd=root,
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    unit = (tmp_path / "etc/systemd/system/igris-runtime.service").read_text()
    program = re.search(r"^ExecStart=(\S+) --config (\S+)$", unit, re.M)
    assert os.access(f"{tmp_path}{program[1]}", os.X_OK)
    settings = Path(f"{tmp_path}{program[2]}")
    assert subprocess.run([binary, "check", "--config", settings], capture_output=True).returncode == 0
    assert (tmp_path / re.search(r"^Documentation=file:/(\S+)", unit, re.M)[1]).is_file()
    # What the owner has written stays.
    settings.write_text("{}")
    subprocess.run(
        ["make", "--no-print-directory", "install-files", f"DESTDIR={tmp_path}", f"BINARY={binary}"], cwd=root,
        capture_output=True, timeout=60, check=True)
    assert settings.read_text() == "{}"
