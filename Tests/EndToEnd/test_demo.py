"""The demonstration: hosts are killed, and the answers finish."""

import re
import subprocess
from pathlib import Path


def test_the_demonstration_kills_who_writes_and_who_was_asked_and_shows_both_answers_whole(binary, tmp_path):
    done = subprocess.run(
        [binary, "demo", "--nodes", "3"], capture_output=True, text=True, timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = done.stdout.split("2. The host")
    answer = "I will remember that your name is Alice"
    for part in (first, second):
        told = part[part.index("Alice\n") + len("Alice\n"):]
        whole = "".join(line.removeprefix("   ") for line in re.sub(r"\n   -- kill.*? --\n", "\n", told).split("\n")[:4])
        assert whole.startswith(answer), done.stdout
    killed = re.findall(r"kill -9 (\w+)", done.stdout)
    assert killed[0] in ("beta", "gamma") and killed[1] == "alpha", killed
    # Nothing is left of it: no folder, no process.
    assert not list(tmp_path.glob("igris-demo.*"))
    for process in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = process.read_bytes()
        except OSError:  # somebody else's, or gone
            continue
        assert str(tmp_path).encode() not in environment, (process.parent / "cmdline").read_bytes()
