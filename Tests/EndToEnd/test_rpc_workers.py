"""A model that two hosts compute together, with llama.cpp's real programs and our own small model: B lends its worker, A
answers with it, C is a further member."""

import json
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path

import openai
import pytest

from daemon import children_of, eventually, free_port, is_alive, recall, samples
from lab import lab
from swarm import OTHER_KEY, Host, Swarm, wait_for

REMEMBER = [
    {"role": "user", "content": "Remember: my name is Alice"},
    {"role": "assistant", "content": "I will remember that your name is Alice"},
    {"role": "user", "content": "What is my name?"},
]
# Written on and on: the tokens that end a turn are forbidden.
ENDLESS = {"temperature": 1.9, "max_tokens": 1900, "logit_bias": {"260": -100, "256": -100}}
SMALL = recall(name="small", aliases=["phi3"])
# A lost worker ends the answer in less.
SECONDS = 10.0


def model(root: Path, llama_dir: Path, **more) -> dict:
    return {
        "name": "big", "engine": "llama-server", "command": [str(llama_dir / "llama-server")], "slots": 1, "load": "start",
        "path": str(root / "Models/igris-recall/igris-recall-q8_0.gguf"), **more,
    }


def lending(llama_dir: Path) -> dict:
    return {"rpc_worker": {"enabled": True, "command": [str(llama_dir / "ggml-rpc-server")], "threads": 1}}


def settings(host: Host, **keys) -> None:
    """Changes keys of a host's configuration."""
    host.config.write_text(json.dumps({**json.loads(host.config.read_text()), **keys}))


@pytest.fixture
def pair(swarm, root, llama_dir):
    """pair(fallback="small", workers=1): A whose model wants B's worker, and B."""

    def make(workers=("B",), start=True, lend=None, **fields) -> Swarm:
        # Else the answer would go on once the worker is back: here its loss is looked at.
        two = swarm(2, models=[SMALL], start=False, config={"routing": {"failover": False}})
        a, b = two.hosts
        workers = workers if isinstance(workers, int) else list(workers)
        settings(a, models=[model(root, llama_dir, workers=workers, **fields), SMALL])
        settings(b, **(lend or lending(llama_dir)))
        return two.start() if start else two

    return make


def state(host: Host, name: str = "big") -> dict:
    return next(each for each in host.fetch("/v1/status").json["models"] if each["name"] == name)


def until_ready(host: Host, within: float = 60) -> dict:
    wait_for(lambda: f"big is ready: {state(host)}\n{host.logs()[-3000:]}", lambda: state(host)["state"] == "ready", within)
    return state(host)


def complete(host: Host, messages=REMEMBER, **fields):
    options = {"model": "big", "temperature": 0, "max_tokens": 64, "extra_body": {"store": False}, **fields}
    return host.client().chat.completions.create(messages=messages, **options)


def child(host: Host, program: str) -> int | None:
    return next(
        (pid for pid in children_of(host.pid) if program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()), None)


def begin_endless(host: Host):
    """An answer that is being written, and a function that returns how it ended."""
    stream = complete(host, stream=True, **ENDLESS)
    next(iter(stream))
    ended: list = []

    def read():
        try:
            for _ in stream:
                pass
            ended.append(None)
        except Exception as error:  # noqa: BLE001
            ended.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()

    def end(within: float = SECONDS):
        thread.join(within)
        assert not thread.is_alive(), "the answer hangs"
        return ended[0]

    return end


def tunnelled(host: Host) -> float:
    text = host.fetch("/metrics").text
    return sum(value for name, value in samples(text) if name.startswith("igris_tunnel_bytes_total"))


