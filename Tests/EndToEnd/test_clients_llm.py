"""Simon Willison's `llm`, with the lines of its own configuration, on a host of a swarm, with either engine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def shared(pair):
    one = pair.hosts[0]
    folder = one.home / "llm"
    folder.mkdir()
    (folder / "extra-openai-models.yaml").write_text(
        "".join(
            f"- model_id: {name}\n  model_name: {name}\n  api_base: {one.url}/v1\n" for name in ("phi3", "echo")
        )
    )
    return one


def llm(shared, *arguments):
    environment = {**os.environ, "LLM_USER_PATH": str(shared.home / "llm"), "OPENAI_API_KEY": "unused"}
    program = Path(sys.executable).parent / "llm"
    done = subprocess.run(
        [str(program), *arguments], env=environment, capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip()


def test_llm_asks_streamed_and_whole(shared):
    assert llm(shared, "-m", "phi3", "Remember: my name is Alice") == "I will remember that your name is Alice"
    assert llm(shared, "-m", "phi3", "--no-stream", "What is my name?") == "Your name is Alice"


def test_llm_continues_with_its_own_history(shared):
    llm(shared, "-m", "echo", "-s", "be brief", "one")
    assert llm(shared, "-c", "two").endswith("| two")


def test_llm_bounds_the_answer_and_shows_why_one_is_refused(shared):
    assert llm(shared, "-m", "phi3", "-o", "max_tokens", "4", "Remember: my name is Alice") == "I wi"
    refusal = llm(shared, "-m", "echo", "-o", "json_object", "true", "Rome")
    assert "response_format" in refusal
