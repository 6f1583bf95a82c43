"""Bad input, in every dialect: the dialect's own error object with the field's name, and never a 5xx."""

import gzip
import json

import httpx
import pytest

from daemon import ECHO, Daemon, recall
from wire import exchange

USER = [{"role": "user", "content": "hi"}]
# What makes a whole request of each path, and the field of its text.
PATHS = {
    "/v1/chat/completions": ({"model": "phi3", "messages": USER}, "messages"),
    "/v1/responses": ({"model": "phi3", "input": "hi"}, "input"),
    "/v1/responses/input_tokens": ({"model": "phi3", "input": "hi"}, "input"),
    "/v1/responses/compact": ({"model": "phi3", "input": "hi"}, "input"),
    "/v1/completions": ({"model": "phi3", "prompt": "hi"}, "prompt"),
    "/v1/embeddings": ({"model": "phi3", "input": "hi"}, "input"),
    "/v1/messages": ({"model": "phi3", "max_tokens": 9, "messages": USER}, "messages"),
    "/v1/messages/count_tokens": ({"model": "phi3", "messages": USER}, "messages"),
    "/api/chat": ({"model": "phi3", "messages": USER, "stream": False}, "messages"),
    "/api/generate": ({"model": "phi3", "prompt": "hi", "stream": False}, "prompt"),
    "/api/embed": ({"model": "phi3", "input": "hi"}, "input"),
}
SAMPLING = {"temperature": ["hot", 1e300, -1, [], True], "top_p": ["x", 2, {}]}
# Of each path: values of a field that it cannot take.
WRONG = {
    "/v1/chat/completions": {
        **SAMPLING, "messages": ["hi", [], [1], {}], "model": [1, "", {}, "x" * 600], "max_tokens": [0, -1, 1.5, "9"],
        "n": [0, 10**30, "2"], "stop": [1, [""], ["x"] * 17], "stream": ["yes", 1], "seed": ["x", 1.5, 10**40],
        "tools": [{}, [1], [{"type": "function"}]], "tool_choice": ["any", 1, "required"],
        "response_format": ["json", {"type": "xml"}], "logit_bias": [[], {"x": 1}, {"1": 1000}, {"2147483648": 1}],
        "top_logprobs": [3, 99], "metadata": [{"a": 1}, "x"], "stream_options": [1], "logprobs": ["x"],
        "modalities": [["audio"]], "functions": [[{"name": "f"}]], "conversation": ["", 1, {"id": "\u00e9"}],
    },
    "/v1/responses": {
        **SAMPLING, "input": [1, "", [1], [{}], {}], "model": [1, ""], "max_output_tokens": [0, 10**30],
        "tools": [{}, [1]], "stream": ["yes"], "store": ["no"], "background": [1], "instructions": [1],
        "previous_response_id": [1], "truncation": ["some"], "text": [1, {"format": {"type": "xml"}}],
        "metadata": [{"a": 1}], "top_logprobs": [99], "tool_choice": ["required"], "prompt": [{"id": "x"}],
    },
    "/v1/responses/compact": {"input": [1, [1], [{}]], "model": [1], "previous_response_id": [1]},
    "/v1/completions": {
        **SAMPLING, "prompt": [1, [], ["a", "b"]], "echo": [True], "suffix": ["x"], "best_of": [9], "n": [0],
        "max_tokens": [0, 10**30],
    },
    "/v1/embeddings": {"input": [1, "", [], ["a", ""], [[1]]], "encoding_format": ["hex"], "dimensions": [0]},
    "/v1/messages": {
        "temperature": ["hot", 1.5, 1e300], "top_k": ["x", -1], "max_tokens": [0, "9", 1e300], "model": [1],
        "messages": ["hi", [], [1], [{"role": "robot", "content": "x"}]], "system": [1, [{"type": "image"}]],
        "stop_sequences": ["x", [""], [1]], "tools": [{}, [{"name": "?"}]], "tool_choice": [{"type": "some"}],
        "thinking": [1, {"type": "x"}], "stream": ["yes"],
    },
    "/api/chat": {
        "messages": ["hi", [1], [{"role": "robot", "content": "x"}]], "model": [1, ""], "stream": ["yes"],
        "keep_alive": ["soon", 1e300, []], "options": [1], "tools": [{}, [1]], "format": ["xml", 1], "think": [[]],
    },
    "/api/generate": {"raw": [True], "suffix": ["x"], "context": [[1]], "images": [["x"]], "prompt": [1]},
    "/api/embed": {"input": [1, [1], {}]},
}
CASES = [
    pytest.param(path, field, value, id=f"{path}-{field}-{json.dumps(value)[:20]}")
    for path, fields in WRONG.items() for field, values in fields.items() for value in values
]


@pytest.fixture(scope="module")
def shared(binary, tmp_path_factory):
    one = Daemon(binary, tmp_path_factory.mktemp("bad"), {"models": [recall(), ECHO]}, [], {}).start()
    yield one
    assert "5" not in {str(status)[0] for status in STATUSES}
    one.close()


