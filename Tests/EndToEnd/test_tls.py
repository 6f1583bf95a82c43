"""TLS with clients, on the one port: certificates of the host and of clients, and what is refused without."""

import contextlib
import json
import os
import select
import shutil
import socket
import ssl
import stat
import subprocess
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest
import requests

from certificates import Authority, Pair
from daemon import PATIENCE, Daemon, eventually, recall
from test_auth import own_address
from test_swarm_cli import run as run_program
from websocket import TEXT, WebSocket

KEY = "key-of-the-configuration"
CHAT = {"model": "phi3", "store": False, "messages": [{"role": "user", "content": "Remember: my name is Alice"}]}


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority) -> Pair:
    return authority.issue("/CN=localhost", "server")


def run(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess:
    return run_program(daemon, *arguments, "--port", str(daemon.port))


def given(pair: Pair, **more) -> dict:
    return {"tls": {"cert": str(pair.certificate), "key": str(pair.key), **more}}


def trusting(file: str | Path, client: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(file))
    if client:
        context.load_cert_chain(str(client.certificate), str(client.key))
    return context


def ask(daemon: Daemon, context: ssl.SSLContext, path: str = "/v1/models", host: str = "localhost", **options) -> httpx.Response:
    with httpx.Client(verify=context, trust_env=False, timeout=PATIENCE) as client:
        return client.request(options.pop("method", "GET"), f"https://{host}:{daemon.port}{path}", **options)


def shown(daemon: Daemon, context: ssl.SSLContext, name: str = "localhost") -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE)
    return context.wrap_socket(raw, server_hostname=name)


def blind() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# The host's own certificate


@pytest.fixture(scope="module")
def own(binary, tmp_path_factory) -> Daemon:
    config = {"models": [recall()], "tls": {"enabled": True}, "auth": {"keys": [{"name": "ann", "key": KEY}]}}
    one = Daemon(binary, tmp_path_factory.mktemp("own"), config, ["--host", "0.0.0.0"], {}).start()
    yield one
    one.close()


@pytest.fixture(scope="module")
def own_file(own, tmp_path_factory) -> Path:
    printed = run(own, "certificate")
    assert printed.returncode == 0, printed.stderr
    file = tmp_path_factory.mktemp("trusted") / "igris.pem"
    file.write_text(printed.stdout)
    return file


def test_the_hosts_own_certificate_is_the_one_that_it_tells_of(own, own_file):
    with shown(own, trusting(own_file)) as connection:
        assert connection.version() == "TLSv1.3"
        der = connection.getpeercert(binary_form=True)
    assert der == ssl.PEM_cert_to_DER_cert(own_file.read_text())
    fingerprint = Pair(own_file, own_file).fingerprint
    assert fingerprint in run(own, "certificate").stderr
    assert fingerprint in run(own, "status").stdout
    assert fingerprint in run(own, "doctor", "peers", "-v").stdout
    assert fingerprint in run(own, "connect", "aider").stderr
    assert own.get("/v1/status").json()["tls"]["fingerprint"] == fingerprint.replace(":", "").lower()


