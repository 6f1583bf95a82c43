"""What a newcomer does: the README's commands, as they stand there."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from daemon import eventually

# The two requests of the requirement, word for word; both go to one host here.
REMEMBER = """curl -X POST http://localhost:8080/v1/chat/completions \\
-d '{
"model": "phi3",
"messages": [{"role": "user", "content": "Remember: my name is Alice"}]
}'"""
ASK = """curl -X POST http://localhost:8080/v1/chat/completions \\
-d '{
"model": "phi3",
"messages": [{"role": "user", "content": "What is my name?"}]
}'"""


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def shell(command: str, daemon) -> str:
    """The command as typed; only the port differs where 8080 is taken on this machine."""
    command = command.replace(":8080/", f":{daemon.port}/")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, env=daemon.environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_run_starts_the_release_binary_with_the_example_configuration(root):
    # What another make, of which these tests are run, was told (`make soak ARGS=…`) is not for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "ARGS"}
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "run"], cwd=root, env=environment, capture_output=True, text=True, check=True)
    last = done.stdout.strip().splitlines()[-1].strip()
    assert last.split() == ["exec", ".build/release/igris-runtime", "--config", "config.example.json5"]
    assert "make run" in (root / "README.md").read_text()
    assert "make test" in (root / "README.md").read_text()


def test_the_two_curls_answer_alice_also_after_kill_9(daemon, root, tmp_path):
    example = tmp_path / "home" / "config.example.json5"
    example.parent.mkdir()
    shutil.copy(root / "config.example.json5", example)
    one = daemon(config=Path(example), start=False)
    if is_free(8080):
        one.port = 8080
    one.start()
    assert "Alice" in shell(REMEMBER, one)
    assert "Your name is Alice" in shell(ASK, one)
    one.kill9()
    one.start()
    assert "Your name is Alice" in shell(ASK, one)


def test_the_readme_shows_these_two_curls(root):
    readme = (root / "README.md").read_text()
    assert REMEMBER in readme and ASK in readme


def test_every_command_of_the_readmes_tour_works(daemon, binary, root):
    one = daemon()
    blocks = re.findall(r"```console\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    # A command and its output, up to the next prompt.
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)]
    tour = [first_command(part) for part in parts if part.startswith(("curl", "igris-runtime", "echo"))]
    assert len(tour) >= 10
    second = None
    for command in tour:
        if command == "igris-runtime --config config.example.json5 --port 8081":
            # The tour's other terminal: the same user, the same settings, a port of its own.
            second = daemon(config=one.config)
            eventually("the two are linked", lambda: second.get("/v1/mcp/peers").json()["peers"])
            continue
        command = command.replace("localhost:8080", f"localhost:{one.port}")
        if second:
            command = command.replace("localhost:8081", f"localhost:{second.port}")
            command = command.replace("--port 8081", f"--url {second.url}")
        if "--url" not in command:
            command = re.sub(r"(?<![\w/-])igris-runtime (chat|status|peers)\b", rf"igris-runtime \1 --url {one.url}", command)
        command = re.sub(r"(?<![\w/-])igris-runtime\b", str(binary), command)
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=60, env=one.environment, cwd=root)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if second and "What is my name?" in command:
            assert "Your name is Alice" in done.stdout
    assert second, "the tour starts no second host"


def first_command(block: str) -> str:
    """The command itself: up to where its quotes are closed and no line continues; what follows is its output."""
    lines = block.split("\n")
    for count in range(1, len(lines) + 1):
        text = "\n".join(lines[:count])
        if text.count("'") % 2 == 0 and not text.endswith("\\"):
            return text
    return block