STATUSES: list[int] = []
BOMB = gzip.compress(b" " * 60_000_000)


def post(shared, path, content, **headers):
    reply = httpx.post(
        shared.url + path, content=content, headers={"Content-Type": "application/json", **headers}, timeout=30)
    STATUSES.append(reply.status_code)
    return reply


def message_of(path, reply):
    """The error's words; the object around them must be the dialect's own."""
    body = reply.json()
    if path.startswith("/api/"):
        assert set(body) == {"error"} and isinstance(body["error"], str)
        return body["error"]
    if path.startswith("/v1/messages"):
        assert body["type"] == "error" and body["request_id"] == reply.headers["request-id"]
        assert body["error"]["type"] in (
            "invalid_request_error", "not_found_error", "request_too_large"), body["error"]
        return body["error"]["message"]
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]["message"]


@pytest.mark.parametrize(("path", "field", "value"), CASES)
def test_a_wrong_value_is_a_400_that_names_its_field(shared, path, field, value):
    body = {**PATHS[path][0], field: value}
    reply = post(shared, path, json.dumps(body))
    assert reply.status_code == 400, reply.text
    message = message_of(path, reply)
    assert field in message or (field, "response_format") == ("format", message.split()[0]), message
    if not path.startswith(("/api/", "/v1/messages")):
        assert (reply.json()["error"]["param"] or "").startswith(field)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_missing_unknown_or_too_long_is_named(shared, path):
    whole, text = PATHS[path]
    for field in {"model", text} - ({"prompt"} if path == "/api/generate" else set()):
        if (path, field) == ("/api/chat", "messages"):
            continue  # Ollama's clients load a model so.
        reply = post(shared, path, json.dumps({key: value for key, value in whole.items() if key != field}))
        assert reply.status_code == 400 and field in message_of(path, reply)
    reply = post(shared, path, json.dumps({**whole, "model": "gpt-99"}))
    assert reply.status_code == 404
    assert "igris-recall" in message_of(path, reply)
    if "embed" in path or "count" in path or "input_tokens" in path or "compact" in path:
        return
    long = [{"role": "user", "content": "x" * 5_000}] if isinstance(whole[text], list) else "x" * 5_000
    reply = post(shared, path, json.dumps({**whole, text: long}))
    assert reply.status_code == 400 and "context" in message_of(path, reply)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_json_no_text_or_no_archive_is_a_400(shared, path):
    whole = json.dumps(PATHS[path][0]).encode()
    packed = gzip.compress(whole)
    frame = bytes.fromhex("28b52ffda0") + len(whole).to_bytes(4, "little") + (
        (len(whole) << 3) | 1).to_bytes(3, "little") + whole
    bodies = [
        (b"", {}), (b"{", {}), (b"[]", {}), (b"null", {}), (b"1", {}), (whole + b"x", {}), (whole[:-1], {}),
        (whole.replace(b"hi", b"\xff\xfe"), {}), (whole.replace(b"hi", b"\xed\xa0\x80"), {}),
        (whole.replace(b'"hi"', b'"\\ud800"'), {}), (whole.replace(b'"hi"', b"1e999999"), {}),
        (whole.replace(b'"model"', b'"model": "a", "model"'), {}),
        (packed[:-4], {"Content-Encoding": "gzip"}), (frame[:-4], {"Content-Encoding": "zstd"}),
        (whole, {"Content-Encoding": "zstd"}),
    ]
    for body, headers in bodies:
        reply = post(shared, path, body, **headers)
        if reply.status_code != 400:
            # A name that stands twice, and half a pair of surrogates, are read as many read them.
            assert reply.status_code == 200 and (b"ud800" in body or b'"a"' in body), (body, reply.text)
            continue
        assert message_of(path, reply)
    reply = post(shared, path, whole, **{"Content-Encoding": "br"})
    assert reply.status_code == 415 and message_of(path, reply)
    reply = post(shared, path, BOMB, **{"Content-Encoding": "gzip"})
    assert reply.status_code == 413 and message_of(path, reply)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat", "/api/chat?x=1"])
@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", 400), ("Content-Length: -1", 400),
        ("X-Big: " + "x" * 9_000, 431), ("X-Nul: a\x00b", 400), ("Host: other", 400),
        (f"Content-Length: {33 * 1024 * 1024}", 413),
    ])
def test_what_is_refused_before_any_route_speaks_the_dialect_of_its_path(shared, path, head, status):
    answer = exchange(shared.port, f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode("latin-1"))
    assert answer.status == status and answer.closed
    body = json.loads(answer.body)
    if path.startswith("/api/"):
        assert isinstance(body["error"], str)
    elif path == "/v1/messages":
        assert body["type"] == "error" and body["request_id"] == answer.headers["request-id"]
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}
