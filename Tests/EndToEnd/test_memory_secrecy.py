"""What is in memory, keys and conversations, gets into no core file; and nobody but root looks in."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from daemon import ECHO, Daemon, eventually, is_alive, recall

# As a shell does that wants core files, and with the folder to put them in as the working one.
# Whoever runs the tests in the background of a script has SIGQUIT ignored, and so would all that they start.
CORES = ["env", "--default-signal=QUIT", "sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh"]


@pytest.fixture
def cores(tmp_path):
    """The folder that a program's core file lands in; the test is skipped where it could not be seen."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if "/" in pattern or pattern.startswith("|"):
        pytest.skip(f"core files go elsewhere here: {pattern}")
    control = tmp_path / "control"
    control.mkdir()
    subprocess.run([*CORES, "sh", "-c", "kill -SEGV $$"], cwd=control)
    if not list(control.glob("core*")):
        pytest.skip("no program leaves a core file here")
    return tmp_path


@pytest.mark.parametrize("end", [signal.SIGABRT, signal.SIGSEGV, signal.SIGQUIT, signal.SIGILL])
def test_a_daemon_that_crashes_leaves_no_core(daemon, cores, end):
    one = daemon(models=[ECHO], start=False)
    one.launcher = CORES
    one.start()
    one.ask("a secret", model="echo", conversation="c")
    one.process.send_signal(end)
    one.process.wait(30)
    assert one.process.returncode != 0
    assert [path for path in one.home.rglob("*core*") if path.is_file()] == []
    # Nothing is lost by that.
    one.start()
    assert "a secret" in one.texts("c")


@pytest.mark.parametrize("model", [ECHO, recall(name="echo")], ids=["another program", "our own"])
def test_an_engine_that_crashes_leaves_no_core(daemon, cores, model):
    one = daemon(models=[model], start=False)
    one.launcher = CORES
    one.start()
    one.ask("Remember: my name is Alice", model="echo", store=False)
    children = one.children()
    assert children
    limits = Path(f"/proc/{children[0]}/limits").read_text()
    assert "Max core file size        0                    0" in limits, limits
    for child in children:
        os.kill(child, signal.SIGSEGV)
    eventually("it has ended", lambda: not any(is_alive(child) for child in children))
    folders = [one.home, Path(f"/proc/{one.pid}/cwd").resolve()]
    assert [path for folder in folders for path in folder.rglob("core*") if path.is_file()] == []
    eventually("another one answers", lambda: one.post("Hello", model="echo", store=False).status_code == 200)


def test_another_program_of_the_same_user_cannot_look_into_it(binary):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root to be somebody else")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"]
    folder = Path(tempfile.mkdtemp(prefix="igris-secrecy-"))
    one = Daemon(binary, folder / "home", {"models": [recall(name="echo")], "mcp": {"mdns": False, "multicast": False}}, [], {})
    try:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, 65534, 65534)
        one.launcher = user
        probe = subprocess.run([*user, str(binary), "--version"], capture_output=True)
        if probe.returncode:
            pytest.skip("the program cannot be run by others here")
        one.log_path.touch()
        one.start()
        # It is able to look into programs of its own user at all.
        other = subprocess.Popen([*user, "sleep", "60"])
        try:
            look = [*user, "head", "-c", "1"]
            # Not before it is the program that it becomes: setpriv itself cannot be looked into.
            eventually("a look into another", lambda: subprocess.run(
                [*look, f"/proc/{other.pid}/environ"], capture_output=True).returncode == 0)
            for file in ("environ", "maps", "mem", "auxv"):
                assert subprocess.run([*look, f"/proc/{one.pid}/{file}"], capture_output=True).returncode != 0, file
        finally:
            other.kill()
            other.wait()
        # What it says of itself it still can.
        assert one.metrics()["process_open_fds"] > 5 and one.metrics()["process_resident_memory_bytes"] > 1_000_000
        assert one.ask("Hello", model="echo")
        assert one.stop() == 0
    finally:
        one.close()
        shutil.rmtree(folder, ignore_errors=True)