def test_its_key_is_kept_for_this_user_alone_and_shown_nowhere(own):
    files = [path for path in (own.home / "state").rglob("tls.*")]
    assert {path.name for path in files} == {"tls.key", "tls.crt"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    key = next(path for path in files if path.name == "tls.key").read_bytes()
    assert key not in own.log_path.read_bytes() and key.hex() not in own.get("/v1/status").text


def test_it_outlives_a_restart(daemon):
    one = daemon(config={"tls": {"enabled": True}})
    before = run(one, "certificate").stdout
    one.restart()
    assert run(one, "certificate").stdout == before


def test_without_it_the_verb_says_how_to_have_one(daemon):
    printed = run(daemon(), "certificate")
    assert printed.returncode == 69 and "tls.enabled" in printed.stderr


def test_clients_use_the_api_over_https(own, own_file):
    context = trusting(own_file)
    with openai.OpenAI(
        base_url=f"https://localhost:{own.port}/v1", api_key=KEY, max_retries=0,
        http_client=httpx.Client(verify=context, trust_env=False)) as client:
        answer = client.chat.completions.create(**CHAT).choices[0].message.content
        chunks = client.chat.completions.create(stream=True, **CHAT)
        assert answer and "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == answer
    # requests, on one connection that stays.
    with requests.Session() as session:
        session.trust_env = False
        for _ in range(3):
            assert session.get(f"https://localhost:{own.port}/v1/models", verify=str(own_file), timeout=PATIENCE).ok
        big = session.post(
            f"https://localhost:{own.port}/v1/chat/completions", verify=str(own_file), timeout=PATIENCE,
            json={**CHAT, "messages": [{"role": "user", "content": "long " * 60_000}]})
        assert big.status_code in (200, 400)
    printed = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--cacert", str(own_file), f"https://127.0.0.1:{own.port}/v1/models"],
        capture_output=True, text=True, timeout=60)
    assert json.loads(printed.stdout)["data"], printed.stderr


class Relay:
    """Passes one connection on to the daemon, and keeps what it sees."""

    def __init__(self, port: int):
        self.seen = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.target = port
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        near, _ = self.listener.accept()
        far = socket.create_connection(("127.0.0.1", self.target))
        with near, far, contextlib.suppress(OSError):
            while True:
                for source in select.select([near, far], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    self.seen += data
                    (far if source is near else near).sendall(data)

    def close(self) -> None:
        self.listener.close()


def test_an_eavesdropper_reads_nothing_of_it(own, own_file):
    secret = "Remember: my password is Quintaval"
    body = {**CHAT, "messages": [{"role": "user", "content": secret}]}
    for scheme, is_read in [("http", True), ("https", False)]:
        relay = Relay(own.port)
        with httpx.Client(verify=trusting(own_file), trust_env=False, timeout=PATIENCE) as client:
            answer = client.post(
                f"{scheme}://localhost:{relay.port}/v1/chat/completions", json=body, headers={"x-api-key": KEY})
        relay.close()
        assert answer.status_code == 200 and "Quintaval" in answer.text
        # The relay sees all of it where it is plain: it would see it here.
        assert all((word in relay.seen) is is_read for word in (b"Quintaval", KEY.encode(), b"completions"))


def test_the_same_port_still_answers_plain_requests(own):
    assert own.get("/v1/models").status_code == 200
    address = own_address()
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        assert client.get(f"http://{address}:{own.port}/v1/models").status_code == 401
        assert client.get(f"http://{address}:{own.port}/v1/models", headers={"x-api-key": KEY}).status_code == 200


def test_over_tls_another_machine_needs_a_key_all_the_same(own, own_file):
    address = own_address()
    assert ask(own, trusting(own_file), host=address).status_code == 401
    assert ask(own, trusting(own_file), host=address, headers={"x-api-key": KEY}).status_code == 200


def test_a_websocket_works_over_it(own, own_file):
    with shown(own, trusting(own_file)) as connection:
        socket_ = WebSocket(connection, "/v1/swarm/events?transport=ws")
        kind, _ = socket_.receive()
        assert kind == TEXT


def test_http_1_1_is_what_is_agreed_on(own):
    for offered, agreed in [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), ([], None)]:
        context = blind()
        if offered:
            context.set_alpn_protocols(offered)
        with shown(own, context) as connection:
            assert connection.selected_alpn_protocol() == agreed


def test_old_versions_and_weak_ciphers_are_refused(own):
    context = blind()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with shown(own, context) as connection:
        assert connection.version() == "TLSv1.2" and "GCM" in connection.cipher()[0]
    # Whether it comes about or not is counted.
    before = own.metrics()['igris_tls_handshakes_total{of="clients",outcome="failed"}']
    for version, ciphers in [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"), (ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "AES128-SHA:AES256-SHA256:ECDHE-ECDSA-AES128-SHA:AES128-GCM-SHA256:@SECLEVEL=0"),
    ]:
        context = blind()
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
        context.set_ciphers(ciphers)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shown(own, context).close()
    assert own.metrics()['igris_tls_handshakes_total{of="clients",outcome="failed"}'] >= before + 3


