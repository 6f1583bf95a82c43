"""How a daemon ends, and what it does when its engine does."""

import contextlib
import json
import signal
import socket
import threading

import httpx
import pytest

from daemon import eventually, kill, recall

REMEMBER = [{"role": "user", "content": "Remember: my name is Alice"}]


def streaming(one):
    """A stream in the background: (its lines so far, its thread), once the first piece has arrived."""
    lines: list[str] = []
    begun = threading.Event()

    def read():
        body = {"model": "phi3", "messages": REMEMBER, "stream": True}
        # How it ends is what the tests look at.
        with contextlib.suppress(httpx.TransportError):
            with httpx.stream("POST", f"{one.url}/v1/chat/completions", json=body, timeout=60) as reply:
                for line in reply.iter_lines():
                    lines.append(line)
                    if len(lines) > 4:
                        begun.set()
        begun.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(30)
    return lines, thread


def test_sigterm_ends_an_idle_daemon_with_0(daemon):
    one = daemon()
    one.ask("Hello")
    assert one.stop(within=10) == 0
    [stopping, *rest] = one.logs()[one.logs().index('"stopping;'):].splitlines()
    assert rest and [line for line in rest if json.loads(line)["level"] not in ("info", "notice")] == []


def test_sigint_ends_it_as_well(daemon):
    one = daemon()
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(10) == 0


def test_at_sigterm_readyz_says_no_and_running_streams_finish(daemon):
    one = daemon(models=[recall(pace=15)])
    # Open beforehand: a draining daemon need not take new connections.
    with httpx.Client(base_url=one.url, timeout=10) as watcher:
        assert watcher.get("/readyz").status_code == 200
        lines, thread = streaming(one)
        one.terminate()
        ready = eventually("503 from /readyz", lambda: (r := watcher.get("/readyz")).status_code == 503 and r, within=3)
        assert ready.json()["reasons"]
        assert thread.is_alive(), "the stream ended too early to prove anything"
    thread.join(30)
    assert [line for line in lines if line][-1] == "data: [DONE]"
    assert '"finish_reason":"stop"' in "".join(lines)
    assert one.process.wait(15) == 0


def test_a_second_sigterm_ends_it_at_once_and_loses_nothing(daemon):
    one = daemon(models=[recall(pace=2), {**recall(), "name": "fast", "aliases": []}])
    one.ask("Remember: my name is Alice", model="fast", conversation="c")
    lines, thread = streaming(one)
    one.terminate()
    eventually("the first signal is seen", lambda: refuses(one) or one.get("/readyz").status_code == 503)
    assert one.process.poll() is None
    one.terminate()
    one.process.wait(2)
    thread.join(10)
    assert "data: [DONE]" not in lines
    one.start()
    assert one.ask("What is my name?", model="fast", conversation="c") == "Your name is Alice"


def refuses(one) -> bool:
    try:
        socket.create_connection(("127.0.0.1", one.port), timeout=2).close()
    except OSError:
        return True
    return False


def test_a_killed_engine_is_started_again_for_the_next_request(daemon):
    one = daemon()
    one.ask("Remember: my name is Alice")
    [engine] = one.children()
    kill(engine)
    assert one.ask("What is my name?") == "Your name is Alice"
    assert one.children() != [engine]


def test_an_engine_killed_in_mid_stream_is_an_error_in_the_stream_where_answers_do_not_go_on(daemon):
    one = daemon(models=[recall(pace=10)], config={"routing": {"failover": False}})
    lines, thread = streaming(one)
    for child in one.children():
        kill(child)
    thread.join(15)
    assert not thread.is_alive()
    assert any('"error"' in line for line in lines), lines[-3:]
    eventually("the next answer", lambda: one.post("Hello", store=False, max_tokens=2).status_code == 200)


def test_an_engine_that_keeps_crashing_is_quarantined_with_its_reason(daemon):
    crash = {"name": "crash", "engine": "stdio", "protocol": "jsonl", "command": ["/bin/sh", "-c", "exit 7"]}
    one = daemon(models=[recall(), crash])
    model = eventually(
        "quarantine", lambda: (m := one.status_model("crash"))["state"] == "quarantined" and m, within=20)
    assert "7" in str(model)
    reply = one.post("Hello", model="crash")
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) > 0
    assert one.post("Hello", store=False).status_code == 200
    listed = next(entry for entry in one.get("/v1/models").json()["data"] if entry["id"] == "crash")
    assert "quarantined" in str(listed)


@pytest.mark.parametrize("command", [["/nowhere/engine"], ["surely-no-such-program"]])
def test_a_missing_engine_program_is_said_and_hurts_nobody_else(daemon, command):
    broken = {"name": "broken", "engine": "stdio", "protocol": "jsonl", "command": command}
    one = daemon(models=[recall(), broken])
    assert one.ask("Remember: my name is Alice", store=False)
    reply = one.post("Hello", model="broken")
    assert reply.status_code == 503
    assert reply.json()["error"]["message"]