def listeners(pid: int) -> set[str]:
    """Addresses on which a process listens."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(descriptor)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            found.add(socket.inet_ntoa(bytes.fromhex(fields[1].split(":")[0])[::-1]))
    return found


def test_the_same_answer_as_without_and_the_worker_computes_it(pair, daemon, root, llama_dir):
    alone = daemon(models=[model(root, llama_dir)])
    a, b = pair().hosts
    shown = until_ready(a)
    assert shown["workers"] == ["B"]
    listed = next(each for each in a.fetch("/v1/models").json["data"] if each["id"] == "big")
    assert listed["igris"]["workers"] == ["B"]
    for messages in (REMEMBER[:1], REMEMBER):
        ours, theirs = complete(a, messages), complete(alone, messages)
        assert ours.choices[0].message.content == theirs.choices[0].message.content
        assert ours.usage.completion_tokens == theirs.usage.completion_tokens
    assert ours.system_fingerprint.endswith("with workers on B")
    before = tunnelled(a)
    complete(a)
    assert tunnelled(a) > before + 10_000, "an answer's tensors go through the tunnel"
    assert b.count("igris_workers") == a.count("igris_workers") == 1
    # Nothing of it listens on the network.
    assert listeners(child(b, "ggml-rpc-server")) == {"127.0.0.1"}
    assert listeners(child(a, "llama-server")) == set()
    assert listeners(a.pid) == listeners(b.pid) == {"127.0.0.1"}


def test_a_killed_worker_ends_the_answer_with_a_reason_and_the_model_comes_back(pair):
    a, b = pair().hosts
    until_ready(a)
    end = begin_endless(a)
    os.kill(child(b, "ggml-rpc-server"), signal.SIGKILL)
    error = end()
    assert isinstance(error, openai.APIError), error
    assert "B" in str(error) and "worker" in str(error), error
    until_ready(a)
    assert complete(a).choices[0].message.content == "Your name is Alice"


def test_a_stopped_worker_ends_the_answer_too(pair):
    a, b = pair().hosts
    until_ready(a)
    end = begin_endless(a)
    os.kill(child(b, "ggml-rpc-server"), signal.SIGSTOP)
    error = end()
    assert isinstance(error, openai.APIError) and "stopped" in str(error), error
    until_ready(a)


def test_a_killed_host_ends_the_answer_the_fallback_answers_and_the_model_comes_back(pair):
    a, b = pair(fallback="small").hosts
    until_ready(a)
    first = child(b, "ggml-rpc-server")
    end = begin_endless(a)
    b.kill9()
    assert isinstance(end(), openai.APIError)
    eventually("the worker has ended with its daemon", lambda: not is_alive(first), within=5)
    begin = time.monotonic()
    reply = complete(a)
    assert time.monotonic() - begin < SECONDS
    assert reply.choices[0].message.content == "Your name is Alice"
    assert reply.model == "big" and "workers" not in reply.system_fingerprint
    assert "igris-recall" in reply.system_fingerprint
    raw = a.client().chat.completions.with_raw_response.create(
        model="big", messages=REMEMBER, max_tokens=1, extra_body={"store": False})
    assert raw.headers["x-igris-route-reason"].startswith("fallback for big: ")
    wait_for(lambda: f"the lack is told: {state(a)}", lambda: "B" in state(a).get("reason", ""), SECONDS)
    b.start()
    until_ready(a)
    assert complete(a).system_fingerprint.endswith("with workers on B")


def test_without_a_fallback_a_lost_worker_is_a_503_that_names_it(pair):
    a, b = pair(start=False).hosts
    a.start(until="/livez")
    with pytest.raises(openai.APIStatusError) as caught:
        complete(a)
    assert caught.value.status_code == 503
    assert "B" in caught.value.message, caught.value.message
    assert state(a)["state"] in ("restarting", "quarantined")
    b.start()
    until_ready(a)


def test_a_frozen_host_ends_the_answer_and_frees_its_borrower(pair):
    a, b = pair().hosts
    until_ready(a)
    end = begin_endless(a)
    # Its worker, too: nothing on that machine runs.
    os.kill(worker := child(b, "ggml-rpc-server"), signal.SIGSTOP)
    b.freeze()
    error = end()
    assert isinstance(error, openai.APIError) and "not been heard of" in str(error), error
    os.kill(worker, signal.SIGCONT)
    b.thaw()
    until_ready(a)
    assert complete(a).choices[0].message.content == "Your name is Alice"


def test_a_frozen_borrower_gives_the_worker_back(pair):
    a, b = pair().hosts
    until_ready(a)
    worker = child(b, "ggml-rpc-server")
    a.freeze()
    eventually("the worker ends", lambda: not is_alive(worker), within=SECONDS)
    assert b.count("igris_workers") == 0
    a.thaw()
    until_ready(a)


def test_another_build_is_refused_and_both_are_named(pair, llama_dir, tmp_path):
    for name, body in {
        "ggml-rpc-server": f'exec {llama_dir}/ggml-rpc-server "$@"',
        "llama-server": f'[ "$1" = --version ] && echo "version: 0.1 (build 4711, commit other)" >&2 && exit\n'
        f'exec {llama_dir}/llama-server "$@"',
    }.items():
        script = tmp_path / "other" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    a, b = pair(lend=lending(tmp_path / "other"), fallback="small").hosts
    wait_for(lambda: f"a refusal: {state(a)}", lambda: "b4711-other" in state(a).get("reason", ""), 30)
    reason = state(a)["reason"]
    assert "host B" in reason and reason.count("build") >= 3, reason
    assert child(b, "ggml-rpc-server") is None
    assert "b4711-other" in b.logs()


def test_a_host_lends_nothing_unless_it_was_told_to(pair):
    a, b = pair(lend={"rpc_worker": {"enabled": False}}).hosts
    wait_for(lambda: f"a refusal: {state(a)}", lambda: "rpc_worker.enabled" in state(a).get("reason", ""), 30)
    assert child(b, "ggml-rpc-server") is None


def test_a_number_takes_whoever_lends_and_an_evicted_host_loses_the_worker(swarm, root, llama_dir):
    three = swarm(3, models=[SMALL], start=False)
    a, b, c = three.hosts
    settings(a, models=[model(root, llama_dir, workers=1), SMALL])
    settings(c, **lending(llama_dir))
    three.start()
    assert until_ready(a)["workers"] == ["C"]
    worker = child(c, "ggml-rpc-server")
    b.command("swarm", "evict", a.id)
    eventually("the worker ends", lambda: not is_alive(worker), within=SECONDS)
    wait_for(lambda: f"no workers: {state(a)}", lambda: state(a)["state"] != "ready", SECONDS)


def test_a_foreign_host_and_another_user_of_the_machine_reach_no_worker(pair, swarm, llama_dir, root):
    two = pair()
    a, b = two.hosts
    until_ready(a)
    worker = child(b, "ggml-rpc-server")
    stranger = Host(a.binary, a.home.parent / "stranger", {}, [], {"MCP_ENCRYPTION_KEY": OTHER_KEY})
    two.hosts.append(stranger)
    two.configure(stranger)
    settings(stranger, models=[model(root, llama_dir, workers=["B"]), SMALL])
    stranger.start(until="/livez")
    wait_for(lambda: f"no worker: {state(stranger)}", lambda: "B" in state(stranger).get("reason", ""), 30)
    assert child(b, "ggml-rpc-server") == worker and state(a)["state"] == "ready"
    two.hosts.remove(stranger)
    stranger.close()
    # The tunnel's end on A: a connection of anybody else is closed without a byte.
    arguments = Path(f"/proc/{child(a, 'llama-server')}/cmdline").read_bytes().split(b"\0")
    port = int(arguments[arguments.index(b"--rpc") + 1].rpartition(b":")[2])
    assert greeted_as(os.getuid(), port), "our own user is let in"
    assert not greeted_as(65534, port), "nobody is"


def greeted_as(user: int, port: int) -> bool:
    """Whether a process of that user gets an answer to llama.cpp's HELLO within 5 s."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        verdict = b"0"
        try:
            os.setgid(user) if user else None
            os.setuid(user)
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                # RPC_CMD_HELLO with an empty body is refused by the program itself: the connection ends either way;
                # who is let in is not closed before it has sent something.
                connection.settimeout(1.5)
                try:
                    verdict = b"0" if connection.recv(1) == b"" else b"1"
                except TimeoutError:
                    verdict = b"1"
        except OSError:
            pass
        os.write(writer, verdict)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        verdict = pipe.read()
    os.wait()
    return verdict == b"1"