def test_a_handshake_in_small_pieces_is_understood(own):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = blind()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", own.port), timeout=PATIENCE) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            for byte in outgoing.read():
                raw.sendall(bytes([byte]))
            incoming.write(raw.recv(65536))
        assert tls.version() == "TLSv1.3"


def test_a_handshake_that_never_ends_is_cut_off(own):
    # With the length of a whole message, a part of one, and one byte: before it is known who takes it.
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)
    begin = time.monotonic()
    waiting = []
    for part in (hello, hello[:5], hello[:1]):
        raw = socket.create_connection(("127.0.0.1", own.port), timeout=30)
        raw.sendall(part)
        waiting.append(raw)
    for raw in waiting:
        with contextlib.suppress(ConnectionError):
            while raw.recv(4096):
                pass
        raw.close()
    assert time.monotonic() - begin < 25


def test_one_address_has_only_so_many_connections_over_tls_too(own):
    address = own_address()
    open_, refused = [], 0
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            raw = stack.enter_context(socket.create_connection((address, own.port), timeout=PATIENCE))
            try:
                open_.append(stack.enter_context(blind().wrap_socket(raw)))
            except (ssl.SSLError, OSError):
                refused += 1
        assert 200 < len(open_) <= 256 and refused >= 44
        # This machine's own clients are not hindered.
        assert ask(own, blind()).status_code == 200


def test_garbage_where_a_handshake_should_be_hurts_nobody(own, own_file):
    for blob in (b"\x16", b"\x16\x03\x01\xff\xff" + os.urandom(200), b"\x16" * 70_000,
                 b"\x16\x03\x01\x00\x01\x01" * 20_000):
        with socket.create_connection(("127.0.0.1", own.port), timeout=5) as raw, contextlib.suppress(OSError):
            raw.sendall(blob)
            raw.shutdown(socket.SHUT_WR)
            raw.settimeout(15)
            while raw.recv(65536):
                pass
    assert ask(own, trusting(own_file)).status_code == 200


def test_hosts_of_a_swarm_find_each_other_where_clients_have_tls_too(swarm):
    one = swarm(2, config={"tls": {"enabled": True}})
    a, b = one.hosts
    a.hear("Quintaval", "talk")
    assert eventually("b has heard it too", lambda: b.context("talk"))
    assert a.state_of(b) == "alive" and b.state_of(a) == "alive"


def test_it_works_without_a_swarm(daemon):
    one = daemon(config={"tls": {"enabled": True}, "mcp": {"enabled": False}})
    assert ask(one, blind()).status_code == 200


# A certificate that was given


def test_a_given_certificate_is_shown_and_a_new_one_taken_when_its_files_change(daemon, authority, tmp_path):
    first, second = (authority.issue("/CN=localhost", f"server-{key}", key=key) for key in ("ec", "rsa"))
    current = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")

    def put(pair: Pair) -> None:
        for old, new in [(pair.certificate, current.certificate), (pair.key, current.key)]:
            draft = new.with_suffix(".new")
            shutil.copy(old, draft)
            draft.replace(new)

    def serial() -> str:
        with shown(one, trusting(authority.file)) as connection:
            return connection.getpeercert()["serialNumber"].lstrip("0")

    put(first)
    one = daemon(config=given(current))
    assert ask(one, trusting(authority.file)).status_code == 200
    assert serial() == first.facts("-serial").lstrip("0")
    put(second)
    eventually("the new certificate is shown", lambda: serial() == second.facts("-serial").lstrip("0"))
    # What cannot be used changes nothing, and is told.
    current.certificate.write_text("rubbish")
    trouble = eventually("the trouble is told", lambda: one.get("/v1/status").json()["tls"]["trouble"])
    assert "tls.cert" in trouble
    assert serial() == second.facts("-serial").lstrip("0")
    assert "tls.cert" in run(one, "status").stdout
    put(first)
    eventually("it is taken again", lambda: serial() == first.facts("-serial").lstrip("0"))
    assert one.get("/v1/status").json()["tls"]["trouble"] is None


