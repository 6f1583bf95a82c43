"""Fixtures: the release binary as its users run it. Every daemon has its own home folder and port."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon import ECHO, Daemon, recall
from swarm import Swarm

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def binary() -> Path:
    """The program under test: $IGRIS_BINARY, else the release build."""
    path = Path(os.environ.get("IGRIS_BINARY", ROOT / ".build/release/igris-runtime")).resolve()
    assert path.is_file(), f"{path} is not there: run `make release` first"
    return path


@pytest.fixture(scope="session")
def llama_dir() -> Path:
    """The folder with the real llama.cpp programs."""
    folder = Path(os.environ.get("LLAMA_DIR", ROOT / ".tools/llama")) / "bin"
    if not (folder / "llama-completion").is_file():
        pytest.skip("the llama.cpp programs are not there (scripts/get-llama .tools/llama)")
    return folder


@pytest.fixture(scope="module", params=["builtin", "llama-server"])
def pair(request: pytest.FixtureRequest, binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """Two hosts of one swarm whose model is igris-recall, run by either engine; beside it the echo."""
    model = recall()
    if request.param == "llama-server":
        model = recall_server(request.getfixturevalue("llama_dir"), embeddings=True)
    one = Swarm(binary, tmp_path_factory.mktemp("pair"), 2, models=[model, ECHO])
    try:
        yield one.start()
    finally:
        one.close()


def recall_server(llama_dir: Path, *arguments: str, **model: Any) -> dict[str, Any]:
    """The configuration of igris-recall behind the real llama-server."""
    return recall(**{
        "engine": "llama-server", "command": [str(llama_dir / "llama-server"), *arguments],
        "path": str(ROOT / "Models/igris-recall/igris-recall-q8_0.gguf"), **model,
    })


@pytest.fixture(scope="session")
def litellm(root: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Calls litellm in a process of its own: it wants another openai package than the other tests."""
    python = root / ".venv-litellm/bin/python"
    if not python.is_file():
        pytest.skip("litellm is not there (scripts/setup test)")
    process = subprocess.Popen(
        [str(python), str(Path(__file__).parent / "litellm_calls.py")], text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def call(name, **options):
        process.stdin.write(json.dumps({"call": name, "options": options}) + "\n")
        process.stdin.flush()
        # It writes lines of its own between ours.
        while not (line := process.stdout.readline()).startswith("{"):
            assert line, "litellm has ended"
        return json.loads(line)

    yield call
    process.kill()
    process.wait()


@pytest.fixture
def daemon(binary: Path, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons: daemon(models=[…], config={…}, args=[…], env={…}, home=…, start=False)."""
    started: list[Daemon] = []

    def start(
        models: list[dict] | None = None, config: dict[str, Any] | str | Path | None = None,
        args: list[str] | None = None, env: dict[str, str] | None = None, home: str = "home", start: bool = True,
    ) -> Daemon:
        if config is None or isinstance(config, dict):
            config = {"models": models or [recall()], **(config or {})}
        one = Daemon(binary, tmp_path / home, config, args or [], env or {})
        started.append(one)
        return one.start() if start else one

    yield start
    for one in started:
        one.close()


@pytest.fixture
def swarm(binary: Path, tmp_path: Path) -> Iterator[Callable[..., Swarm]]:
    """Starts swarms: swarm(3, found_by=…, key=…, config=…, models=…, start=False)."""
    made: list[Swarm] = []

    def make(count: int = 3, start: bool = True, **options: Any) -> Swarm:
        one = Swarm(binary, tmp_path / f"swarm{len(made)}", count, **options)
        made.append(one)
        return one.start() if start else one

    yield make
    for one in made:
        one.close()
