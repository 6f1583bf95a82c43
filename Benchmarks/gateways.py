"""gateways.py: this program and those that stand beside it, each in front of the same upstreams.

What is not installed is left out by name (scripts/get-gateways brings it), and so is what does not start, with the end of
its log.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from daemon import free_port  # noqa: E402
from swarm import wait_for  # noqa: E402

MODEL = "mock"
WHOLE = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}, separators=(",", ":"))
STREAM = WHOLE[:-1] + ',"stream":true}'
PEERS = ("nginx", "smg", "sglang-router", "litellm")


class NotServed(Exception):
    """Why a gateway takes no part."""


class Gateways:
    """Starts programs, each pinned to a core, and ends them all."""

    def __init__(self, folder: Path, tools: Path, binary: Path) -> None:
        self.folder, self.tools, self.binary = folder, tools, binary
        self.running: list[subprocess.Popen] = []
        self.count = 0
        for name in ("upstream", "load"):
            subprocess.run(
                ["gcc", "-O2", "-o", str(folder / name), str(ROOT / f"Benchmarks/Gateway/{name}.c")], check=True)

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.running = []

    def start(
        self, name: str, command: list[str], port: int, core: int | None, body: str = WHOLE, **options: object
    ) -> int:
        """Returns the port once it answers; NotServed with the log's end where it does not."""
        self.count += 1
        log = self.folder / f"{self.count}-{name}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [*(["taskset", "-c", str(core)] if core is not None else []), *command],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, **options)
        self.running.append(process)
        try:
            wait_for(lambda: "", lambda: process.poll() is not None or self.answers(port, body), within=90)
        except AssertionError:
            raise NotServed(f"does not answer: {tail(log)}") from None
        if process.poll() is not None:
            raise NotServed(f"ended with {process.returncode}: {tail(log)}")
        return port

    def answers(self, port: int, body: str) -> bool:
        asked = subprocess.run(
            ["timeout", "5", str(self.folder / "load"), "latency", "0", "1", body, str(port)], capture_output=True)
        return asked.returncode == 0 and json.loads(asked.stdout)["errors"] == 0

    def load(self, *arguments: object, timeout: float = 300) -> list[dict]:
        done = subprocess.run(
            ["taskset", "-c", "1", str(self.folder / "load"), *map(str, arguments)], capture_output=True, text=True,
            timeout=timeout, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def upstream(self, milliseconds: int) -> int:
        port = free_port()
        return self.start("upstream", [f"{self.folder}/upstream", str(port), str(milliseconds)], port, 1)

    def version(self, name: str) -> str:
        if name == "igris-runtime":
            command = [str(self.binary), "--version"]
        elif name == "nginx":
            command = [str(self.nginx_program()), "-v"]
        else:
            code = f"import importlib.metadata; print(importlib.metadata.version('{name}'))"
            command = [str(self.tools / "bin/python"), "-c", code]
        said = subprocess.run(command, capture_output=True, text=True)
        words = (said.stdout + said.stderr).split()
        return words[-1].removeprefix("nginx/") if words else "?"

    # Each in front of the upstreams on those ports

    def place(self, name: str, upstreams: list[int], core: int | None = 0, body: str = WHOLE) -> int:
        if name == "igris-runtime":
            return self.ours(upstreams[0], core)
        if name == "nginx":
            return self.nginx(upstreams, core, body)
        return self.router(name, upstreams, core, body)

    def ours(self, upstream: int, core: int | None) -> int:
        port = free_port()
        config = self.folder / f"igris-{port}.json5"
        config.write_text(json.dumps({
            "server": {"host": "127.0.0.1", "port": port}, "mcp": {"enabled": False}, "log": {"level": "error"},
            "models": [{
                "name": MODEL, "engine": "remote", "url": f"http://127.0.0.1:{upstream}/v1", "slots": 4096}],
        }))
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        return self.start("igris", [str(self.binary), "--config", str(config)], port, core, env=environment)

    def nginx_program(self) -> Path:
        return Path(shutil.which("nginx") or self.tools / "root/usr/sbin/nginx")

    def nginx(self, upstreams: list[int], core: int | None, body: str) -> int:
        if not self.nginx_program().exists():
            raise NotServed("not installed")
        port = free_port()
        config = self.folder / f"nginx-{port}.conf"
        servers = " ".join(f"server 127.0.0.1:{upstream};" for upstream in upstreams)
        config.write_text(f"""
daemon off; worker_processes 1; pid {self.folder}/nginx-{port}.pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {self.folder}; proxy_temp_path {self.folder};
  fastcgi_temp_path {self.folder}; uwsgi_temp_path {self.folder}; scgi_temp_path {self.folder};
  upstream back {{ {servers} keepalive 256; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 10000000;
    location / {{
      proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_set_header Host localhost; proxy_next_upstream error timeout http_502 http_503 non_idempotent;
    }}
  }}
}}""")
        return self.start("nginx", [str(self.nginx_program()), "-c", str(config), "-e", "stderr"], port, core, body)

    def router(self, name: str, upstreams: list[int], core: int | None, body: str) -> int:
        program = self.tools / "bin" / ("python" if name == "sglang-router" else name)
        if not program.exists():
            raise NotServed("not installed")
        port = free_port()
        urls = [f"http://127.0.0.1:{upstream}" for upstream in upstreams]
        address = ["--host", "127.0.0.1", "--port", str(port)]
        environment = dict(os.environ)
        if name == "litellm":
            config = self.folder / f"litellm-{port}.json"
            model = json.loads(body)["model"]
            config.write_text(json.dumps({
                "model_list": [
                    {"model_name": model,
                     "litellm_params": {"model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": "none"}}
                    for url in urls],
            }))  # JSON is YAML
            command = [str(program), "--config", str(config), *address]
            environment["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"
        elif name == "smg":
            command = [str(program), "launch", "--worker-urls", *urls, *address,
                       "--prometheus-port", str(free_port())]
        else:
            command = [str(program), "-m", "sglang_router.launch_router", "--worker-urls", *urls, *address,
                       "--prometheus-port", str(free_port())]
        return self.start(name, command, port, core, body, env=environment)


def tail(log: Path) -> str:
    return " ".join(log.read_text(errors="replace").split())[-300:]
