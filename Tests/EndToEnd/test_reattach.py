"""The host that a client is connected with dies in mid-answer: the answer goes on, and any other host gives the rest."""

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from daemon import eventually, recall
from swarm import Host, Swarm

QUESTION = "Remember: my name is Alice"
ANSWER = "I will remember that your name is Alice"
WRITER = recall(pace=60)

ASKED = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 100}),
    "responses": ("/v1/responses", {"input": QUESTION}),
    "anthropic": ("/v1/messages", {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 100}),
}


@pytest.fixture
def three(swarm) -> Swarm:
    return swarm(3, models=[WRITER])


def frames(lines: Iterator[str]) -> Iterator[tuple[str | None, dict]]:
    """The events of a stream: the id of each, and what it says."""
    number = None
    for line in lines:
        if line.startswith("id: "):
            number = line[4:]
        elif line.startswith("data: ") and line != "data: [DONE]":
            yield number, json.loads(line[6:])
            number = None


def piece(event: dict) -> str:
    """What of the answer's text an event brings, whatever its dialect."""
    assert "error" not in event, event
    if "choices" in event:
        return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
    return {
        "response.output_text.delta": lambda: event["delta"],
        "content_block_delta": lambda: event["delta"].get("text", ""),
    }.get(event.get("type"), str)()


def begun(host: Host, dialect: str, conversation: str, pieces: int, **headers: str) -> tuple[str, str, list[dict]]:
    """Asks, and lets go of the host's connection behind so many characters: what came, the answer's id, all events."""
    path, body = ASKED[dialect]
    text, events = "", []
    sent = {"X-Conversation-Id": conversation, "Content-Type": "application/json", **headers}
    with httpx.stream(
        "POST", host.url + path, json={"model": "igris-recall", "stream": True, "temperature": 0, **body},
        headers=sent, timeout=60,
    ) as reply:
        assert reply.status_code == 200, reply.read()
        stream = reply.headers["x-igris-stream"]
        for _, event in frames(reply.iter_lines()):
            events.append(event)
            text += piece(event)
            if len(text) >= pieces:
                host.kill9()
                return text, stream, events
    raise AssertionError(f"the answer ended before it could be cut: {text!r}")


def rest(host: Host, stream: str, known: int | None) -> tuple[str, list[dict], list[str | None]]:
    headers = {} if known is None else {"Last-Event-ID": str(known)}
    with httpx.stream("GET", f"{host.url}/v1/streams/{stream}", headers=headers, timeout=60) as reply:
        assert reply.status_code == 200, reply.read()
        found = list(frames(reply.iter_lines()))
    return "".join(piece(event) for _, event in found), [event for _, event in found], [number for number, _ in found]


def test_any_other_host_gives_the_rest_of_an_answer(three):
    a, *others = three.hosts
    text, stream, events = begun(a, "chat", "cut", 9)
    for host in others:
        more, told, numbers = rest(host, stream, len(text))
        assert text + more == ANSWER
        assert {event["id"] for event in told} == {events[0]["id"]} == {stream}
        assert {event["created"] for event in told} == {events[0]["created"]}
        assert told[-2]["choices"][0]["finish_reason"] == "stop", told[-3:]
        assert told[-1]["usage"]["completion_tokens"] > 0
        # Numbered by what there is of the answer, so that the next one, too, can be asked for the rest.
        assert int(next(number for number in reversed(numbers) if number)) == len(ANSWER)
    whole, _, _ = rest(others[0], stream, None)
    assert whole == ANSWER
    for host in others:
        assert host.texts("cut") == [QUESTION, ANSWER]
    assert sum(host.metrics()["igris_answers_taken_up_total"] for host in others) == 1


@pytest.mark.parametrize("dialect", ["responses", "anthropic"])
def test_in_the_dialect_of_the_answer_s_id(three, dialect):
    a, *others = three.hosts
    text, stream, events = begun(a, dialect, "dialects", 9)
    first = events[0]
    own = first["response"]["id"] if dialect == "responses" else first["message"]["id"]
    more, told, _ = rest(others[1], own, None if dialect == "responses" else len(text))
    assert more == ANSWER if dialect == "responses" else text + more == ANSWER
    assert told[-1]["type"] == {"responses": "response.completed", "anthropic": "message_stop"}[dialect]
    if dialect == "responses":
        assert others[0].fetch(f"/v1/responses/{own}").json["status"] == "completed"


