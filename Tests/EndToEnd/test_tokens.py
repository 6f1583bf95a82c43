"""Tokens of clients: made once, known on every host, and over everywhere at once."""

import json
import re
import socket
import threading
import time

import httpx
import pytest

from daemon import PATIENCE, Daemon, eventually, recall
from test_auth import own_address
from test_swarm_cli import run
from websocket import WebSocket

LAN = ["--host", "0.0.0.0"]


def make(daemon, name: str, *arguments: str) -> str:
    """A new token's text."""
    made = run(daemon, "token", "new", name, "--port", str(daemon.port), *arguments)
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(r"igr_[0-9A-Za-z]{43}\n", made.stdout)
    return made.stdout.strip()


def listed(daemon, *arguments: str) -> list[dict]:
    shown = run(daemon, "token", "ls", "--json", "--port", str(daemon.port), *arguments)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def revoke(daemon, name: str):
    return run(daemon, "token", "revoke", name, "--port", str(daemon.port))


def get(address: str, port: int, path: str, token: str | None, header: str = "authorization") -> httpx.Response:
    headers = {} if token is None else {header: f"Bearer {token}" if header == "authorization" else token}
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        return client.get(f"http://{address}:{port}{path}", headers=headers)


def status(daemon, token: str, path: str = "/v1/models") -> int:
    return get(own_address(), daemon.port, path, token).status_code


@pytest.fixture
def lan(daemon):
    own_address()
    return daemon(args=LAN)


def test_a_token_opens_the_host_from_elsewhere_and_is_shown_once(lan):
    assert get(own_address(), lan.port, "/v1/models", None).status_code == 401
    token = make(lan, "phone")
    for header in ("authorization", "x-api-key"):
        assert get(own_address(), lan.port, "/v1/models", token, header).status_code == 200
    shown = listed(lan)
    assert [(one["name"], one["scopes"], one["state"]) for one in shown] == [("phone", ["chat"], "active")]
    assert token not in json.dumps(shown) + run(lan, "token", "ls", "--port", str(lan.port)).stdout
    # Neither in what is on the disk nor in what was logged.
    assert token not in lan.logs()
    for file in lan.home.rglob("*"):
        if file.is_file():
            assert token.encode() not in file.read_bytes(), file


def test_a_name_is_one_token_at_a_time_and_conversations_belong_to_it(lan):
    first = make(lan, "ann")
    again = run(lan, "token", "new", "ann", "--port", str(lan.port))
    assert again.returncode != 0 and "ann" in again.stderr

    def ask(token: str, text: str) -> httpx.Response:
        body = {"model": "phi3", "messages": [{"role": "user", "content": text}]}
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            return client.post(
                f"http://{own_address()}:{lan.port}/v1/chat/completions", json=body,
                headers={"authorization": f"Bearer {token}", "x-conversation-id": "talk"})

    assert ask(first, "Remember: my name is Alice").status_code == 200
    assert revoke(lan, "ann").returncode == 0
    assert ask(first, "What is my name?").status_code == 401
    second, other = make(lan, "ann"), make(lan, "bob")
    assert get(own_address(), lan.port, "/v1/mcp/contexts/talk", other).status_code == 404
    assert get(own_address(), lan.port, "/v1/mcp/contexts/talk", second).status_code == 200
    assert "Alice" in ask(second, "What is my name?").text


def test_what_is_asked_of_a_token_is_checked(lan):
    for arguments in [
        ("a b",), ("tok_abc",), ("ann", "--scope", "root"), ("ann", "--expires", "soon"), ("ann", "--rate", "fast"),
    ]:
        refused = run(lan, "token", "new", *arguments, "--port", str(lan.port))
        assert refused.returncode != 0 and "igr_" not in refused.stdout, arguments
    assert listed(lan) == []
    unknown = httpx.post(f"{lan.url}/v1/admin/tokens", json={"name": "ann", "scope": ["chat"]}, timeout=PATIENCE)
    assert unknown.status_code == 400 and "scopes" in unknown.json()["error"]["message"]
    assert revoke(lan, "nobody").returncode != 0


def test_tokens_stay_after_kill_9_and_so_do_revocations(lan):
    kept, gone = make(lan, "kept", "--expires", "30d", "--rate", "60000/min"), make(lan, "gone")
    assert revoke(lan, "gone").returncode == 0
    lan.kill9()
    lan.start()
    assert (status(lan, kept), status(lan, gone)) == (200, 401)
    assert [one["name"] for one in listed(lan)] == ["kept"]
    assert {one["name"]: one["state"] for one in listed(lan, "--all")} == {"kept": "active", "gone": "revoked"}


