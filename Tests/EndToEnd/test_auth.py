"""Who may ask: keys, addresses, and pages of other sites."""

import socket

import httpx
import openai
import pytest

from daemon import recall
from wire import exchange

KEY = "ann-key-0123456789"
KEYS = {"auth": {"keys": [{"name": "ann", "key": KEY}]}}
ROUTES = ["/", "/v1/health", "/livez", "/readyz", "/v1/models", "/v1/status", "/v1/mcp/contexts", "/metrics"]


def own_address() -> str:
    """An address of this machine that is not loopback. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    return address


def ask(address: str, port: int, headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"model": "phi3", "store": False, "messages": [{"role": "user", "content": "Remember: my name is Alice"}]}
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.post(f"http://{address}:{port}/v1/chat/completions", json=body, headers=headers)


# Keys


def test_loopback_needs_no_key(daemon):
    assert ask("127.0.0.1", daemon(config=KEYS).port).status_code == 200


def test_from_another_address_a_key_is_needed_and_the_message_says_the_next_step(daemon):
    address = own_address()
    one = daemon(args=["--host", "0.0.0.0"])
    refused = ask(address, one.port)
    assert refused.status_code == 401
    error = refused.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "auth.keys" in error["message"]
    assert refused.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}])
def test_a_known_key_opens_from_everywhere(daemon, headers):
    address = own_address()
    one = daemon(config=KEYS, args=["--host", "0.0.0.0"])
    assert ask(address, one.port, headers).status_code == 200
    assert ask("127.0.0.1", one.port, headers).status_code == 200


def test_a_wrong_key_is_refused_from_everywhere(daemon):
    address = own_address()
    one = daemon(config=KEYS, args=["--host", "0.0.0.0"])
    for where in [address, "127.0.0.1"]:
        for headers in [{"Authorization": "Bearer ann-key-0123456788"}, {"x-api-key": "ann"}]:
            refused = ask(where, one.port, headers)
            assert refused.status_code == 401
            assert "ann-key" not in refused.text
    assert "ann-key" not in one.logs()
    with pytest.raises(openai.AuthenticationError):
        one.client(api_key="wrong").models.list()


def test_without_any_key_configured_local_clients_may_send_what_they_like(daemon):
    # openai-python insists on some key; most people write a dummy.
    one = daemon()
    assert one.client(api_key="dummy").models.list().data


def test_the_local_network_can_be_let_in_explicitly(daemon):
    address = own_address()
    one = daemon(config={"auth": {"lan": "open"}}, args=["--host", "0.0.0.0"])
    assert ask(address, one.port).status_code == 200


def test_an_address_outside_the_allow_list_is_refused_even_with_a_key(daemon):
    address = own_address()
    auth = {**KEYS["auth"], "ip_allowlist": ["198.51.100.0/24"]}
    one = daemon(config={"auth": auth}, args=["--host", "0.0.0.0"])
    refused = ask(address, one.port, {"x-api-key": KEY})
    assert refused.status_code == 403
    assert "ip_allowlist" in refused.json()["error"]["message"]
    assert ask("127.0.0.1", one.port).status_code == 200


def test_every_route_asks_for_the_key(daemon):
    address = own_address()
    one = daemon(args=["--host", "0.0.0.0"])
    with httpx.Client(trust_env=False, timeout=30) as client:
        answers = {route: client.get(f"http://{address}:{one.port}{route}").status_code for route in ROUTES}
    # What a load balancer asks may be answered: it says nothing about conversations or models.
    assert {route for route, status in answers.items() if status != 401} <= {"/", "/v1/health", "/livez", "/readyz"}


# Host and Origin


def request(host: str, path: str = "/v1/models", origin: str | None = None, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    if origin:
        lines.append(f"Origin: {origin}")
    if method == "OPTIONS":
        lines += ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.fixture(scope="module")
def local(binary, tmp_path_factory):
    from daemon import Daemon

    one = Daemon(binary, tmp_path_factory.mktemp("auth"), {"models": [recall()]}, [], {}).start()
    yield one
    one.close()


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil"])
def test_a_rebound_name_is_refused_on_every_route(local, path, host):
    assert exchange(local.port, request(host, path)).status in (403, 421)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost:{port}"])
def test_names_of_this_machine_are_accepted(local, host):
    assert exchange(local.port, request(host.format(port=local.port))).status == 200


def test_a_page_of_another_site_is_refused(local):
    for origin in ["http://evil.example", "https://localhost.evil.example", "null"]:
        assert exchange(local.port, request("localhost", origin=origin)).status == 403, origin


def test_a_page_of_this_machine_is_let_in_with_its_one_origin(local):
    answer = exchange(local.port, request("localhost", origin="http://localhost:3000"))
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "origin" in answer.headers["vary"].lower()


def test_a_preflight_of_this_machine_is_answered(local):
    answer = exchange(
        local.port, request("localhost", "/v1/chat/completions", origin="http://localhost:3000", method="OPTIONS"))
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ["authorization", "content-type", "x-api-key", "x-conversation-id"])
