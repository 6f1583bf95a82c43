"""A full disk: what a client is told, and that nothing is lost by it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from daemon import ECHO, eventually


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with little room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("a small disk can be had as root only")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_a_507_that_says_what_to_do_and_is_not_asked_again(daemon, small_disk):
    one = daemon(models=[{**ECHO, "aliases": ["phi3"]}], config={"mcp": {"storage_path": str(small_disk / "contexts.db")}})
    one.ask("Remember: my name is Alice", conversation="talk")
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with pytest.raises(OSError):
            while True:
                file.write(bytes(4096))
    # The store has some room in its own log still.
    long = "x" * 20_000
    eventually("the store is full", lambda: one.post(long, conversation="filler").status_code == 507, within=20)

    def refused() -> float:
        return sum(value for name, value in one.metrics().items()
                   if name.startswith("igris_http_requests_total") and 'status="507"' in name)

    before = refused()
    with pytest.raises(openai.APIStatusError) as caught:
        one.client(max_retries=2).chat.completions.create(
            model="phi3", messages=[{"role": "user", "content": long}], extra_body={"conversation": "filler"})
    error = caught.value
    assert error.status_code == 507
    assert error.response.headers["x-should-retry"] == "false"
    assert error.body["code"] == "insufficient_storage" and error.body["type"] == "server_error"
    assert "free space" in error.body["message"] and "full" in error.body["message"]
    assert str(small_disk) not in error.response.text
    assert refused() == before + 1, "it was asked again, in vain"
    # What needs no room is answered all the same, and what was kept is there.
    assert one.post("Hello", store=False).status_code == 200
    assert one.texts("talk")[0] == "Remember: my name is Alice"
    ballast.unlink()
    one.ask("What is my name?", conversation="talk")
    assert "What is my name?" in one.texts("talk")


def test_signals_for_other_daemons_are_not_the_end(daemon):
    import signal

    one = daemon()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        one.process.send_signal(number)
    one.ask("Hello")
    assert one.stop() == 0