def test_an_expired_token_opens_nothing_and_says_so(lan):
    token = make(lan, "brief", "--expires", "1s")
    eventually("the token has expired", lambda: status(lan, token) == 401, within=5)
    refused = get(own_address(), lan.port, "/v1/models", token)
    assert "expired" in refused.json()["error"]["message"]
    # The name is free again.
    assert status(lan, make(lan, "brief")) == 200


def test_clients_on_the_machine_itself_may_still_send_what_they_like_but_no_dead_token(lan):
    token = make(lan, "phone")
    assert get("127.0.0.1", lan.port, "/v1/models", "dummy").status_code == 200
    assert get("127.0.0.1", lan.port, "/v1/models", token).status_code == 200
    revoke(lan, "phone")
    assert get("127.0.0.1", lan.port, "/v1/models", token).status_code == 401
    assert get("127.0.0.1", lan.port, "/v1/models", None).status_code == 200


def test_without_a_swarm_there_are_no_tokens_and_the_reason_is_told(daemon):
    one = daemon(config={"mcp": {"enabled": False}})
    refused = run(one, "token", "new", "ann", "--port", str(one.port))
    assert refused.returncode != 0 and "mcp.enabled" in refused.stderr


# The swarm


def test_a_token_is_known_on_every_host_also_on_one_that_comes_late(swarm):
    one = swarm(3, start=False)
    a, b, c = one.hosts
    for host in (a, b):
        host.start()
    token = make(a, "phone")
    eventually("the other host knows it", lambda: get("127.0.0.1", b.port, "/v1/models", token).status_code == 200)
    c.start()
    eventually("the late host knows it", lambda: get("127.0.0.1", c.port, "/v1/models", token).status_code == 200)
    assert revoke(c, "phone").returncode == 0
    for host in (a, b):
        eventually(
            "it is revoked everywhere",
            lambda: get("127.0.0.1", host.port, "/v1/models", token).status_code == 401, within=2)


def stream_until_cut(port: int, token: str, began: threading.Event, ended: dict) -> None:
    """Reads an answer as events until it ends in any way."""
    body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "tell " * 400}]}
    try:
        with httpx.Client(timeout=60) as client, client.stream(
            "POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=body,
            headers={"authorization": f"Bearer {token}"},
        ) as answer:
            for _ in answer.iter_lines():
                began.set()
        ended["how"] = "whole"
    except httpx.HTTPError:
        ended["how"] = "cut"
    ended["at"] = time.monotonic()


def test_a_revocation_ends_open_streams_on_all_hosts(swarm):
    slow = recall(name="slow", aliases=[], pace=1)
    a, b = swarm(2, models=[slow, recall()]).hosts
    token, other = make(a, "phone"), make(a, "laptop")
    for each in (token, other):
        eventually("the other host knows it", lambda: get("127.0.0.1", b.port, "/v1/models", each).status_code == 200)
    streams = []
    for host, key in [(a, token), (b, token), (b, other)]:
        began, ended = threading.Event(), {}
        reader = threading.Thread(target=stream_until_cut, args=(host.port, key, began, ended), daemon=True)
        reader.start()
        streams.append((reader, began, ended))
    for _, began, _ in streams:
        assert began.wait(PATIENCE)
    assert revoke(a, "phone").returncode == 0
    revoked_at = time.monotonic()
    for reader, _, ended in streams[:2]:
        reader.join(PATIENCE)
        assert ended["how"] == "cut"
        # What is promised, and no measure of speed.
        assert ended["at"] - revoked_at <= 2
    assert "how" not in streams[2][2], "another token's stream was ended too"


def test_a_revocation_ends_an_open_websocket(swarm):
    a, b = swarm(2, models=[recall(name="slow", aliases=[], pace=1), recall()]).hosts
    token = make(a, "phone")
    headers = {"authorization": f"Bearer {token}"}
    eventually("the other host knows it", lambda: get("127.0.0.1", b.port, "/v1/models", token).status_code == 200)
    opened = httpx.post(
        f"http://127.0.0.1:{b.port}/v1/requests", headers=headers, timeout=PATIENCE,
        json={"model": "slow", "messages": [{"role": "user", "content": "tell " * 400}]})
    assert opened.status_code == 202, opened.text
    with socket.create_connection(("127.0.0.1", b.port), timeout=PATIENCE) as connection:
        watched = WebSocket(connection, f"/v1/requests/{opened.json()['id']}", headers)
        watched.receive()
        assert revoke(a, "phone").returncode == 0
        with pytest.raises(ConnectionError):
            while True:
                watched.receive()


# Limits


