"""direct.py: tokens a second of one model on llama-server, asked directly and through the daemon, in turns.

    IGRIS_BINARY=.build/release/igris-runtime LLAMA_DIR=.tools/llama .venv/bin/python Benchmarks/direct.py [MODEL.gguf]

Both servers run with the same file, flags and threads; of each pair of rounds the ratio counts, and the median of those is
the verdict. The model is one of 57 million random weights, with which the model and not the gateway takes the time; a
token of the small model of this repository takes a third of a millisecond, and what is added to that is shown as well.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests/EndToEnd"), str(ROOT / "Models/igris-recall")]

from daemon import Daemon, free_port  # noqa: E402
from figures import Table, machine  # noqa: E402
from workers import BODY, LLAMA, MODEL, ready  # noqa: E402

BINARY = Path(os.environ.get("IGRIS_BINARY", ROOT / ".build/release/igris-runtime")).resolve()
ROUNDS = int(os.environ.get("IGRIS_ROUNDS", "20"))
TOKENS = 400
LETTER_A = "97"


def random_model(folder: Path) -> Path:
    """Q8_0, 8 layers of width 768, written as those of igris-recall are."""
    # Of `pip install gguf`, which `make bench-engines` does.
    import export
    import numpy as np

    width, layers, hidden, vocabulary = 768, 8, 2048, 262
    chance = np.random.default_rng(1)

    def weights(*shape: int) -> np.ndarray:
        return chance.standard_normal(shape, dtype=np.float32) / width**0.5

    checkpoint, model = folder / "random.npz", folder / "random-57m.gguf"
    np.savez(checkpoint, **{
        "mean.emb": weights(vocabulary, width), "mean.norms": np.ones((2 * layers + 1, width), np.float32),
        "mean.attn": weights(layers, 4, width, width), "mean.wide": weights(layers, 2, width, hidden),
        "mean.down": weights(layers, hidden, width)})
    export.main(str(checkpoint), str(model))
    return model


def speed(url: str, streams: bool) -> float:
    """Tokens a second of one answer, from the request's first byte to the answer's last."""
    # Random weights would write broken characters.
    bias = {**BODY["logit_bias"], LETTER_A: 100}
    body = {**BODY, "max_tokens": TOKENS, "stream": streams, "logit_bias": bias}
    if streams:
        body["stream_options"] = {"include_usage": True}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    begin = time.monotonic()
    with urllib.request.urlopen(request, timeout=300) as reply:
        text = reply.read().decode()
    seconds = time.monotonic() - begin
    last = text.strip().split("data: ")[-2] if streams else text
    tokens = json.loads(last)["usage"]["completion_tokens"]
    assert tokens == TOKENS, text[-300:]
    return tokens / seconds


def compare(model: Path, table: Table, goal: float | None) -> None:
    threads = ["-t", "1", "-tb", "1"]
    entry = {"name": "big", "engine": "llama-server", "command": [str(LLAMA / "llama-server")], "path": str(model),
             "slots": 1, "threads": 1, "context": 2048, "load": "start"}
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        server = subprocess.Popen(
            [LLAMA / "llama-server", "-m", model, "-np", "1", *threads, "-c", "2048", "--host", "127.0.0.1",
             "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        config = {"models": [entry], "mcp": {"enabled": False}, "log": {"level": "error"}}
        one = Daemon(BINARY, Path(folder), config, [], {})
        try:
            one.start()
            ready(f"http://127.0.0.1:{port}/health")
            ways = [f"http://127.0.0.1:{port}", one.url]
            for streams in (True, False):
                for url in ways:
                    speed(url, streams)
                pairs = []
                for number in range(ROUNDS):
                    pair = {url: speed(url, streams) for url in (ways if number % 2 else ways[::-1])}
                    pairs.append((pair[ways[0]], pair[ways[1]]))
                word = f"{model.stem}, {'streamed' if streams else 'whole'}"
                ratio = 100 * statistics.median(b / a for a, b in pairs)
                table.note(f"{word}: directly {statistics.median(a for a, _ in pairs):.0f}, through us "
                           f"{statistics.median(b for _, b in pairs):.0f} tokens/s, {ratio:.1f} %")
                if goal:
                    table.add(f"tokens a second through us, {word}", ratio, "%", goal, at_least=True)
        finally:
            server.kill()
            server.wait()
            one.close()


def main() -> None:
    print(machine(), f"load average {os.getloadavg()[0]:.1f}", sep="\n", flush=True)
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        given = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
        compare(given or random_model(Path(folder)), table, 99)
        if not given:
            compare(MODEL, table, None)


if __name__ == "__main__":
    main()
