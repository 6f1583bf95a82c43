"""affinity.py: time to the first token of conversations that go on, with the router's own choice and in turns.

    IGRIS_BINARY=.build/release/igris-runtime LLAMA_DIR=.tools/llama .venv/bin/python Benchmarks/affinity.py

Three hosts have the model on a llama-server, and one of them is asked. Conversations of nearly 2,000 tokens go on in random
order: `auto` sends each where its history has been read, `round-robin` wherever the turn is.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from figures import Table, machine  # noqa: E402
from swarm import Host, Swarm, wait_for  # noqa: E402
from workers import BINARY, LLAMA, MODEL  # noqa: E402

HOSTS, CONVERSATIONS, TURNS = 3, 6, int(os.environ.get("IGRIS_ROUNDS", "6"))
WORDS = "the house by the river has a red door and a green roof and seven rooms with views of the old mill ".split()
NAME = "recall-server"


def histories(seed: int) -> list[list[dict]]:
    """Each of about 1,900 tokens, which are bytes here, and different from its beginning on."""
    source = random.Random(seed)
    return [
        [{"role": "user", "content": f"{number} " + " ".join(source.choice(WORDS) for _ in range(600))[:1_840]},
         {"role": "assistant", "content": "yes"}]
        for number in range(CONVERSATIONS)
    ]


def first_token(asked: Host, history: list[dict], turn: int) -> float:
    body = {"model": NAME, "messages": [*history, {"role": "user", "content": f"and {turn}?"}], "max_tokens": 1,
            "temperature": 0, "store": False, "stream": True}
    request = urllib.request.Request(
        f"{asked.url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    begin = time.monotonic()
    with urllib.request.urlopen(request, timeout=120) as reply:
        reply.readline()
        taken = time.monotonic() - begin
        reply.read()
    return taken * 1_000


def measure(algorithm: str, folder: Path) -> list[float]:
    model = {"name": NAME, "engine": "llama-server", "command": [str(LLAMA / "llama-server")], "path": str(MODEL),
             "slots": 2 * CONVERSATIONS // HOSTS, "threads": 1, "context": 2048, "load": "start"}
    one = Swarm(BINARY, folder, HOSTS, models=[model], config={"routing": {"algorithm": algorithm}})
    try:
        one.start()
        asked = one.hosts[0]

        def ready() -> int:
            rows = asked.fetch("/v1/models").json["data"]
            entry = next((row for row in rows if row["id"] == NAME), {})
            return sum(host["state"] == "ready" for host in entry.get("igris", {}).get("hosts", []))

        wait_for(lambda: f"{HOSTS} hosts are ready, not {ready()}", lambda: ready() == HOSTS, within=60)
        conversations, order, times = histories(11), random.Random(7), []
        for history in conversations:
            first_token(asked, history, 0)
        for turn in range(1, TURNS + 1):
            for number in order.sample(range(CONVERSATIONS), CONVERSATIONS):
                times.append(first_token(asked, conversations[number], turn))
        return times
    finally:
        one.close()


def main() -> None:
    print(machine(), f"load average {os.getloadavg()[0]:.1f}", sep="\n", flush=True)
    table, medians = Table(), {}
    for algorithm in ("round-robin", "auto"):
        with tempfile.TemporaryDirectory() as folder:
            times = sorted(measure(algorithm, Path(folder)))
        medians[algorithm] = statistics.mean(times)
        table.note(f"{algorithm:<12} first token after {times[len(times) // 2]:.0f} ms (median), "
                   f"{medians[algorithm]:.0f} ms (mean), {times[-1]:.0f} ms at most, of {len(times)}")
    table.add("times faster to the first token by affinity, mean", medians["round-robin"] / medians["auto"], "x", 5,
              at_least=True)


if __name__ == "__main__":
    main()
