"""overload.py: what a host does when four times as much is asked of it as it can answer.

First what the host can do at all (as many requests at once as it writes), and how long an
answer takes there when nothing waits; then four times as many requests a second as that, whatever comes back, each timed
from when it was due (Gateway/load.c, open loop, no coordinated omission; Tene 2013). What is accepted must take at most twice
as long at its 99th percentile as without load, the rest must be told 429, and the host must live. The queue is as long as
the promise allows: one round of answers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from daemon import Daemon, recall  # noqa: E402
from figures import Table, machine  # noqa: E402

BODY = json.dumps({
    "model": "igris-recall", "messages": [{"role": "user", "content": "Remember: my name is Alice"}], "store": False,
    "temperature": 0, "max_tokens": 16,
}, separators=(",", ":"))


def load(folder: Path, *arguments: object) -> dict:
    done = subprocess.run(
        [str(folder / "load"), *map(str, arguments)], capture_output=True, text=True, timeout=600, check=True)
    return json.loads(done.stdout.splitlines()[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=ROOT / ".build/release/igris-runtime")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--pace", type=float, default=40)
    parser.add_argument("--times", type=float, default=4, help="how much more is asked than can be answered")
    options = parser.parse_args()
    table = Table()
    print(f"Overload: {machine()}, load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        subprocess.run(["gcc", "-O2", "-o", str(folder / "load"), str(ROOT / "Benchmarks/Gateway/load.c")], check=True)
        one = Daemon(
            options.binary, folder / "home",
            {"models": [recall(pace=options.pace, slots=options.slots)], "mcp": {"enabled": False},
             "log": {"level": "error"}, "queue": {"length": options.slots // 2}}, [], {})
        one.start()
        try:
            load(folder, "closed", 2, options.slots, BODY, one.port)
            calm = load(folder, "closed", options.seconds, options.slots, BODY, one.port)
            hot = load(folder, "open", options.seconds, options.times * calm["rate"], 512, BODY, one.port)
            alive = one.process.poll() is None and one.post("still there?", max_tokens=4).status_code == 200
        finally:
            one.close()
    failed = hot["errors"] - hot["refused"]
    accepted = hot["answers"] - hot["errors"]
    table.note(
        f"it can answer {calm['rate']:.1f} a second; asked {options.times * calm['rate']:.1f} a second for "
        f"{options.seconds} s: {accepted} accepted, {hot['refused']} told 429, {failed} failed otherwise")
    if "told" in hot:
        table.note(f"a refusal takes {hot['told']['p50'] / 1e3:.1f} ms, p99 {hot['told']['p99'] / 1e3:.1f} ms")
    for name, run in (("unloaded", calm), ("loaded", hot)):
        table.note(f"{name}: p50 {run['accepted']['p50'] / 1e3:.0f} ms, p99 {run['accepted']['p99'] / 1e3:.0f} ms")
    table.add(
        "p99 of what is accepted, of that without load", hot["accepted"]["p99"] / calm["accepted"]["p99"], "times", 2)
    table.add("answers a second, of what it can", accepted / hot["seconds"] / calm["rate"], "times", 0.9, at_least=True)
    table.add("neither answered nor told 429", failed, "requests", 0.5)
    table.add("alive afterwards", int(alive), "", 1, at_least=True)
    return 0 if all(row["met"] for row in table.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