def test_lab_two_hosts_with_networks_of_their_own_and_a_cable_that_is_pulled(binary, tmp_path, root, llama_dir):
    with lab(binary, tmp_path / "lab", 2, start=False) as two:
        a, b = two.hosts
        settings(a, models=[model(root, llama_dir, workers=[b.home.name], fallback="small"), SMALL])
        settings(b, models=[SMALL], **lending(llama_dir))
        two.start()
        until_ready(a)

        def ask() -> dict:
            reply = a.fetch(
                "/v1/chat/completions", "POST",
                {"model": "big", "messages": REMEMBER, "temperature": 0, "max_tokens": 64, "store": False})
            assert reply.status == 200, reply.text
            return reply.json

        first = ask()
        assert first["choices"][0]["message"]["content"] == "Your name is Alice"
        assert first["system_fingerprint"].endswith(f"with workers on {b.home.name}")
        endless: list = []
        body = {"model": "big", "messages": REMEMBER, "store": False, "stream": True, **ENDLESS}
        writing = threading.Thread(
            target=lambda: endless.append(a.fetch("/v1/chat/completions", "POST", body, timeout=60)), daemon=True)
        writing.start()
        eventually("an answer is being written", lambda: state(a)["running"] == 1)
        two("link", "2", "down")
        writing.join(SECONDS)
        assert not writing.is_alive(), "the answer hangs"
        assert '"error"' in endless[0].text, endless[0].text[-500:]
        assert ask()["system_fingerprint"].find("workers") < 0
        two("link", "2", "up")
        two.together(within=30)
        until_ready(a)
        assert ask()["system_fingerprint"].endswith(f"with workers on {b.home.name}")
