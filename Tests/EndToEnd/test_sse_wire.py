"""Server-sent events byte by byte: what clients' decoders depend on."""

import json
import re
import sys

import pytest

from daemon import recall, scripted_engine
from wire import Connection


def stream(one, timeout: float = 30, **fields):
    """Head and chunks of a streamed answer."""
    body = json.dumps({
        "model": "phi3", "stream": True, "store": False,
        "messages": [{"role": "user", "content": "Remember: my name is Alice"}], **fields,
    }).encode()
    connection = Connection(one.port, timeout)
    connection.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return connection, connection.head()


def whole(one, **fields) -> tuple[dict, bytes]:
    connection, head = stream(one, **fields)
    with connection:
        assert head.status == 200
        return head.headers, b"".join(connection.chunks())


def test_the_headers_keep_proxies_from_buffering(daemon):
    headers, _ = whole(daemon())
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-request-id"]
    assert "content-length" not in headers


def test_only_data_lines_and_the_end_mark_are_sent(daemon):
    _, body = whole(daemon())
    text = body.decode()
    assert re.fullmatch(r"(?:data: \{[^\n]*\}\n\n|:[^\n]*\n\n)+data: \[DONE\]\n\n", text), text


def test_the_chunks_come_in_the_order_and_shape_that_clients_expect(daemon):
    _, body = whole(daemon(), stream_options={"include_usage": True})
    events = [line[6:] for line in body.decode().split("\n\n") if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert chunks[0]["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    for chunk in chunks:
        assert list(chunk)[:4] == ["id", "object", "created", "model"]
        assert (chunk["id"], chunk["created"]) == (chunks[0]["id"], chunks[0]["created"])
    for chunk in chunks[1:-2]:
        [choice] = chunk["choices"]
        assert set(choice["delta"]) == {"content"} and choice["delta"]["content"]
        assert choice["finish_reason"] is None
        assert chunk["usage"] is None
    assert chunks[-2]["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] > 0


def test_text_of_any_script_arrives_whole(daemon, tmp_path):
    said = 'Zażółć "gęślą" \\ jaźń\n\t日本語 🏔️\u2028\x7f'
    model = scripted_engine("phi3", "echo.py")
    (tmp_path / "said").write_text(said, newline="")
    model["command"] += ["--answer-file", str(tmp_path / "said")]
    _, body = whole(daemon(models=[model]))
    events = [line[6:] for line in body.decode().split("\n\n") if line.startswith("data: {")]
    assert "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events) == said


def test_pieces_arrive_as_they_are_written(daemon):
    one = daemon(models=[recall(pace=20)])
    connection, head = stream(one)
    with connection:
        pieces = list(connection.chunks())
    # 39 tokens in two seconds: not one lump at the end.
    assert len(pieces) > 20


def test_a_silent_engine_does_not_mean_a_silent_stream(daemon, tmp_path):
    script = tmp_path / "pause.py"
    script.write_text(PAUSING)
    model = {"name": "phi3", "engine": "stdio", "protocol": "jsonl", "command": [sys.executable, str(script)]}
    connection, head = stream(daemon(models=[model]), timeout=25)
    with connection:
        assert head.status == 200
        assert any(chunk.startswith(b":") for chunk in connection.chunks()), "no comment within the pause"


# Writes one piece, then nothing until it is cancelled.
PAUSING = """
import json, sys
def emit(**event): print(json.dumps(event), flush=True)
emit(event="ready", protocol=1, context=1000, tokens={"per_byte": 1, "per_message": 0, "fixed": 0})
for line in sys.stdin:
    request = json.loads(line)
    if request["op"] == "generate":
        emit(event="text", id=request["id"], text="wait")
    else:
        emit(event="done", id=request["id"], reason="cancelled")
"""


@pytest.mark.parametrize("fields", [{"max_tokens": 1}, {"stop": "I"}])
def test_even_the_shortest_stream_is_complete(daemon, fields):
    _, body = whole(daemon(), **fields)
    assert body.startswith(b"data: {") and body.endswith(b"data: [DONE]\n\n")
    assert b'"finish_reason":"' in body
