"""Models that come and go: loaded on demand, unloaded when idle, under a budget, with the real llama-server."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import ollama
import openai
import pytest

from daemon import ENGINES, Daemon, children_of, eventually, is_alive, recall

HELLO = [{"role": "user", "content": "Remember: my name is Alice"}]
ANSWER = "I will remember that your name is Alice"
ENDLESS = {"temperature": 1.9, "max_tokens": 1900, "logit_bias": {"260": -100, "256": -100}, "store": False}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(root: Path, llama_dir: Path) -> dict:
    return {
        "name": "a", "engine": "llama-server", "command": [str(llama_dir / "llama-server")],
        "path": str(root / "Models/igris-recall/igris-recall-q8_0.gguf"),
    }


def servers(one: Daemon) -> list[int]:
    def is_server(pid: int) -> bool:
        try:
            return b"--host" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:
            return False  # it has ended since it was listed

    return [pid for pid in children_of(one.pid) if is_server(pid)]


def ask(one: Daemon, model: str = "a", **fields) -> str:
    return one.ask(HELLO, model=model, temperature=0, store=False, **fields)


def listed(one: Daemon, name: str) -> dict:
    return next(entry for entry in one.get("/v1/models").json()["data"] if entry["id"] == name)


def running(one: Daemon) -> dict[str, dict]:
    return {model["name"]: model for model in one.get("/api/ps").json()["models"]}


def test_the_first_request_loads_a_model_and_idleness_unloads_it(daemon, server):
    one = daemon(models=[{**server, "keep_alive": "3s"}])
    assert not servers(one), "nothing is loaded before anybody asks"
    assert one.get("/readyz").status_code == 200
    assert one.status_model("a")["state"] == "unloaded" and not running(one)
    assert ask(one) == ANSWER
    shown = listed(one, "a")
    assert shown["igris"]["state"] == shown["meta"]["state"] == "ready"
    assert "json_schema" in shown["meta"]["capabilities"]
    [child] = servers(one)
    eventually("the server has ended by itself", lambda: not is_alive(child))
    eventually("unloaded is shown", lambda: one.status_model("a")["state"] == "unloaded")
    # What it can do is still known, and the next request brings it back.
    assert "json_schema" in listed(one, "a")["meta"]["capabilities"]
    assert ask(one) == ANSWER
    metrics = one.metrics()
    assert metrics['igris_model_loads_total{model="a",result="loaded"}'] == 2
    assert metrics['igris_model_unloads_total{model="a",reason="idle"}'] >= 1


def test_what_is_wanted_from_the_start_is_there_before_a_request(daemon, server):
    one = daemon(models=[{**server, "keep_alive": "forever"}])
    eventually("it is loaded", lambda: one.status_model("a")["state"] == "ready")
    assert one.status_model("a").get("expires_at") is None


def test_many_first_requests_share_one_load(daemon, server):
    one = daemon(models=[server])
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(one))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [ANSWER] * 6
    assert one.metrics()['igris_model_loads_total{model="a",result="loaded"}'] == 1


def gated(server: dict, gate: Path) -> dict:
    command = [sys.executable, str(ENGINES / "gated-llama"), *server["command"], str(gate)]
    return {**server, "command": command}


def test_a_stream_is_told_that_its_model_is_being_loaded(daemon, server, tmp_path):
    gate = tmp_path / "gate"
    one = daemon(models=[gated(server, gate), recall()])
    body = {"model": "a", "messages": HELLO, "temperature": 0, "stream": True, "store": False}
    lines = []
    with httpx.stream("POST", f"{one.url}/v1/chat/completions", json=body, timeout=60) as reply:
        assert reply.status_code == 200
        for line in reply.iter_lines():
            lines.append(line)
            if lines.count(": loading") == 2 and not gate.exists():
                assert one.status_model("a")["state"] == listed(one, "a")["igris"]["state"] == "loading"
                # Others are answered, and the host stays ready.
                assert one.ask("Hello", model="phi3", store=False)
                assert one.get("/readyz").status_code == 200
                gate.touch()
    assert lines.index(": loading") < next(i for i, line in enumerate(lines) if line.startswith("data:"))
    pieces = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert "".join(p["choices"][0]["delta"].get("content") or "" for p in pieces if p["choices"]) == ANSWER
    assert [line for line in lines if line][-1] == "data: [DONE]"


def test_embeddings_and_counts_wait_for_a_load_as_answers_do(daemon, server, tmp_path):
    gate = tmp_path / "gate"
    one = daemon(models=[{**gated(server, gate), "embeddings": True}, recall()])
    question = {"model": "a", "messages": HELLO}
    asked = {
        "/v1/embeddings": {"model": "a", "input": "Alice"}, "/v1/messages/count_tokens": question,
        "/api/embed": {"model": "a", "input": ["Alice", "Bob"]},
    }
    replies = {}
    threads = [
        threading.Thread(target=lambda path=path, body=body: replies.update(
            {path: httpx.post(f"{one.url}{path}", json=body, timeout=60)}))
        for path, body in asked.items()]
    for thread in threads:
        thread.start()
    eventually("it is loading", lambda: one.status_model("a")["state"] == "loading")
    assert one.ask("Hello", model="phi3", store=False)
    assert not replies, "nothing can be told before the model is there"
    gate.touch()
    for thread in threads:
        thread.join(60)
    assert {path: reply.status_code for path, reply in replies.items()} == dict.fromkeys(asked, 200)
    assert len(replies["/v1/embeddings"].json()["data"][0]["embedding"]) == len(replies["/api/embed"].json()["embeddings"][1])
    assert replies["/v1/messages/count_tokens"].json()["input_tokens"] > 5


def test_a_load_that_fails_says_why_in_each_dialect(daemon, server, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    one = daemon(models=[{**server, "path": str(broken)}])
    reply = one.post(HELLO, model="a")
    assert reply.status_code == 503, reply.text
    assert reply.json()["error"]["message"] and int(reply.headers["retry-after"]) > 0
    again = httpx.post(
        f"{one.url}/v1/messages", json={"model": "a", "max_tokens": 5, "messages": HELLO}, timeout=30)
    assert again.status_code == 503 and again.json()["type"] == "error"
    assert again.json()["error"]["message"] == reply.json()["error"]["message"]
    with pytest.raises(ollama.ResponseError) as caught:
        ollama.Client(host=one.url).chat("a", HELLO)
    assert caught.value.status_code == 503
    assert one.status_model("a")["state"] == "quarantined"


def test_ollamas_clients_load_keep_and_unload(daemon, server):
    one = daemon(models=[server, recall()])
    client = ollama.Client(host=one.url, timeout=30)
    # Without a question: only loaded.
    assert client.generate("a", keep_alive="5m").done_reason == "load"
    [child] = servers(one)
    model = next(m for m in client.ps().models if m.name == "a")
    left = model.expires_at.timestamp() - time.time()
    assert 200 < left <= 300
    assert model.size > 5 * MIB and model.context_length > 0
    # Below 0 it stays; the clock says so.
    client.chat("a", HELLO, keep_alive=-1)
    assert next(m for m in client.ps().models if m.name == "a").expires_at.year == 9999
    # 0 unloads it after the answer.
    assert client.chat("a", HELLO, keep_alive=0, options={"temperature": 0}).message.content == ANSWER
    eventually("it is unloaded", lambda: not is_alive(child))
    assert "a" not in running(one) and "igris-recall" in running(one)
    client.generate("a")
    assert client.generate("a", keep_alive=0).done_reason == "unload"
    eventually("it is unloaded again", lambda: not servers(one))


def test_memory_is_counted_and_the_budget_holds(daemon, server):
    """Three models of which two fit."""
    names = ["a", "b", "c"]
    models = [{**server, "name": name} for name in names]
    wide = daemon(models=[models[0]], home="wide")
    ask(wide)
    took = running(wide)["a"]["size"]
    shown = wide.status_model("a")
    assert took > 10 * MIB and shown["memory_bytes"] > 10 * MIB
    assert wide.metrics()['igris_model_memory_bytes{model="a"}'] > 10 * MIB
    need = max(shown["memory_bytes"], shown["memory_estimate_bytes"])
    wide.stop()

    node = {"models_memory": f"{int(need * 2.6)}B"}
    one = daemon(config={"models": models, "node": node}, home="narrow")
    ask(one, "a")
    [first] = servers(one)
    ask(one, "b"), ask(one, "a")
    assert set(running(one)) == {"a", "b"}
    # b was used the longest ago.
    assert ask(one, "c") == ANSWER
    assert set(running(one)) == {"a", "c"}
    assert one.metrics()['igris_model_unloads_total{model="b",reason="evicted"}'] == 1

    # Both stand still in the middle of an answer.
    [last] = [pid for pid in servers(one) if pid != first]
    streams = []
    for name, child in [("a", first), ("c", last)]:
        body = {"model": name, "messages": HELLO, "stream": True, **ENDLESS}
        stream = httpx.Client(timeout=60).stream("POST", f"{one.url}/v1/chat/completions", json=body)
        lines = stream.__enter__().iter_lines()
        next(lines)
        os.kill(child, signal.SIGSTOP)
        # Without its reader the connection would be closed.
        streams.append((stream, lines))
    assert one.running() == 2
    refused = one.post(HELLO, model="b", store=False)
    assert refused.status_code == 503, refused.text
    message = refused.json()["error"]["message"]
    assert "models_memory" in message and "a " in message and "c " in message and "answering" in message
    assert int(refused.headers["retry-after"]) > 0
    for child in servers(one):
        os.kill(child, signal.SIGCONT)
    for stream, _ in streams:
        stream.__exit__(None, None, None)
    eventually("no answer is being written", lambda: one.running() == 0)
    assert ask(one, "b") == ANSWER


def test_a_model_larger_than_the_budget_is_refused_with_what_to_do(daemon, server):
    one = daemon(config={"models": [server], "node": {"models_memory": "10MB"}})
    reply = one.post(HELLO, model="a")
    assert reply.status_code == 503 and "models_memory" in reply.json()["error"]["message"]


def test_ps_shows_memory_and_until_when(daemon, server):
    one = daemon(models=[server])
    ask(one)
    reply = verb(one, "ps", "--json")
    [model] = json.loads(reply.stdout)
    assert model["memory_bytes"] > 10 * MIB and model["expires_at"].endswith("Z")
    assert "MEMORY" in verb(one, "ps").stdout


def verb(one: Daemon, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    reply = subprocess.run(
        [one.binary, "models", *arguments, "--port", str(one.port)], env=one.environment, capture_output=True,
        text=True, timeout=60)
    assert not check or reply.returncode == 0, reply.stderr
    return reply


# Adding and removing


def test_a_file_is_added_served_after_a_restart_and_removed(daemon, server, llama_dir):
    path = {"PATH": f"{llama_dir}:{os.environ['PATH']}"}
    one = daemon(models=[recall()], env=path)
    assert "added mine" in verb(one, "add", server["path"], "--name", "mine").stdout
    assert one.ask(HELLO, model="mine", temperature=0, store=False) == ANSWER
    shown = eventually("its digest is known", lambda: (e := listed(one, "mine")["igris"])["digest"] and e)
    assert shown["source"] == "added" and shown["engine"] == "auto"
    assert "mine" in verb(one, "ls").stdout
    one.restart()
    assert one.ask(HELLO, model="mine", temperature=0, store=False) == ANSWER
    assert "already" in verb(one, "add", server["path"], "--name", "mine", check=False).stderr
    verb(one, "rm", "mine")
    assert one.post(HELLO, model="mine").status_code == 404
    assert not list(one.home.glob("state/**/*.gguf")) and Path(server["path"]).exists()
    assert one.restart().post(HELLO, model="mine").status_code == 404
    refused = verb(one, "rm", "igris-recall", check=False)
    assert refused.returncode != 0 and "configuration" in refused.stderr


def test_without_llama_cpp_the_built_in_engine_runs_what_it_can(daemon, server):
    one = daemon(models=[recall()], env={"PATH": "/usr/bin:/bin"})
    verb(one, "add", server["path"])
    assert one.ask(HELLO, model="igris-recall-q8_0", store=False) == ANSWER


@pytest.mark.parametrize(
    ("content", "word"), [(b"GGUF" + b"\0" * 100, "GGUF"), (b"no model at all, but quite long enough", "GGUF")])
def test_what_is_no_model_is_not_added(daemon, tmp_path, content, word):
    one = daemon()
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    refused = verb(one, "add", str(path), check=False)
    assert refused.returncode != 0 and refused.stderr
    assert str(path) not in one.logs()
    assert verb(one, "add", str(tmp_path / "absent.gguf"), check=False).returncode == 64


def test_part_of_a_split_model_is_refused_with_the_next_step(daemon, server, tmp_path, llama_dir):
    subprocess.run(
        [llama_dir / "llama-gguf-split", "--split", "--split-max-tensors", "20", server["path"], tmp_path / "part"],
        check=True, capture_output=True)
    part = sorted(tmp_path.glob("part-*.gguf"))[0]
    refused = verb(daemon(), "add", str(part), check=False)
    assert refused.returncode != 0 and "--merge" in refused.stderr


def test_models_are_changed_from_the_machine_itself_only(daemon, server):
    one = daemon(args=["--host", "0.0.0.0"], config={"models": [recall()], "auth": {"lan": "open"}})
    address = next(a for a in subprocess.check_output(["hostname", "-I"], text=True).split() if "." in a)
    reply = httpx.post(
        f"http://{address}:{one.port}/v1/admin/models", json={"path": server["path"]}, timeout=10)
    assert reply.status_code == 403


# Digests


def test_a_digest_is_not_made_anew_at_each_start(daemon, server):
    one = daemon(models=[server])
    digest = eventually("the digest", lambda: listed(one, "a")["igris"]["digest"])
    [kept] = one.home.glob("state/**/digests.json")
    assert list(json.loads(kept.read_text()).values()) == [digest]
    # Another one in the cache is believed: nothing was read.
    kept.write_text(kept.read_text().replace(digest, "f" * 64))
    one.restart()
    assert eventually("the digest", lambda: listed(one, "a")["igris"]["digest"]) == "f" * 64


# The end


def test_a_hanging_engine_does_not_hold_up_the_end(daemon, server):
    one = daemon(models=[server])
    ask(one)
    [child] = servers(one)
    body = {"model": "a", "messages": HELLO, "stream": True, **ENDLESS}
    with httpx.stream("POST", f"{one.url}/v1/chat/completions", json=body, timeout=60) as reply:
        next(reply.iter_lines())
        os.kill(child, signal.SIGSTOP)  # it answers nothing, and no signal but the last one
        # The requirement: 10 s, and what a slow machine needs for the rest.
        assert one.stop(within=15) == 0
    assert not is_alive(child)


def test_how_long_a_model_stays_goes_with_the_question_to_the_host_that_has_it(swarm, server):
    pair = swarm(2, start=False, models=[recall()])
    asked, other = pair.hosts
    file = json.loads(other.config.read_text())
    other.config.write_text(json.dumps({**file, "models": [server]}))
    pair.start()
    eventually("the other host's model is known", lambda: any(
        entry["id"] == "a" for entry in asked.fetch("/v1/models").json["data"]), within=20)

    def ask(keep_alive: int) -> str:
        body = {"model": "a", "messages": HELLO, "stream": False, "keep_alive": keep_alive,
                "options": {"temperature": 0}}
        return asked.fetch("/api/chat", "POST", body, timeout=60).json["message"]["content"]

    def loaded() -> list[str]:
        return [model["name"] for model in other.fetch("/api/ps").json["models"]]

    assert ask(-1) == ANSWER
    assert loaded() == ["a"]
    assert ask(0) == ANSWER
    eventually("it is unloaded there", lambda: not loaded())