@pytest.mark.parametrize("what, says", [
    ("no certificate file", "tls.cert"), ("no key file", "tls.key"), ("no PEM", "PEM"), ("another key", "made together"),
    ("a locked key", "openssl pkey"), ("cert without key", "tls.key"), ("required without", "tls.enabled"),
    ("clients without authority", "tls.client_ca"), ("authority that is none", "tls.client_ca"),
])
def test_bad_files_are_named_with_the_next_step(daemon, authority, server, tmp_path, what, says):
    other = authority.issue("/CN=other", "other")
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("this is no certificate\n")
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", str(server.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)],
        check=True, timeout=60)
    tls = {
        "no certificate file": {"cert": "/nonexistent.pem", "key": str(server.key)},
        "no key file": {"cert": str(server.certificate), "key": "/nonexistent.key"},
        "no PEM": {"cert": str(rubbish), "key": str(server.key)},
        "another key": {"cert": str(server.certificate), "key": str(other.key)},
        "a locked key": {"cert": str(server.certificate), "key": str(locked)},
        "cert without key": {"cert": str(server.certificate)},
        "required without": {"required": True},
        "clients without authority": {"enabled": True, "require_client_cert": True},
        "authority that is none": {"enabled": True, "client_ca": str(rubbish)},
    }[what]
    one = daemon(config={"tls": tls}, start=False)
    one.start(until=None)
    assert one.process.wait(30) == 78, one.logs()
    assert says in one.logs(), one.logs()


# Certificates of clients


@pytest.fixture(scope="module")
def people(authority) -> dict[str, Pair]:
    return {
        name: authority.issue(f"/O=Example/CN={name}", f"client-{name}", usage="clientAuth")
        for name in ("ann", "bob", "watcher")
    }


