"""One daemon of the release binary, in a home folder of its own, and what tests ask of it."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai

ENGINES = Path(__file__).resolve().parent / "engines"
# Generous: CI machines are slow and shared. Tests that are about time state their own bound.
PATIENCE = 30.0


def ports() -> Iterator[int]:
    """Of this run alone: two that run side by side (pytest-xdist) never draw the same, nor does one twice."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        drawn = list(range(20_000 + worker * 3_000, 23_000 + worker * 3_000))
        random.shuffle(drawn)
        yield from drawn


PORTS = ports()


def free_port() -> int:
    """A port below those that the system gives to outgoing connections: a killed daemon finds its own free again."""
    while True:
        port = next(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
                return port
            except OSError:
                continue


def eventually(what: str, condition: Callable[[], Any], within: float = PATIENCE) -> Any:
    """The first true value of `condition`, asked again every 10 ms; fails naming `what` when there is none in time."""
    deadline = time.monotonic() + within
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.01)


def scripted_engine(name: str, script: str, **model: Any) -> dict[str, Any]:
    """The configuration of a model that is answered by one of `engines/*.py`."""
    command = [sys.executable, str(ENGINES / script)]
    return {"name": name, "engine": "stdio", "protocol": "jsonl", "command": command, **model}


ECHO = scripted_engine("echo", "echo.py")


def recall(**model: Any) -> dict[str, Any]:
    """The configuration of the built-in model."""
    return {"name": "igris-recall", "engine": "builtin", "aliases": ["phi3"], **model}


class Daemon:
    """A daemon that can be killed, stopped and started again on the same home folder and port."""

    def __init__(self, binary: Path, home: Path, config: dict | str | Path, args: list[str], env: dict[str, str]):
        self.binary, self.home, self.args = binary, home, args
        for folder in ("state", "config", "tmp", "logs", "run"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        if isinstance(config, Path):
            self.config = config
        else:
            self.config = home / "config.json5"
            self.config.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
        self.environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "TMPDIR": str(home / "tmp"),
            **env,
        }
        self.port = free_port()
        # What starts the program: nothing, or a command that puts it on a host of the network lab.
        self.launcher: list[str] = []
        self.process: subprocess.Popen | None = None

    # Life

    def start(self, until: str | None = "/readyz") -> "Daemon":
        """Starts the program; returns when `until` answers 200 (None: at once)."""
        command = [*self.launcher, str(self.binary), "--config", str(self.config), "--port", str(self.port), *self.args]
        if "--host" not in self.args:
            command += ["--host", "127.0.0.1"]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )
        if until:
            self.wait_until(until)
        return self

    def wait_until(self, path: str) -> None:
        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.logs()}")
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(self.url + path, timeout=5).status_code == 200
            return False

        try:
            eventually(f"200 from {path}", answers)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def kill9(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        self.process.terminate()

    def stop(self, within: float = 40.0) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.terminate()
        return self.process.wait(within)

    def restart(self) -> "Daemon":
        self.stop()
        return self.start()

    def close(self) -> None:
        """Ends what is still running, whatever state it is in. At once: a stop that is asked for waits for clients to
        hang up, and the test is over."""
        if self.process and self.process.poll() is None:
            self.kill9()

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> list[int]:
        """Processes whose parent the daemon is."""
        return children_of(self.pid)

    # Traces

    @property
    def log_path(self) -> Path:
        return self.home / "logs" / "daemon.log"

    def logs(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def database(self) -> Path:
        return self.home / "mcp_contexts.db"

    # Requests

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(**self.client_options(**options))

    def async_client(self, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**self.client_options(**options))

    def client_options(self, **options: Any) -> dict[str, Any]:
        return {"base_url": f"{self.url}/v1", "api_key": "unused", "max_retries": 0, "timeout": PATIENCE, **options}

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE, **options)

    def post(self, messages: Any, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        """One chat request; `messages` may be a single user's text."""
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        body = {"model": "phi3", "messages": messages, **fields}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=PATIENCE)

    def ask(self, messages: Any, headers: dict[str, str] | None = None, **fields: Any) -> str:
        """The text of the answer."""
        response = self.post(messages, headers, **fields)
        assert response.status_code == 200, f"{response.status_code} {response.text}\n{self.logs()[-4000:]}"
        return response.json()["choices"][0]["message"]["content"]

    def conversation(self, identifier: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        response = self.get(f"/v1/mcp/contexts/{identifier}", headers=headers)
        assert response.status_code == 200, response.text
        return response.json()

    def texts(self, identifier: str, headers: dict[str, str] | None = None) -> list[str]:
        return [message["content"] for message in self.conversation(identifier, headers)["messages"]]

    def metrics(self) -> dict[str, float]:
        """Every sample by its name with labels, as `/metrics` prints them."""
        return dict(samples(self.get("/metrics").text))

    def status_models(self) -> list[dict[str, Any]]:
        return self.get("/v1/status").json()["models"]

    def status_model(self, name: str = "igris-recall") -> dict[str, Any]:
        """What `/v1/status` shows of one model."""
        return next(model for model in self.status_models() if name in (model.get("name"), model.get("id")))

    def running(self) -> int:
        """Answers being written at present, of all models."""
        return sum(model["running"] for model in self.status_models())


def samples(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = re.fullmatch(r"([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)(?: \d+)?", line).groups()
            yield name, float(value)


def children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent and fields[0] != "Z":
                    found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
