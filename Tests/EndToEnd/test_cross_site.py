"""Pages of other sites, on every route that docs/openapi.yaml describes: with a name that was made to lead here, and
openly, and by WebSocket. None gets an answer of a route, or leave to read what it got."""

import re

import pytest
import yaml

from daemon import ECHO, Daemon, recall
from wire import exchange

EVIL = "evil.example"
# What a page that drives a visitor's browser could send.
STRANGE = {
    "a name of theirs that leads here": (EVIL, None),
    "a name of theirs with our port": (EVIL + ":{port}", f"http://{EVIL}:{{port}}"),
    "a name that begins like ours": (f"localhost.{EVIL}", f"http://localhost.{EVIL}"),
    "our address in another notation": ("2130706433:{port}", None),
    "an address that is not ours": ("198.51.100.7", "http://198.51.100.7"),
    "openly": ("localhost:{port}", f"http://{EVIL}"),
    "openly, securely": ("127.0.0.1:{port}", f"https://{EVIL}"),
    "from a file or a frame without an origin": ("localhost:{port}", "null"),
    "from an extension of a browser": ("localhost:{port}", "chrome-extension://abcdef"),
    "from a name that ends like ours": ("localhost:{port}", f"http://{EVIL}.localhost.{EVIL}"),
    "with two origins": ("localhost:{port}", f"http://localhost:{{port}} http://{EVIL}"),
}
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")


@pytest.fixture(scope="module")
def one(binary, tmp_path_factory):
    one = Daemon(binary, tmp_path_factory.mktemp("pages"), {"models": [recall(), ECHO]}, [], {}).start()
    one.ask("Remember: my name is Alice", conversation="c")
    yield one
    assert one.texts("c")[0] == "Remember: my name is Alice"
    assert one.status_models()
    one.close()


@pytest.fixture(scope="module")
def operations(root):
    paths = yaml.safe_load((root / "docs/openapi.yaml").read_text())["paths"]
    return [
        (method.upper(), re.sub(r"\{\w+\}", "c", path)) for path, item in paths.items()
        for method in item if method in ("get", "post", "put", "delete", "patch")
    ]


@pytest.mark.parametrize("upgrade", [False, True], ids=["a request", "a WebSocket"])
@pytest.mark.parametrize("page", STRANGE)
def test_a_page_of_another_site_gets_nothing_anywhere(one, operations, page, upgrade):
    host, origin = (part and part.format(port=one.port) for part in STRANGE[page])
    assert len(operations) > 60
    for method, path in operations:
        body = b"{}" if method in ("POST", "PUT", "PATCH") else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        head += (f"Origin: {origin}\r\n" if origin else "") + (UPGRADE if upgrade else "")
        answer = exchange(one.port, head.encode() + b"Connection: close\r\n\r\n" + body)
        assert answer.status in (400, 403), (method, path, answer)
        assert not [name for name in answer.headers if name.startswith("access-control-")], (method, path)
        assert b"Alice" not in answer.body


@pytest.mark.parametrize("page", STRANGE)
def test_a_page_of_another_site_is_not_told_that_it_may(one, operations, page):
    """The question that a browser asks before a request that is not simple."""
    host, origin = (part and part.format(port=one.port) for part in STRANGE[page])
    for path in sorted({path for _, path in operations}):
        answer = exchange(one.port, (
            f"OPTIONS {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin or 'http://' + EVIL}\r\nConnection: close\r\n"
            "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\r\n").encode())
        assert answer.status in (400, 403), (path, answer)
        assert not [name for name in answer.headers if name.startswith("access-control-")], path
