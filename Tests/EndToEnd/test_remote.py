"""A daemon whose model is another server of the OpenAI API: kind `remote`, here another daemon of ours or a script."""

import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator

import openai
import pytest

from daemon import Daemon, eventually, recall

KEY = "upstream-key-4711"
REMEMBER = [
    {"role": "user", "content": "Remember: my name is Alice"},
    {"role": "assistant", "content": "I will remember that your name is Alice"},
    {"role": "user", "content": "What is my name?"},
]


def remote(upstream: Daemon, **model) -> dict:
    return {
        "name": "office", "engine": "remote", "url": f"{upstream.url}/v1", "api_key": "${OFFICE_KEY}",
        "remote_model": "igris-recall", "context": 2048, **model,
    }


def complete(client: openai.OpenAI, messages=REMEMBER, **fields):
    return client.chat.completions.create(model="office", messages=messages, **{"temperature": 0, **fields})


@pytest.fixture
def upstream(daemon) -> Daemon:
    return daemon(models=[recall(pace=200)], home="upstream")


@pytest.fixture
def one(daemon, upstream) -> Daemon:
    return daemon(models=[remote(upstream)], env={"OFFICE_KEY": KEY})


def test_it_answers_streams_and_counts_as_the_upstream_does(one, upstream):
    direct = upstream.client().chat.completions.create(
        model="igris-recall", messages=REMEMBER, temperature=0, extra_body={"store": False})
    reply = complete(one.client())
    assert reply.model == "office"
    assert reply.choices[0].message.content == direct.choices[0].message.content == "Your name is Alice"
    assert reply.usage.prompt_tokens == direct.usage.prompt_tokens
    assert reply.usage.completion_tokens == direct.usage.completion_tokens
    chunks = list(complete(one.client(), stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Your name is Alice"
    stopped = complete(one.client(), stop=[" is"]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("Your name", "stop")
    assert complete(one.client(), max_tokens=5).choices[0].finish_reason == "length"


def test_the_conversation_is_kept_here_and_not_there(one, upstream):
    client = one.client()
    assert complete(client, REMEMBER[:1]).choices[0].message.content == "I will remember that your name is Alice"
    assert complete(client, REMEMBER[2:]).choices[0].message.content == "Your name is Alice"
    assert upstream.get("/v1/mcp/contexts").json()["data"] == []


def test_what_the_upstream_refuses_is_refused_with_its_name(daemon, upstream):
    one = daemon(
        models=[remote(upstream, remote_model="nothing", capabilities=["logprobs"])], env={"OFFICE_KEY": KEY})
    with pytest.raises(openai.APIStatusError) as caught:
        complete(one.client())
    assert f"127.0.0.1:{upstream.port}" in caught.value.message and "remote_model" in caught.value.message
    with pytest.raises(openai.BadRequestError) as caught:
        complete(one.client(), tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
    assert caught.value.param == "tools"
    assert KEY not in one.logs()


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers with `deltas`; keeps what it was asked."""

    deltas: list[dict] = []
    # Fields that it does not know, and says so as OpenAI does.
    refused: list[str] = []
    asked: list[tuple[dict, str]] = []

    def do_GET(self):
        self.send_error(404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append((body, self.headers["authorization"]))
        if field := next((field for field in self.refused if field in body), None):
            error = {"message": f"Unsupported parameter: '{field}'", "type": "invalid_request_error", "param": field}
            data = json.dumps({"error": error}).encode()
            self.send_response(400)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for delta in self.deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 5}}
        self.wfile.write(f"data: {json.dumps({'choices': [end], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted() -> Iterator[str]:
    Scripted.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_tool_calls_and_thoughts_pass_through_and_the_key_is_the_upstreams_alone(daemon, scripted):
    def call(index, arguments, **start):
        function = {"arguments": arguments, **({"name": start["name"]} if start else {})}
        return {"tool_calls": [{"index": index, "function": function, **({"id": start["id"]} if start else {})}]}

    Scripted.deltas = [
        {"role": "assistant", "content": None}, {"reasoning_content": "Let me see."},
        call(0, "", id="c1", name="weather"), call(0, '{"city":'), call(0, '"Bern"}'),
        call(1, "{}", id="c2", name="clock"),
    ]
    model = {"name": "office", "engine": "remote", "url": scripted, "api_key": "${OFFICE_KEY}", "remote_model": "big"}
    one = daemon(models=[model], env={"OFFICE_KEY": KEY})
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
             for name in ("weather", "clock")]
    question = [{"role": "user", "content": "Weather and time?"}]
    reply = complete(one.client(), question, tools=tools, tool_choice="required", parallel_tool_calls=True)
    choice = reply.choices[0]
    assert [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [
        ("c1", "weather", '{"city":"Bern"}'), ("c2", "clock", "{}")]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.reasoning_content == "Let me see."
    assert (reply.usage.prompt_tokens, reply.usage.prompt_tokens_details.cached_tokens) == (11, 5)
    body, authorization = Scripted.asked[0]
    assert authorization == f"Bearer {KEY}"
    assert body["model"] == "big" and body["tool_choice"] == "required" and body["parallel_tool_calls"] is True
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather", "clock"]
    # What the tools gave back goes on its way with the calls that asked for it.
    Scripted.deltas = [{"content": "Sunny."}]
    results = [{"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in choice.message.tool_calls]
    history = question + [choice.message.model_dump(exclude_none=True)] + results
    assert complete(one.client(), history, tools=tools).choices[0].message.content == "Sunny."
    sent = Scripted.asked[1][0]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["c1", "c2"] == [m["tool_call_id"] for m in sent[2:]]
    assert KEY not in one.logs()


def test_an_upstream_behind_https_is_trusted_by_its_own_authority_alone(daemon, scripted, tmp_path):
    """`ca_file`: the machine does not know this authority."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("office", "stranger"):
        openssl("req", "-x509", *curve, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=upstream")
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        "x509", "-req", "-in", "server.csr", "-CA", "office.pem", "-CAkey", "office.key", "-out", "server.pem",
        "-extfile", "names")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    Scripted.deltas = [{"content": "Behind TLS."}]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        model = {"engine": "remote", "url": f"https://127.0.0.1:{server.server_port}/v1", "api_key": "${OFFICE_KEY}"}
        one = daemon(env={"OFFICE_KEY": KEY}, models=[
            {**model, "name": "office", "ca_file": str(tmp_path / "office.pem")},
            {**model, "name": "machine"}, {**model, "name": "other", "ca_file": str(tmp_path / "stranger.pem")},
            {**model, "name": "none", "ca_file": str(tmp_path / "names")},
        ])
        assert complete(one.client()).choices[0].message.content == "Behind TLS."
        for name in ("machine", "other", "none"):
            with pytest.raises(openai.APIStatusError) as caught:
                one.client().chat.completions.create(model=name, messages=REMEMBER)
            assert caught.value.status_code in (500, 503)
            assert ("ca_file" in caught.value.message) == (name == "none")
        # The key went nowhere else.
        assert [authorization for _, authorization in Scripted.asked] == [f"Bearer {KEY}"]
        server.shutdown()


def test_a_strict_upstream_is_asked_as_it_wants(daemon, scripted):
    Scripted.deltas, Scripted.refused = [{"content": "Well asked."}], ["max_tokens", "store"]
    model = {"name": "office", "engine": "remote", "url": scripted}
    one = daemon(models=[model])
    try:
        for _ in range(2):
            assert complete(one.client(), max_tokens=9).choices[0].message.content == "Well asked."
    finally:
        Scripted.refused = []
    bodies = [body for body, _ in Scripted.asked]
    assert len(bodies) == 4 and bodies[0]["max_tokens"] == 9 and bodies[0]["store"] is False
    assert bodies[3]["max_completion_tokens"] == 9 and "store" not in bodies[3] and "max_tokens" not in bodies[3]


def test_a_client_that_vanishes_ends_the_work_at_the_upstream(daemon):
    upstream = daemon(models=[recall(pace=5)], home="slow")
    one = daemon(models=[remote(upstream)], env={"OFFICE_KEY": KEY})
    stream = complete(one.client(), stream=True)
    next(iter(stream))
    assert upstream.running() == 1
    stream.close()
    eventually("the upstream is idle", lambda: upstream.running() == 0, within=5)
    eventually("so is this one", lambda: one.running() == 0, within=5)


def test_an_upstream_that_is_gone_is_named_and_found_again(one, upstream):
    complete(one.client())
    upstream.kill9()
    with pytest.raises(openai.APIStatusError) as caught:
        complete(one.client())
    assert caught.value.status_code == 503
    assert f"127.0.0.1:{upstream.port}" in caught.value.message
    assert one.status_model("office")["state"] == "restarting"
    upstream.start()
    eventually("it is noticed", lambda: one.status_model("office")["state"] == "ready", within=15)
    assert complete(one.client()).choices[0].message.content == "Your name is Alice"
