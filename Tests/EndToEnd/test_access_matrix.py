"""Every operation of docs/openapi.yaml, tried by everyone it is not for, with either header: nothing opens."""

import contextlib
import json
import re
import socket
import ssl
from dataclasses import dataclass

import httpx
import pytest
import yaml

from certificates import Authority, Pair
from daemon import PATIENCE, Daemon, eventually, recall
from test_auth import own_address
from test_sessions import code
from test_tokens import make, revoke, status

KEY = "key-of-the-configuration"
HEADERS = ["authorization", "x-api-key"]
# In which no credential is looked for.
IDLE_HEADERS = ["cookie", "x-forwarded-for", "mcp-session-id", "proxy-authorization", "authentication"]
# What each of them may use, by the operation's x-igris-access.
ALLOWED = {
    "nobody": set(), "wrong key": set(), "wrong token": set(), "revoked": set(), "expired": set(),
    "wrong session": set(), "session of the key": {"known", "chat", "read"}, "session of a token": {"known", "read"},
    "certificate": {"known", "chat", "read"}, "listed certificate": {"known", "read"}, "unlisted certificate": set(),
    "session of a revoked token": set(),
    "configured key": {"known", "chat", "read"},
    "chat": {"known", "chat"}, "read": {"known", "read"}, "admin": {"known", "chat", "read", "admin"},
}


@dataclass
class Operation:
    path: str
    method: str
    access: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@pytest.fixture(scope="module")
def operations(root) -> list[Operation]:
    document = yaml.safe_load((root / "docs/openapi.yaml").read_text())
    return [
        Operation(path, method.upper(), operation["x-igris-access"])
        for path, item in document["paths"].items() for method, operation in item.items()
    ]


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificates(authority) -> dict[str, Pair]:
    names = {"certificate": "chatter", "listed certificate": "watcher", "unlisted certificate": "stranger"}
    return {who: authority.issue(f"/CN={name}", name, usage="clientAuth") for who, name in names.items()}


@pytest.fixture(scope="module")
def host(binary, tmp_path_factory, authority) -> Daemon:
    own_address()
    tls = {"enabled": True, "client_ca": authority.file, "clients": [
        {"name": "chatter", "subject": "CN=chatter"}, {"name": "watcher", "subject": "CN=watcher", "scopes": ["read"]}]}
    config = {"models": [recall()], "auth": {"keys": [{"name": "ann", "key": KEY}]}, "tls": tls}
    one = Daemon(binary, tmp_path_factory.mktemp("matrix"), config, ["--host", "0.0.0.0"], {}).start()
    yield one
    one.close()


@pytest.fixture(scope="module")
def credentials(host) -> dict[str, str | None]:
    reader, gone = make(host, "reader", "--scope", "read"), make(host, "lost", "--scope", "admin")
    made = {
        "wrong session": "igs_" + "0" * 43, "session of the key": session(host, "ann", KEY),
        "session of a token": session(host, "reader", reader), "session of a revoked token": session(host, "lost", gone),
        "nobody": None, "wrong key": KEY + "x", "wrong token": "igr_" + "0" * 43, "configured key": KEY,
        "chat": make(host, "bob"), "read": make(host, "watcher", "--scope", "read"),
        "admin": make(host, "operator", "--scope", "admin"), "revoked": make(host, "gone", "--scope", "admin"),
        "expired": make(host, "brief", "--scope", "admin", "--expires", "1s"),
    }
    assert revoke(host, "gone").returncode == 0 and revoke(host, "lost").returncode == 0
    eventually("the token has expired", lambda: status(host, made["expired"]) == 401, within=5)
    return made


def session(host: Daemon, name: str, key: str) -> str:
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        made = client.post(f"{host.url}/v1/auth/challenge", json={"agent_id": name}).json()
        opened = client.post(f"{host.url}/v1/auth/session", json={
            "nonce": made["nonce"], "signature": code(key, made["message"])})
    assert opened.status_code == 201, opened.text
    return opened.json()["token"]


def credential_line(header: str, credential: str | None) -> str:
    if credential is None:
        return ""
    return f"{header}: {'Bearer ' if header == 'authorization' else ''}{credential}\r\n"


def verdict(
    host: Daemon, operation: Operation, header: str, credential: str | None, certificate: Pair | None = None
) -> int | None:
    """The status from another address, None where the request was let in and its answer takes its time."""
    address = own_address()
    path = re.sub(r"\{\w+\}", "unknown", operation.path)
    body = "" if operation.method in ("GET", "DELETE") else "{}"
    request = (
        f"{operation.method} {path} HTTP/1.1\r\nHost: {address}:{host.port}\r\nConnection: close\r\n"
        f"{credential_line(header, credential)}"
        + (f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else "") + f"\r\n{body}")
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((address, host.port), timeout=1.5))
        if certificate:
            connection = stack.enter_context(showing(certificate).wrap_socket(connection))
        connection.sendall(request.encode())
        try:
            return int(connection.recv(64).split(b" ")[1])
        except TimeoutError:
            return None