def test_a_certificate_of_the_authority_lets_a_client_in_under_its_name(daemon, authority, server, people):
    address = own_address()
    config = {**given(server, client_ca=authority.file), "auth": {"keys": [{"name": "ann", "key": KEY}]}}
    one = daemon(config=config, args=["--host", "0.0.0.0"])

    def by(client: Pair | None, path: str = "/v1/models", **options) -> httpx.Response:
        context = trusting(authority.file, client)
        context.check_hostname = False
        return ask(one, context, path, host=address, **options)

    assert by(None).status_code == 401
    assert by(people["ann"]).status_code == 200
    assert by(people["ann"], "/v1/admin/tokens").status_code == 403
    body = {**CHAT, "store": True}
    kept = by(people["ann"], "/v1/chat/completions", method="POST", json=body, headers={"x-conversation-id": "talk"})
    assert kept.status_code == 200
    assert by(people["ann"], "/v1/mcp/contexts/talk").status_code == 200
    assert by(people["bob"], "/v1/mcp/contexts/talk").status_code == 404
    # The same over a session of TLS that is taken up again.
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(authority.file, people["ann"])
        context.maximum_version = version
        session = None
        for _ in range(2):
            raw = socket.create_connection((address, one.port), timeout=PATIENCE)
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as connection:
                connection.sendall(f"GET /v1/mcp/contexts/talk HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
                session = connection.session
    # A wrong key beside it is a wrong key.
    assert by(people["ann"], headers={"x-api-key": "wrong-key"}).status_code == 401


def test_listed_certificates_may_what_the_list_says(daemon, authority, server, people):
    address = own_address()
    clients = [
        {"name": "overseer", "subject": "CN=watcher,O=Example", "scopes": ["read"]},
        {"name": "boss", "fingerprint": people["bob"].fingerprint, "scopes": ["admin"]},
    ]
    one = daemon(config=given(server, client_ca=authority.file, clients=clients), args=["--host", "0.0.0.0"])

    def statuses(client: Pair) -> list[int]:
        context = trusting(authority.file, client)
        context.check_hostname = False
        paths = ["/v1/models", "/v1/mcp/contexts", "/v1/status", "/v1/admin/audit"]
        return [ask(one, context, path, host=address).status_code for path in paths]

    assert statuses(people["watcher"]) == [200, 403, 200, 403]
    assert statuses(people["bob"]) == [200, 200, 200, 200]
    assert statuses(people["ann"]) == [401] * 4
    # Who is who stands in the audit log.
    short = "crt_" + people["watcher"].fingerprint.replace(":", "").lower()[:12]
    eventually("the refusal is in the audit log", lambda: any(
        entry["token"] == short and entry["status"] == 403 for entry in one.get("/v1/admin/audit").json()["data"]))


def test_a_certificate_of_another_authority_ends_the_handshake(daemon, authority, server, tmp_path):
    one = daemon(config=given(server, client_ca=authority.file))
    stranger = Authority(tmp_path / "strange", "Another").issue("/CN=ann", "ann", usage="clientAuth")
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        ask(one, trusting(authority.file, stranger))
    # A server's certificate is no client's.
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        ask(one, trusting(authority.file, authority.issue("/CN=ann", "wrong-use", usage="serverAuth")))


def test_where_certificates_are_required_nobody_speaks_without_one(daemon, authority, server, people):
    address = own_address()
    config = {**given(server, client_ca=authority.file, require_client_cert=True),
              "auth": {"keys": [{"name": "ann", "key": KEY}]}}
    one = daemon(config=config, args=["--host", "0.0.0.0"])
    assert ask(one, trusting(authority.file, people["ann"])).status_code == 200
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        ask(one, trusting(authority.file))
    # Neither over plain HTTP, but from the machine itself.
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        refused = client.get(f"http://{address}:{one.port}/v1/models", headers={"x-api-key": KEY})
    assert refused.status_code == 403 and "https://" in refused.json()["error"]["message"]
    assert one.get("/v1/models").status_code == 200


# Without TLS


def test_where_tls_is_required_a_plain_request_of_another_machine_is_told_so(daemon):
    address = own_address()
    config = {"tls": {"enabled": True, "required": True}, "auth": {"keys": [{"name": "ann", "key": KEY}]}}
    one = daemon(config=config, args=["--host", "0.0.0.0"])
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        for headers in ({"x-api-key": KEY}, {}):
            for path in ("/v1/models", "/v1/status", "/", "/livez", "/nowhere"):
                refused = client.get(f"http://{address}:{one.port}{path}", headers=headers)
                assert refused.status_code == 403, path
                assert "https://" in refused.json()["error"]["message"]
        assert client.get(f"http://127.0.0.1:{one.port}/v1/models").status_code == 200
    assert ask(one, blind(), host=address, headers={"x-api-key": KEY}).status_code == 200
    assert ask(one, blind(), host=address).status_code == 401


# What others say of it


@pytest.mark.timeout(400)
def test_testssl_finds_nothing_bad(own, own_file, tmp_path, root):
    # As scripts/get-testssl puts it, or as the system has it.
    tools = root / ".tools/testssl"
    environment = {**os.environ, "PATH": f"{tools}/usr/bin:{os.environ['PATH']}"}
    if tools.is_dir():
        environment["TESTSSL_INSTALL_DIR"] = f"{tools}/etc/testssl"
    program = shutil.which("testssl", path=environment["PATH"]) or shutil.which("testssl.sh")
    if not program:
        pytest.skip("testssl.sh is not there (scripts/get-testssl .tools/testssl)")
    report = tmp_path / "report.json"
    subprocess.run(
        [program, "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--nodns", "none", "--add-ca",
         str(own_file), "--jsonfile", str(report), f"https://localhost:{own.port}"], env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=900)
    findings = json.loads(report.read_text())
    assert len(findings) > 100
    # That nobody vouches for a certificate of the host's own making, and nobody can revoke it, is what it is.
    expected = {"cert_trust", "cert_chain_of_trust", "cert_revocation"}
    bad = [one for one in findings if one["severity"] in ("HIGH", "CRITICAL", "FATAL") and one["id"] not in expected]
    assert not bad, bad
