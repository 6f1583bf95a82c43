"""interruption.py: the back end that writes is killed in mid-stream; how many answers complete exactly?

Two back ends write the same answer, one token after another, and each gateway stands in front of them. When a client has
read 15 tokens, the back end that writes is killed with SIGKILL. The answer is complete when its client has, in one stream,
exactly the text that an undisturbed back end gives, and its end. The back ends are this program with its built-in model;
in front of the others they are two servers that know nothing of each other, in front of ours the two hosts of its swarm.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

import httpx  # noqa: E402
from daemon import ECHO, recall  # noqa: E402
from gateways import Gateways, NotServed  # noqa: E402
from swarm import Host, Swarm, wait_for  # noqa: E402

MODEL = "igris-recall"
WRITER = recall(pace=60)
QUESTION = {"role": "user", "content": "Remember: my name is Alexandrina Montgomery the elder"}
REQUEST = {"model": MODEL, "messages": [QUESTION], "temperature": 0, "stream": True}
TOKEN = 15
# For gateways that ask once before they are called ready: a short answer.
SHORT = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1})


def pieces(port: int, headers: dict[str, str]):
    """The texts of a stream as they come; the last is None where the stream ended as it should."""
    with httpx.stream(
        "POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=REQUEST, timeout=30,
        headers={"Authorization": "Bearer sk-none", **headers},
    ) as reply:
        assert reply.status_code == 200, reply.read()[:300]
        reason = None
        for line in reply.iter_lines():
            if line == "data: [DONE]":
                if reason:
                    yield None
                return
            if not line.startswith("data: "):
                continue
            for choice in json.loads(line[6:]).get("choices", []):
                reason = choice.get("finish_reason") or reason
                if text := choice["delta"].get("content"):
                    yield text


def writing(hosts: list[Host]) -> Host | None:
    for host in hosts:
        if host.process.poll() is None and any(model["running"] for model in host.fetch("/v1/status").json["models"]):
            return host
    return None


def is_interrupted(port: int, backs: list[Host], number: int) -> tuple[str, bool, Host]:
    """One answer whose writer is killed: its text, whether it had an end, and who was killed."""
    text, count, ended, victim = "", 0, False, None
    try:
        for piece in pieces(port, {"X-Conversation-Id": f"kill-{number}"}):
            if piece is None:
                ended = True
                continue
            text += piece
            count += 1
            if count >= TOKEN and victim is None:
                victim = wait_for(lambda: "somebody writes", lambda: writing(backs), within=5)
                victim.kill9()
    except (httpx.TransportError, json.JSONDecodeError):
        ended = False
    assert victim, f"nobody was killed: {text!r}"
    return text, ended, victim


def is_whole(port: int) -> bool:
    try:
        return list(pieces(port, {}))[-1:] == [None]
    except (httpx.HTTPError, AssertionError):
        return False


def measure(gateways: Gateways, name: str, binary: Path, trials: int) -> tuple[int, int]:
    """How many answers completed exactly, of how many. NotServed where it did not work undisturbed."""
    folder = Path(tempfile.mkdtemp(dir=gateways.folder))
    shares = name == "igris-runtime"
    swarm = Swarm(binary, folder, 3 if shares else 2, models=[WRITER])
    try:
        front = None
        if shares:
            front, *backs = swarm.hosts
            edit(front, models=[ECHO])
            swarm.start()
        else:
            backs = swarm.hosts
            for back in backs:
                edit(back, mcp={"enabled": False})
                back.start()
        port = front.port if front else gateways.place(name, [back.port for back in backs], None, SHORT)
        ready(port, front)
        expected = "".join(piece for piece in pieces(backs[0].port, {}) if piece)
        exact = 0
        for number in range(trials):
            text, ended, victim = is_interrupted(port, backs, number)
            exact += ended and text == expected
            victim.start()
            ready(port, front)
        return exact, trials
    finally:
        swarm.close()


def edit(host: Host, **fields: object) -> None:
    config = json.loads(host.config.read_text())
    host.config.write_text(json.dumps({**config, **fields}))


def ready(port: int, front: Host | None) -> None:
    """Both back ends are known to be there again: whoever asks next is answered, twice in a row."""
    if front:
        def hosts() -> int:
            rows = front.fetch("/v1/models").json["data"]
            entry = next((row for row in rows if row["id"] == MODEL), {})
            return sum(host["state"] == "ready" for host in entry.get("igris", {}).get("hosts", []))

        wait_for(lambda: f"two back ends, not {hosts()}", lambda: hosts() == 2, within=30)
    try:
        wait_for(lambda: "it answers", lambda: is_whole(port) and is_whole(port), within=60)
    except AssertionError:
        raise NotServed("does not answer through its back ends") from None
    time.sleep(0.2)
