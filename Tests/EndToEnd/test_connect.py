"""`igris-runtime connect`: what to paste, tried out first."""

import json
import shlex
import subprocess
import tomllib

import pytest

from daemon import Daemon, recall

CLIENTS = ["open-webui", "claude-code", "codex", "vscode", "aider"]


@pytest.fixture(scope="module")
def shared(binary, tmp_path_factory):
    one = Daemon(binary, tmp_path_factory.mktemp("connect"), {"models": [recall()]}, [], {}).start()
    yield one
    one.close()


def connect(daemon, *words, env=None):
    return subprocess.run(
        [str(daemon.binary), "connect", *words, "--url", daemon.url], cwd=daemon.home,
        env={**daemon.environment, **(env or {})}, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_printed_was_tried_in_the_words_of_the_client(shared, client):
    done = connect(shared, client)
    assert done.returncode == 0, done.stderr
    assert "it works" in done.stderr
    assert shared.url in done.stdout and "igris-runtime:" not in done.stdout
    report = json.loads(connect(shared, client, "--json").stdout)
    assert report["works"] and report["paste"] == done.stdout and report["trouble"] is None
    assert report["model"] == "igris-recall"


def test_nothing_of_the_trials_is_kept(shared):
    for client in CLIENTS:
        connect(shared, client)
    assert shared.get("/v1/mcp/contexts").json()["data"] == []


def test_the_lines_are_what_a_shell_takes(shared):
    words = shlex.split(connect(shared, "claude-code").stdout.replace("\\\n", " "))
    assert words[-1] == "claude" and f"ANTHROPIC_BASE_URL={shared.url}" in words
    words = shlex.split(connect(shared, "aider", "--model", "phi3").stdout)
    assert f"OPENAI_API_BASE={shared.url}/v1" in words and words[-2:] == ["--model", "openai/phi3"]


def test_codex_gets_toml(shared):
    # Codex speaks Responses only.
    table = tomllib.loads(connect(shared, "codex").stdout)
    provider = table["model_providers"][table["model_provider"]]
    assert (table["model"], provider["wire_api"]) == ("igris-recall", "responses")
    assert provider["base_url"] == f"{shared.url}/v1"


def test_a_key_is_named_and_never_printed(daemon):
    key = "s3cret-key-of-thirty-two-letters"
    guarded = daemon(config={"auth": {"keys": [{"name": "ann", "key": key}]}})
    for client in CLIENTS:
        done = connect(guarded, client, env={"IGRIS_API_KEY": key})
        assert done.returncode == 0, done.stderr
        assert key not in done.stdout + done.stderr
    assert '"$IGRIS_API_KEY"' in connect(guarded, "aider", env={"IGRIS_API_KEY": key}).stdout


def test_what_does_not_work_says_why(shared, daemon):
    unknown = connect(shared, "aider", "--model", "gpt-9")
    assert unknown.returncode == 1 and "igris-recall" in unknown.stderr
    absent = connect(daemon(start=False), "aider")
    assert absent.returncode == 69 and "no daemon answers" in absent.stderr
    assert connect(shared, "notepad").returncode == 64