def test_an_answer_that_nobody_comes_back_for_is_completed_and_kept(three):
    a, *others = three.hosts
    begun(a, "chat", "left", 9)
    for host in others:
        eventually("the whole answer is kept", lambda: host.texts("left") == [QUESTION, ANSWER], within=20)
    # The one that died hears of it.
    a.start()
    eventually("the old host has it too", lambda: a.texts("left") == [QUESTION, ANSWER], within=20)


@pytest.mark.parametrize("streams", [True, False])
def test_the_same_request_with_its_key_gets_the_same_answer_elsewhere(three, streams):
    a, b, c = three.hosts
    text, stream, events = begun(a, "chat", "again", 9, **{"Idempotency-Key": "k1"})
    path, body = ASKED["chat"]
    headers = {"X-Conversation-Id": "again", "Idempotency-Key": "k1"}
    fields = {"model": "igris-recall", "stream": streams, "temperature": 0, **body}
    if streams:
        with httpx.stream("POST", b.url + path, json=fields, headers=headers, timeout=60) as reply:
            assert reply.status_code == 200, reply.read()
            told = [event for _, event in frames(reply.iter_lines())]
        whole, identity, created = "".join(map(piece, told)), told[0]["id"], told[0]["created"]
    else:
        reply = httpx.post(b.url + path, json=fields, headers=headers, timeout=60).json()
        whole, identity, created = reply["choices"][0]["message"]["content"], reply["id"], reply["created"]
    assert (whole, identity, created) == (ANSWER, stream, events[0]["created"])
    assert c.texts("again") == [QUESTION, ANSWER]


def test_a_client_that_comes_at_once_waits_until_the_answer_is_taken_up(three):
    a, b, c = three.hosts
    text, stream, _ = begun(a, "chat", "at-once", 5)
    more, _, _ = rest(c, stream, len(text))
    assert text + more == ANSWER


def test_the_host_that_took_it_up_dies_too(three):
    a, *others = three.hosts
    text, stream, _ = begun(a, "chat", "twice", 5)

    def heir() -> Host | None:
        return next((host for host in others if host.metrics().get("igris_answers_taken_up_total")), None)

    second = eventually("one of the others goes on", heir, within=20)
    last = next(host for host in others if host is not second)
    headers = {"Last-Event-ID": str(len(text))}
    with httpx.stream("GET", f"{last.url}/v1/streams/{stream}", headers=headers, timeout=60) as reply:
        assert reply.status_code == 200, reply.read()
        for _, event in frames(reply.iter_lines()):
            text += piece(event)
            if len(text) >= 15 and second.process.poll() is None:
                second.kill9()
    assert text == ANSWER
    assert last.texts("twice") == [QUESTION, ANSWER]


def test_an_answer_is_read_along_on_another_host_while_its_own_lives(three):
    a, b, c = three.hosts
    path, body = ASKED["chat"]
    with httpx.stream(
        "POST", a.url + path, json={"model": "igris-recall", "stream": True, **body},
        headers={"X-Conversation-Id": "along"}, timeout=60,
    ) as reply:
        stream = reply.headers["x-igris-stream"]
        # The question must be known there.
        eventually("B has the question", lambda: b.texts("along")[:1] == [QUESTION], within=5)
        assert rest(b, stream, None)[0] == ANSWER
        own = "".join(piece(event) for _, event in frames(reply.iter_lines()))
    assert own == ANSWER


def test_what_cannot_be_given_is_refused_by_name(three):
    a = three.hosts[0]
    for path in ("/v1/streams/chatcmpl-nothing", "/v1/streams/x", "/v1/streams/resp_" + "0" * 40):
        assert a.fetch(path).status == 404, path
    answered = httpx.post(
        a.url + ASKED["chat"][0], json={"model": "igris-recall", **ASKED["chat"][1]}, timeout=60)
    refused = httpx.get(
        f"{a.url}/v1/streams/{answered.headers['x-igris-stream']}", headers={"Last-Event-ID": "many"})
    assert refused.status_code == 400 and "Last-Event-ID" in refused.json()["error"]["message"]