def showing(certificate: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(str(certificate.certificate), str(certificate.key))
    return context


def test_every_operation_says_whom_it_is_for(operations):
    assert {operation.access for operation in operations} == {"anyone", "known", "chat", "read", "admin", "peer"}
    # What makes somebody known, and nothing else.
    assert {operation.path for operation in operations if operation.access == "anyone"} == {
        "/v1/auth/challenge", "/v1/auth/session"}
    for operation in operations:
        if operation.path.startswith("/v1/admin/"):
            assert operation.access == "admin", operation
        if operation.path.startswith("/v1/sync/"):
            assert operation.access == "peer", operation


@pytest.mark.parametrize("who", ALLOWED)
def test_nothing_opens_to_whom_it_is_not_for(host, operations, credentials, certificates, who):
    wrong = []
    credential, certificate = credentials.get(who), certificates.get(who)
    for operation in operations:
        for header in HEADERS if credential else HEADERS[:1]:
            got = verdict(host, operation, header, credential, certificate)
            if operation.access == "peer":
                is_right = got == 401
            elif operation.access == "anyone":
                is_right = got == 400
            elif operation.access in ALLOWED[who]:
                is_right = got not in (401, 403)
            else:
                # Who is known may be told that it is not for them.
                is_right = got == (403 if ALLOWED[who] else 401)
            if not is_right:
                wrong.append(f"{operation} with {header}: {got}, access {operation.access}")
    assert not wrong, "\n".join(wrong)


def test_from_the_external_zone_nothing_changes(binary, tmp_path, operations):
    auth = {"keys": [{"name": "ann", "key": KEY}], "external_networks": ["0.0.0.0/0", "::/0"]}
    one = Daemon(binary, tmp_path, {"models": [recall()], "auth": auth}, ["--host", "0.0.0.0"], {}).start()
    try:
        token = make(one, "operator", "--scope", "admin")
        wrong = []
        for operation in operations:
            got = verdict(one, operation, "x-api-key", token)
            if operation.access == "peer":
                is_right = got == 401
            elif operation.access == "admin" or operation.access == "chat" and operation.method not in ("GET", "HEAD"):
                is_right = got == 403
            else:
                is_right = got not in (401, 403)
            if not is_right:
                wrong.append(f"{operation}: {got}")
        assert not wrong, "\n".join(wrong)
    finally:
        one.close()


@pytest.mark.parametrize("header", IDLE_HEADERS)
def test_other_headers_open_nothing(host, operations, credentials, header):
    wrong = [
        f"{operation}: {got}" for operation in operations if operation.access != "anyone"
        if (got := verdict(host, operation, header, credentials["admin"])) != 401
    ]
    assert not wrong, "\n".join(wrong)


def test_two_headers_that_differ_open_nothing(host, credentials):
    address = own_address()
    for first, second in [("chat", "admin"), ("configured key", "chat"), ("chat", "wrong key"), ("admin", "revoked")]:
        for one, other in [(first, second), (second, first)]:
            with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
                answer = client.get(
                    f"http://{address}:{host.port}/v1/models",
                    headers={"authorization": f"Bearer {credentials[one]}", "x-api-key": credentials[other]})
            assert answer.status_code == 401, (one, other)


# Ids open nothing


@dataclass
class Possessions:
    """What one owner has, by the place in which its ids stand."""

    ids: dict[str, str]

    def path(self, template: str) -> str | None:
        """The path with this owner's ids in it; None where no id of theirs fits."""
        if template not in self.ids:
            return None
        return self.ids[template]


@pytest.fixture(scope="module")
def asker(host):
    def ask(credential: str, method: str, path: str, body=None, headers=None) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            return client.request(
                method, f"http://{own_address()}:{host.port}{path}", json=body,
                headers={"x-api-key": credential, **(headers or {})})

    return ask


def fill(asker, credential: str, text: str) -> Possessions:
    """Something of every kind, each of which knows `text`."""
    said = [{"role": "user", "content": text}]
    chat = asker(credential, "POST", "/v1/chat/completions", {"model": "phi3", "store": True, "messages": said},
                 {"x-conversation-id": f"talk-of-{len(text)}"})
    assert chat.status_code == 200, chat.text
    response = asker(credential, "POST", "/v1/responses", {"model": "phi3", "input": text})
    assert response.status_code == 200, response.text
    conversation = asker(credential, "POST", "/v1/conversations", {
        "items": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]})
    assert conversation.status_code == 200, conversation.text
    name = conversation.json()["id"]
    items = asker(credential, "GET", f"/v1/conversations/{name}/items")
    item = items.json()["data"][0]["id"]
    request = asker(credential, "POST", "/v1/requests", {"model": "phi3", "messages": said})
    assert request.status_code == 202, request.text
    completion, answer, task = chat.json()["id"], response.json()["id"], request.json()["id"]
    return Possessions({
        "/v1/chat/completions/{id}": f"/v1/chat/completions/{completion}",
        "/v1/chat/completions/{id}/messages": f"/v1/chat/completions/{completion}/messages",
        "/v1/streams/{id}": f"/v1/streams/{completion}",
        "/v1/responses/{id}": f"/v1/responses/{answer}",
        "/v1/responses/{id}/cancel": f"/v1/responses/{answer}/cancel",
        "/v1/responses/{id}/input_items": f"/v1/responses/{answer}/input_items",
        "/v1/conversations/{id}": f"/v1/conversations/{name}",
        "/v1/conversations/{id}/items": f"/v1/conversations/{name}/items",
        "/v1/conversations/{id}/items/{item}": f"/v1/conversations/{name}/items/{item}",
        "/v1/mcp/contexts/{id}": f"/v1/mcp/contexts/{chat.headers['x-conversation-id']}",
        "/v1/requests/{id}": f"/v1/requests/{task}",
        "/v1/requests/{id}/cancel": f"/v1/requests/{task}/cancel",
    })


