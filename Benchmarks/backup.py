"""backup.py [GIB]: how long a backup of a large store takes, and how long it makes anybody wait who writes meanwhile.

One host is filled through its API with long turns until its store has so many GiB (1 by default). One client then asks
short questions one after the other, each of which is on disk before its answer ends: first with nothing else going on,
then while `igris-runtime backup` runs, then while `igris-runtime store rotate-key` seals every row anew. The longest answer of
each, and the share above 50 ms, tell what they cost others. Then `backup verify`, and `restore` into an empty home.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from daemon import Daemon, scripted_engine  # noqa: E402
from swarm_load import append_part  # noqa: E402

BINARY = Path(os.environ.get("IGRIS_BINARY", ROOT / ".build/release/igris-runtime")).resolve()
INSTANT = scripted_engine("instant", "echo.py", aliases=["phi3"])
INSTANT["command"] += ["--answer", "ok"]
CONFIG = {
    "models": [INSTANT],
    "mcp": {"mdns": False, "multicast": False, "encryption_key": "${MCP_ENCRYPTION_KEY}"},
    "context": {"durability": "fsync"},
}
TURN = 60_000


def fill(host: Daemon, size: int) -> None:
    number = 0
    while host.database.stat().st_size < size:
        append_part(host.port, f"fill-{number}", 500, 8, text="x" * TURN)
        number += 1


def waits(host: Daemon, until) -> list[float]:
    """Milliseconds of turns, one after the other, until `until()`."""
    taken = []
    while not until():
        taken += append_part(host.port, f"turn-{len(taken)}", 5, 1)
    return [each * 1_000 for each in taken]


def told(name: str, taken: list[float]) -> None:
    ordered = sorted(taken)
    print(
        f"{name}: {len(taken)} turns, p50 {ordered[len(ordered) // 2]:.1f} ms, p99 {ordered[len(ordered) * 99 // 100]:.1f} ms, "
        f"longest {ordered[-1]:.1f} ms, {sum(each > 50 for each in taken)} above 50 ms", flush=True)


def timed(host: Daemon, *arguments: str) -> tuple[float, str]:
    begin = time.monotonic()
    done = subprocess.run(
        [str(BINARY), *arguments, "--config", str(host.config), "--json"], env=host.environment, cwd=host.home,
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - begin, done.stdout.strip()


def main() -> None:
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else 1) * (1 << 30))
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        home = Path(name)
        environment = {"MCP_ENCRYPTION_KEY": "be9c" * 16}
        host = Daemon(BINARY, home / "one", CONFIG, [], environment).start()
        try:
            fill(host, size)
            store = host.get("/v1/status").json()["store"]
            print(f"store: {json.dumps(store)}, load average {os.getloadavg()[0]:.1f}", flush=True)
            end = time.monotonic() + 15
            told("alone", waits(host, lambda: time.monotonic() > end))
            during: list[float] = []
            isOver = threading.Event()
            writer = threading.Thread(target=lambda: during.extend(waits(host, isOver.is_set)))
            writer.start()
            taken, report = timed(host, "backup", str(home / "backup"), "--port", str(host.port))
            isOver.set()
            writer.join()
            print(f"backup: {taken:.1f} s, {report}", flush=True)
            told("during the backup", during)
            rotating: list[float] = []
            isOver.clear()
            writer = threading.Thread(target=lambda: rotating.extend(waits(host, isOver.is_set)))
            writer.start()
            taken, _ = timed(host, "store", "rotate-key", "--wait", "600", "--port", str(host.port))
            isOver.set()
            writer.join()
            print(f"every row sealed anew: {taken:.1f} s", flush=True)
            told("meanwhile", rotating)
            host.stop()
            taken, _ = timed(host, "backup", "verify", str(home / "backup"))
            print(f"verify: {taken:.1f} s", flush=True)
            other = Daemon(BINARY, home / "two", CONFIG, [], environment)
            taken, _ = timed(other, "restore", str(home / "backup"))
            print(f"restore: {taken:.1f} s, {other.database.stat().st_size} bytes", flush=True)
        finally:
            host.close()


if __name__ == "__main__":
    main()