def test_the_hundred_and_first_request_of_a_minute_is_told_when_to_come_back(lan):
    token, other = make(lan, "script", "--rate", "100/min"), make(lan, "ann")
    address = own_address()
    with httpx.Client(trust_env=False, timeout=PATIENCE, headers={"x-api-key": token}) as client:
        answers = [client.get(f"http://{address}:{lan.port}/v1/models") for _ in range(101)]
        # Bucket: what fills while they are asked may let some more in.
        while answers[-1].status_code == 200 and len(answers) < 1_000:
            answers.append(client.get(f"http://{address}:{lan.port}/v1/models"))
    assert [answer.status_code for answer in answers[:100]] == [200] * 100
    refused = answers[-1]
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    # On this machine it is the same token; others have a bucket of their own.
    eventually("it is refused here too", lambda: get("127.0.0.1", lan.port, "/v1/models", token).status_code == 429)
    assert status(lan, other) == 200
    assert lan.metrics()['igris_access_refused_total{reason="rate"}'] >= 2


def test_an_address_is_limited_with_or_without_a_key_and_this_machine_is_not(daemon):
    address = own_address()
    one = daemon(config={"auth": {"rate_limit": 20, "lan": "open"}}, args=LAN)
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        statuses = [client.get(f"http://{address}:{one.port}/livez").status_code for _ in range(30)]
    assert statuses[:20] == [200] * 20 and statuses[-1] == 429
    assert status(one, "igr_" + "0" * 43) == 429
    assert {one.get("/livez").status_code for _ in range(40)} == {200}


# Models


MODEL_REQUESTS = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "stream": True}),
    ("/v1/completions", {"prompt": "Hello"}),
    ("/v1/embeddings", {"input": "Hello"}),
    ("/v1/responses", {"input": "Hello"}),
    ("/v1/responses", {"input": "Hello", "background": True}),
    ("/v1/responses/input_tokens", {"input": "Hello"}),
    ("/v1/messages", {"max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}),
    ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "Hello"}]}),
    ("/v1/requests", {"messages": [{"role": "user", "content": "Hello"}]}),
    ("/api/chat", {"messages": [{"role": "user", "content": "Hello"}]}),
    ("/api/chat", {"messages": []}),
    ("/api/generate", {"prompt": "Hello"}),
    ("/api/generate", {"prompt": "Hello", "stream": False}),
    ("/api/generate", {}),
    ("/api/embed", {"input": "Hello"}),
    ("/api/embeddings", {"prompt": "Hello"}),
]


@pytest.fixture(scope="module")
def chosen(binary, tmp_path_factory):
    """A host of two models, and a token for one of them."""
    models = [recall(), recall(name="secret-model", aliases=["hidden"])]
    one = Daemon(binary, tmp_path_factory.mktemp("models"), {"models": models}, [], {}).start()
    yield one, {"x-api-key": make(one, "phone", "--models", "phi3")}
    one.close()


@pytest.mark.parametrize("path,body", MODEL_REQUESTS)
def test_a_token_for_some_models_asks_no_other_and_learns_nothing_of_it(chosen, path, body):
    one, headers = chosen
    said = set()
    for model in ("secret-model", "hidden", "secret-model:latest", "no-such-model"):
        answer = httpx.post(one.url + path, json={"model": model, **body}, headers=headers, timeout=PATIENCE)
        # Ollama's way to load a model says 404, and the name that it was asked for.
        assert answer.status_code in (403, 404), answer.text
        text = answer.text.replace(answer.headers["x-request-id"], "").replace(model.removesuffix(":latest"), "")
        said.add((answer.status_code, text))
        assert "secret" not in text and "hidden" not in text
    assert len(said) == 1
    # By each of its names the other one answers: what is wrong with these requests is something else.
    for model in ("phi3", "igris-recall"):
        answer = httpx.post(one.url + path, json={"model": model, **body}, headers=headers, timeout=PATIENCE)
        assert answer.status_code not in (401, 403), answer.text


def test_models_that_a_token_may_not_ask_are_not_listed(chosen):
    one, headers = chosen
    for path in ("/v1/models", "/api/tags", "/api/ps"):
        listed = one.get(path, headers=headers)
        assert listed.status_code == 200 and "igris-recall" in listed.text
        assert "secret-model" not in listed.text and "hidden" not in listed.text
    for model in ("secret-model", "hidden", "no-such-model"):
        answer = one.get(f"/v1/models/{model}", headers=headers)
        assert answer.status_code == 404 and "secret-model" not in answer.text
        shown = httpx.post(f"{one.url}/api/show", json={"model": model}, headers=headers, timeout=PATIENCE)
        assert shown.status_code == 404 and "secret-model" not in shown.text.replace(f"'{model}'", "")
