"""direct.py: tokens a second of one model on llama-server, asked directly and through the daemon, in turns.

    IGRIS_BINARY=.build/release/igris-runtime LLAMA_DIR=.tools/llama .venv/bin/python Benchmarks/direct.py [MODEL.gguf]

Both servers run with the same file, flags and threads; of each pair of rounds the ratio counts, and the median of those is
the verdict. The small model of this repository is the hardest case: it writes a token in a fraction of a millisecond.
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
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from daemon import Daemon, free_port  # noqa: E402
from figures import Table, machine  # noqa: E402
from workers import BODY, LLAMA, MODEL, ready  # noqa: E402

BINARY = Path(os.environ.get("IGRIS_BINARY", ROOT / ".build/release/igris-runtime")).resolve()
ROUNDS = int(os.environ.get("IGRIS_ROUNDS", "20"))
TOKENS = 400


def speed(url: str, streams: bool) -> float:
    """Tokens a second of one answer, from the request's first byte to the answer's last."""
    body = {**BODY, "max_tokens": TOKENS, "stream": streams}
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


def main() -> None:
    model = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else MODEL
    threads = ["-t", "1", "-tb", "1"]
    entry = {"name": "big", "engine": "llama-server", "command": [str(LLAMA / "llama-server")], "path": str(model),
             "slots": 1, "threads": 1, "context": 2048, "load": "start"}
    print(machine(), f"load average {os.getloadavg()[0]:.1f}", f"model {model.name}", sep="\n", flush=True)
    table = Table()
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
                word = "streamed" if streams else "whole"
                table.note(f"{word}: directly {statistics.median(a for a, _ in pairs):.0f}, through us "
                           f"{statistics.median(b for _, b in pairs):.0f} tokens/s")
                table.add(f"tokens a second through us, {word}", 100 * statistics.median(b / a for a, b in pairs),
                          "%", 99, at_least=True)
        finally:
            server.kill()
            server.wait()
            one.close()


if __name__ == "__main__":
    main()