def body_for(operation: Operation) -> dict | None:
    if operation.method != "POST":
        return None
    if operation.path.endswith("/items"):
        return {"items": [{"type": "message", "role": "user", "content": "smuggled"}]}
    return {"metadata": {"a": "b"}} if not operation.path.endswith("/cancel") else {}


def others(path: str) -> str:
    """The path with ids of the same form, which nobody has: the first digits of each are other ones."""

    def flipped(found: re.Match) -> str:
        return found[1] + re.sub("[0-9a-f]", lambda digit: "0" if digit[0] != "0" else "1", found[2])

    changed = re.sub(r"([a-z]+[_-])([0-9a-f]{2,16})", flipped, path)
    assert changed != path
    return changed


def shape(answer: httpx.Response, path: str) -> tuple:
    """What an answer says, without the id that was asked for."""
    text = answer.text
    for part in path.split("/"):
        if len(part) > 12:
            text = text.replace(part, "ID")
    return answer.status_code, text


def test_ids_of_another_owner_are_as_unknown_ones(host, operations, credentials, asker):
    secret = "Remember: the planted word is Quintaval"
    mine = fill(asker, credentials["configured key"], secret)
    # A digest is nobody's id, and that route is refused to everyone.
    with_ids = [
        operation for operation in operations
        if "{" in operation.path and operation.access == "chat" and operation.path != "/api/blobs/{digest}"
    ]
    assert {operation.path for operation in with_ids} == set(mine.ids), "a route with an id is not tried"
    stranger = credentials["chat"]
    for operation in with_ids:
        path = mine.path(operation.path)
        theirs = asker(stranger, operation.method, path, body_for(operation))
        nobodys = others(path)
        unknown = asker(stranger, operation.method, nobodys, body_for(operation))
        assert theirs.status_code == 404, f"{operation}: {theirs.status_code} {theirs.text}"
        assert shape(theirs, path) == shape(unknown, nobodys), operation
        assert "Quintaval" not in theirs.text
    # Neither does one lead on from them.
    behind = asker(stranger, "POST", "/v1/responses", {
        "model": "phi3", "input": "What is the planted word?",
        "previous_response_id": mine.ids["/v1/responses/{id}"].rpartition("/")[2]})
    assert behind.status_code in (400, 404) and "Quintaval" not in behind.text
    for path in ("/v1/requests", "/v1/mcp/contexts", "/v1/chat/completions"):
        listed = asker(stranger, "GET", path)
        assert listed.status_code == 200
        assert not any(own.rpartition("/")[2] in listed.text for own in mine.ids.values() if own.count("/") == 3), path
    # And all of it is still there for its owner.
    for operation in with_ids:
        if operation.method == "GET":
            own = asker(credentials["configured key"], "GET", mine.path(operation.path))
            assert own.status_code == 200, f"{operation}: {own.text}"
    assert secret in json.dumps(asker(credentials["configured key"], "GET", mine.path("/v1/mcp/contexts/{id}")).json())
