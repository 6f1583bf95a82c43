"""Tokens a second of one model: alone, with llama.cpp's RPC worker on loopback, and with the same worker behind a tunnel
of the swarm. All on this machine, in turns; the best of each counts.

    IGRIS_BINARY=.build/release/igris-runtime LLAMA_DIR=.tools/llama .venv/bin/python Benchmarks/workers.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests" / "EndToEnd"))

from daemon import free_port, recall  # noqa: E402
from swarm import Swarm  # noqa: E402

LLAMA = Path(os.environ.get("LLAMA_DIR", ROOT / ".tools/llama")).resolve() / "bin"
BINARY = Path(os.environ.get("IGRIS_BINARY", ROOT / ".build/release/igris-runtime")).resolve()
TOKENS, ROUNDS = 400, 5
MODEL = ROOT / "Models/igris-recall/igris-recall-q8_0.gguf"
BODY = {
    "model": "big", "messages": [{"role": "user", "content": "Remember: my name is Alice"}], "temperature": 0,
    "max_tokens": TOKENS, "logit_bias": {"260": -100, "256": -100}, "store": False,
}


def speed(url: str) -> float:
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(BODY).encode(), {"Content-Type": "application/json"})
    begin = time.monotonic()
    with urllib.request.urlopen(request, timeout=300) as reply:
        tokens = json.load(reply)["usage"]["completion_tokens"]
    return tokens / (time.monotonic() - begin)


def ready(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                if reply.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def main() -> None:
    entry = {"name": "big", "engine": "llama-server", "command": [str(LLAMA / "llama-server")], "path": str(MODEL),
             "slots": 1, "threads": 1}
    with tempfile.TemporaryDirectory() as folder:
        one = Swarm(BINARY, Path(folder), 3, models=[recall()])
        a, b, alone = one.hosts
        for host, keys in [
            (a, {"models": [{**entry, "workers": ["B"]}]}), (alone, {"models": [entry]}),
            (b, {"rpc_worker": {"enabled": True, "command": [str(LLAMA / "ggml-rpc-server")], "threads": 1}}),
        ]:
            host.config.write_text(json.dumps({**json.loads(host.config.read_text()), **keys}))
        ports = free_port(), free_port()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        direct = [subprocess.Popen([LLAMA / "ggml-rpc-server", "-p", str(ports[0]), "-t", "1"], **quiet)]
        try:
            time.sleep(1)
            direct.append(subprocess.Popen(
                [LLAMA / "llama-server", "-m", MODEL, "-np", "1", "-t", "1", "-tb", "1", "-c", "2048", "--host", "127.0.0.1",
                 "--port", str(ports[1]), "--rpc", f"127.0.0.1:{ports[0]}"], **quiet))
            one.start()
            ways = {
                "alone, through the daemon": alone.url, "RPC on loopback, llama-server itself": f"http://127.0.0.1:{ports[1]}",
                "RPC through the tunnel and the daemon": a.url,
            }
            ready(f"{list(ways.values())[1]}/health")
            speeds: dict[str, list[float]] = {name: [] for name in ways}
            for url in ways.values():
                speed(url)
            for _ in range(ROUNDS):
                for name, url in ways.items():
                    speeds[name].append(speed(url))
            for name, each in speeds.items():
                print(f"{name}: best {max(each):.0f}, all {[round(x) for x in each]} tokens/s")
            text = a.fetch("/metrics").text
            carried = sum(
                float(line.split()[-1]) for line in text.splitlines() if line.startswith("igris_tunnel_bytes_total"))
            print(f"tunnel: {carried / 1e6:.1f} MB for about {(ROUNDS + 1) * TOKENS} tokens and one load")
        finally:
            for process in direct:
                process.kill()
            one.close()


if __name__ == "__main__":
    main()
