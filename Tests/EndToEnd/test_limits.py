"""Requests that are too much, too slow or not HTTP at all: refused, and the daemon goes on."""

import gzip
import json
import re
import socket
import time
from pathlib import Path

import httpx
import pytest

from daemon import Daemon, recall
from wire import Connection, exchange

CHAT = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def one(binary, tmp_path_factory):
    one = Daemon(binary, tmp_path_factory.mktemp("limits"), {"models": [recall()]}, [], {}).start()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def the_daemon_goes_on(one):
    yield
    assert one.process.poll() is None, one.logs()
    assert one.get("/readyz").status_code == 200


def get(*fields: str, line: str = "GET /v1/models HTTP/1.1", host: str | None = "Host: localhost") -> bytes:
    return "\r\n".join([line, *([host] if host else []), *fields, "", ""]).encode("latin-1")


# Too much


@pytest.mark.parametrize(
    "request_",
    [
        get("X-Big: " + "x" * 9_000),
        get(*[f"X-{number}: x" for number in range(150)]),
        get(*[f"X-{number}: {'x' * 4_000}" for number in range(12)]),
        get(line=f"GET /{'x' * 40_000} HTTP/1.1"),
    ],
    ids=["one big field", "many fields", "big altogether", "long path"],
)
def test_too_big_a_head_is_refused_and_closed(one, request_):
    answer = exchange(one.port, request_)
    assert answer.status in (400, 414, 431)
    assert answer.closed


def test_an_ordinary_head_of_some_size_is_fine(one):
    assert exchange(one.port, get(*[f"X-{number}: {'x' * 200}" for number in range(60)])).status == 200


def test_too_big_a_body_is_refused_before_it_is_sent(one):
    answer = exchange(one.port, f"{CHAT}Content-Length: {32 * 1024 * 1024 + 1}\r\n\r\n".encode())
    assert answer.status == 413
    assert json.loads(answer.body)["error"]["type"] == "invalid_request_error"


def test_too_big_a_chunked_body_is_refused(one):
    with Connection(one.port, timeout=30) as connection:
        connection.send(f"{CHAT}Transfer-Encoding: chunked\r\n\r\n".encode())
        block = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        for _ in range(34):
            connection.send(block)
        connection.send(b"0\r\n\r\n")
        assert connection.head().status == 413


@pytest.mark.parametrize("depth", [65, 10_000, 1_000_000])
def test_json_too_deep_is_refused(one, depth):
    body = '{"model":"phi3","messages":' + "[" * depth + "]" * depth + "}"
    reply = httpx.post(f"{one.url}/v1/chat/completions", content=body.encode(), timeout=30)
    assert reply.status_code in (400, 413)


def test_too_many_messages_are_refused(one):
    reply = one.post([{"role": "user", "content": "x"}] * 10_001)
    assert reply.status_code in (400, 413)


def test_a_compressed_body_is_read_as_what_it_holds(one):
    body = gzip.compress(b'{"model":"phi3","messages":[{"role":"user","content":"Hello"}]}')
    reply = httpx.post(
        f"{one.url}/v1/chat/completions", content=body, headers={"Content-Encoding": "gzip"}, timeout=30)
    assert reply.status_code == 200


# Too slow


def test_a_head_that_trickles_is_ended_after_ten_seconds(one):
    begin = time.monotonic()
    with Connection(one.port, timeout=0.3) as connection:
        connection.send(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        while time.monotonic() - begin < 20:
            connection.send(b"x")
            try:
                if not connection.fill():
                    break
            except TimeoutError:
                continue
        taken = time.monotonic() - begin
        assert 8 < taken < 19
        assert connection.buffer == b"" or connection.buffer.startswith(b"HTTP/1.1 408")


def test_many_idle_connections_hinder_nobody(one):
    idle = [Connection(one.port) for _ in range(400)]
    try:
        assert one.ask("Remember: my name is Alice", store=False)
    finally:
        for connection in idle:
            connection.socket.close()


def test_who_ends_its_half_at_once_is_answered(one):
    """As `nc -N` does: the end of what it sends is there before anybody serves the connection, now and then."""
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", one.port), timeout=10) as raw:
            raw.sendall(request)
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_connections_that_have_gone_leave_nothing_behind(one):
    def resident() -> int:
        """KB."""
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{one.pid}/status").read_text())[1])

    def come_and_go(count: int) -> None:
        for _ in range(count):
            assert exchange(one.port, get("Connection: close", line="GET /livez HTTP/1.1")).closed

    # Until all that is kept on purpose is there.
    come_and_go(1_500)
    before = resident()
    come_and_go(3_000)
    # Once each connection left 6 KB behind, so that anyone could fill the memory without a key.
    assert resident() - before < 8_000


# Ambiguous or no HTTP


@pytest.mark.parametrize(
    "request_",
    [
        f"{CHAT}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
        f"{CHAT}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde".encode(),
        f"{CHAT}Content-Length: +4\r\n\r\nabcd".encode(),
        f"{CHAT}Content-Length: -1\r\n\r\n".encode(),
        f"{CHAT}Content-Length: 99999999999999999999999\r\n\r\n".encode(),
        f"{CHAT}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".encode(),
        f"{CHAT}Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n".encode(),
        get("Content-Length : 0"),
        get(" folded: x"),
        get("X-A: b\r\n folded"),
        get(host=None),
        get("Host: other.example"),
        get(line="GET /v1/models HTTP/9.9"),
        get(line="GET http://evil.example/v1/models HTTP/1.1"),
        get(line="NONSENSE"),
        get("X-Nul: a\x00b"),
        b"\x00\x01\x02\x03\r\n\r\n",
        b"hello\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_and_closed(one, request_):
    answer = exchange(one.port, request_)
    assert answer.closed
    assert answer.status == 0 or 400 <= answer.status < 500 or answer.status in (501, 505), answer


def test_a_refused_request_hides_no_second_one(one):
    hidden = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    request_ = f"{CHAT}Content-Length: {len(hidden) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
    with Connection(one.port) as connection:
        connection.send(request_.encode())
        connection.socket.settimeout(2)
        try:
            while connection.fill():
                pass
        except TimeoutError:
            pytest.fail("the connection stayed open")
        assert connection.buffer.count(b"HTTP/1.1 ") <= 1
        assert b'"object"' not in connection.buffer


# Good HTTP


def test_requests_on_one_connection_are_answered_in_order(one):
    # Often: who overtakes whom is a matter of chance.
    for _ in range(100):
        with Connection(one.port) as connection:
            connection.send(get() + get(line="GET /v1/unknown HTTP/1.1") + get(line="GET /livez HTTP/1.1"))
            assert [connection.answer().status for _ in range(3)] == [200, 404, 200]


def test_expect_continue_is_answered(one):
    body = b'{"model":"phi3","store":false,"messages":[{"role":"user","content":"Remember: my name is Alice"}]}'
    with Connection(one.port) as connection:
        connection.send(f"{CHAT}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
        first = connection.head()
        if first.status == 100:
            connection.send(body)
            first = connection.answer()
            assert first.status == 200 and b"Alice" in first.body
        else:
            assert first.status == 417
