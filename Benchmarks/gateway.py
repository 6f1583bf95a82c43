"""gateway.py: what passing a request through costs, beside nginx, smg, sglang-router and litellm in the same run.

One upstream that does nothing but answer (Gateway/upstream.c) stands behind each of them; Gateway/load.c asks it directly
and through each, in turns, on kept connections: the difference of the medians is what a gateway adds. Ours runs with
everything kept off (`mcp.enabled: false`), which is what the others do. What is not installed is named as skipped
(scripts/get-gateways brings it). Upstream and load share a core, the gateway has the other.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from daemon import free_port  # noqa: E402
from figures import Table, machine  # noqa: E402
from swarm import wait_for  # noqa: E402

WHOLE = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "hi"}]}, separators=(",", ":"))
STREAM = WHOLE[:-1] + ',"stream":true}'


class Bench:
    def __init__(self, folder: Path, tools: Path) -> None:
        self.folder, self.tools = folder, tools
        self.running: list[subprocess.Popen] = []
        for name in ("upstream", "load"):
            subprocess.run(
                ["gcc", "-O2", "-o", str(folder / name), str(ROOT / f"Benchmarks/Gateway/{name}.c")], check=True)

    def start(self, name: str, command: list[str], port: int, core: int, **options) -> int:
        log = (self.folder / f"{name}.log").open("w")
        self.running.append(subprocess.Popen(
            ["taskset", "-c", str(core), *command], stdout=log, stderr=log, start_new_session=True, **options))
        wait_for(lambda: f"{name} listens: {(self.folder / f'{name}.log').read_text()[-2000:]}",
                 lambda: self.answers(port), within=90)
        return port

    def answers(self, port: int) -> bool:
        asked = subprocess.run(
            ["timeout", "5", str(self.folder / "load"), "latency", "0", "1", WHOLE, str(port)], capture_output=True)
        return asked.returncode == 0 and json.loads(asked.stdout)["errors"] == 0

    def load(self, *arguments: object, timeout: float = 300) -> list[dict]:
        done = subprocess.run(
            ["taskset", "-c", "1", str(self.folder / "load"), *map(str, arguments)], capture_output=True, text=True,
            timeout=timeout, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def close(self) -> None:
        for process in self.running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ours(bench: Bench, binary: Path, upstream: int) -> int:
    port = free_port()
    config = bench.folder / "igris.json5"
    config.write_text(json.dumps({
        "server": {"host": "127.0.0.1", "port": port}, "mcp": {"enabled": False}, "log": {"level": "error"},
        "models": [{"name": "mock", "engine": "remote", "url": f"http://127.0.0.1:{upstream}/v1", "slots": 64}],
    }))
    environment = {"PATH": os.environ["PATH"], "HOME": str(bench.folder)}
    return bench.start("igris", [str(binary), "--config", str(config)], port, 0, env=environment)


def nginx(bench: Bench, upstream: int) -> int | None:
    program = shutil.which("nginx") or bench.tools / "root/usr/sbin/nginx"
    if not Path(program).exists():
        return None
    port = free_port()
    config = bench.folder / "nginx.conf"
    config.write_text(f"""
daemon off; worker_processes 1; pid {bench.folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {bench.folder}; proxy_temp_path {bench.folder};
  fastcgi_temp_path {bench.folder}; uwsgi_temp_path {bench.folder}; scgi_temp_path {bench.folder};
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 10000000;
    location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}""")
    return bench.start("nginx", [str(program), "-c", str(config), "-e", "stderr"], port, 0)


def python_router(bench: Bench, name: str, upstream: int) -> int | None:
    program = bench.tools / "bin" / name
    if not program.exists():
        return None
    port = free_port()
    url = f"http://127.0.0.1:{upstream}"
    if name == "litellm":
        config = bench.folder / "litellm.yaml"
        config.write_text(
            f"model_list: [{{model_name: mock, litellm_params: {{model: openai/mock, api_base: {url}/v1, api_key: none}}}}]\n")
        command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    elif name == "smg":
        command = [str(program), "launch", "--worker-urls", url, "--host", "127.0.0.1", "--port", str(port)]
    else:
        command = [str(bench.tools / "bin/python"), "-m", "sglang_router.launch_router", "--worker-urls", url,
                   "--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())]
    return bench.start(name, command, port, 0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binary", type=Path, default=ROOT / ".build/release/igris-runtime")
    options.add_argument("--tools", type=Path, default=ROOT / ".tools/gateways")
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--seconds", type=float, default=4)
    options.add_argument("--without", nargs="*", default=[])
    options = options.parse_args()
    print(machine(), flush=True)
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.tools)
        try:
            upstream = bench.start("upstream", [f"{folder}/upstream", port := str(free_port()), "0"], int(port), 1)
            paced = bench.start("paced", [f"{folder}/upstream", port := str(free_port()), "20"], int(port), 1)
            ports = {"igris": ours(bench, options.binary, upstream)}
            for name in ("nginx", "smg", "sglang-router", "litellm"):
                if name in options.without:
                    continue
                try:
                    port = nginx(bench, upstream) if name == "nginx" else python_router(bench, name, upstream)
                except AssertionError as error:
                    port = None
                    table.note(f"{name} does not start: {str(error)[-300:]}")
                if port:
                    ports[name] = port
                else:
                    table.note(f"{name}: skipped")
            names = ["direct", *ports]
            rows = dict(zip(names, bench.load("latency", options.rounds, 25, WHOLE, upstream, *ports.values())))
            streams = dict(zip(names, bench.load("latency", options.rounds, 2, STREAM, upstream, *ports.values())))
            for name, row in rows.items():
                table.note(f"{name:<14} whole p50 {row['whole']['p50']:.0f} p99 {row['whole']['p99']:.0f}, first "
                           f"p50 {streams[name]['first']['p50']:.0f} p99 {streams[name]['first']['p99']:.0f} us, "
                           f"frames {streams[name]['least']}-{streams[name]['most']}, errors {row['errors']}")
            direct, mine = rows["direct"], rows["igris"]
            table.add("added, not streamed, p50", (mine["whole"]["p50"] - direct["whole"]["p50"]) / 1000, "ms", 0.25)
            table.add("added, not streamed, p99", (mine["whole"]["p99"] - direct["whole"]["p99"]) / 1000, "ms", 1)
            table.add("added to the first token, p50",
                      (streams["igris"]["first"]["p50"] - streams["direct"]["first"]["p50"]) / 1000, "ms", 0.5)
            for name in names:
                row = bench.load("closed", options.seconds, 32, WHOLE, upstream if name == "direct" else ports[name])[0]
                table.note(f"{name:<14} {row['rate']:,.0f} requests/s at c=32, p99 {row['whole']['p99'] / 1000:.1f} ms, "
                           f"errors {row['errors']}")
                if name == "direct":
                    fastest = row["rate"]
                if name == "igris":
                    table.add("requests a second, c=32", row["rate"], "req/s", 6_500, at_least=True)
                    table.note(f"the upstream alone is {fastest / row['rate']:.1f} times as fast")
            slow = ours(bench, options.binary, paced)
            row = bench.load("streams", 1_000, STREAM, slow)[0]
            table.note(f"1,000 streams at once: {row['answers']} answers, frames {row['least']}-{row['most']} each, "
                       f"errors {row['errors']}, {row['seconds']:.1f} s")
        finally:
            bench.close()


if __name__ == "__main__":
    main()
