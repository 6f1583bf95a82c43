"""docs/engine-protocol.md from outside: an engine in twenty lines, and engines that misbehave."""

import json
import subprocess
import sys

import httpx
import pytest

from daemon import eventually, recall

# All that an engine needs: it answers with the last message in capital letters, one word at a time.
SHOUT = """
import json, sys

def emit(**event):
    print(json.dumps(event), flush=True)

emit(event="ready", protocol=1, context=4096, fingerprint="shout-1", slots=1,
     tokens={"per_byte": 1, "per_message": 1, "fixed": 1, "exact": True}, sampling=["temperature"])
for line in sys.stdin:
    request = json.loads(line)
    if request["op"] != "generate":
        continue
    words = request["messages"][-1]["content"].upper().split(" ")[:request["max_tokens"]]
    for index, word in enumerate(words):
        emit(event="text", id=request["id"], text=(" " if index else "") + word)
    emit(event="done", id=request["id"], reason="stop",
         prompt_tokens=len(line), completion_tokens=len(words))
"""


def model(tmp_path, source: str, *arguments: str, **fields):
    script = tmp_path / f"engine{len(list(tmp_path.glob('engine*.py')))}.py"
    script.write_text(source)
    command = [sys.executable, str(script), *arguments]
    return {"name": "shout", "engine": "stdio", "protocol": "jsonl", "command": command, **fields}


def test_an_engine_that_counts_absurdly_does_not_end_the_daemon(daemon, tmp_path):
    absurd = SHOUT.replace("prompt_tokens=len(line), completion_tokens=len(words)",
                           "prompt_tokens=2**63 - 1, completion_tokens=2**63 - 1, cached_tokens=2**62")
    one = daemon(models=[model(tmp_path, absurd)])
    for fields in ({}, {"n": 2}):
        assert one.post("hello", model="shout", store=False, **fields).status_code == 200
    assert one.get("/livez").status_code == 200


def test_what_an_engine_says_of_its_failure_is_not_logged(daemon, tmp_path):
    failing = SHOUT.replace("    words = ", "    emit(event='error', id=request['id'], code='failed', "
                            "message='cannot say ' + request['messages'][-1]['content'])\n    continue\n    words = ")
    one = daemon(models=[model(tmp_path, failing)], env={"IGRIS_LOG_LEVEL": "trace"})
    reply = one.post("zanzibar", model="shout", store=False)
    assert reply.status_code >= 500
    assert "zanzibar" not in reply.text and "zanzibar" not in one.logs()


def test_the_document_is_there_and_names_every_message(root):
    document = (root / "docs/engine-protocol.md").read_text()
    for word in ['"ready"', '"generate"', '"cancel"', '"text"', '"done"', '"error"', "max_tokens", "per_byte"]:
        assert word.strip('"') in document, word


def test_twenty_lines_of_python_are_an_engine(daemon, tmp_path):
    one = daemon(models=[model(tmp_path, SHOUT)])
    reply = one.post("hello wide world", model="shout", store=False)
    body = reply.json()
    assert body["choices"][0]["message"]["content"] == "HELLO WIDE WORLD"
    assert body["usage"]["completion_tokens"] == 3
    assert "shout-1" in body["system_fingerprint"]
    pieces = [
        chunk.choices[0].delta.content
        for chunk in one.client().chat.completions.create(
            model="shout", store=False, stream=True, messages=[{"role": "user", "content": "hello wide world"}])
    ]
    assert "".join(filter(None, pieces)) == "HELLO WIDE WORLD"
    # What it did not announce is refused by name; what it did announce is not.
    refused = one.post("hello", model="shout", store=False, top_p=0.5)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "top_p")
    assert one.post("hello", model="shout", store=False, temperature=0.5).status_code == 200


def test_the_built_in_engine_goes_on_behind_any_beginning_of_an_answer(binary):
    """`partial`: the same bytes, the same counts, the same end, greedy or by a seed."""
    engine = subprocess.Popen([str(binary), "engine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert "partial" in json.loads(engine.stdout.readline())["capabilities"]

    def answer(**fields) -> tuple[str, dict]:
        order = {"op": "generate", "id": "r1", "messages": [{"role": "user", "content": "Remember: my name is Zoë"}]}
        engine.stdin.write(json.dumps({**order, **fields}) + "\n")
        engine.stdin.flush()
        text = ""
        while (event := json.loads(engine.stdout.readline()))["event"] == "text":
            text += event["text"]
        return text, {key: event[key] for key in ("reason", "prompt_tokens", "completion_tokens")}

    try:
        for fields in ({"temperature": 0}, {"temperature": 0, "max_tokens": 17}, {"temperature": 0, "stop": ["name is"]},
                       {"temperature": 0.6, "seed": 11, "max_tokens": 60},
                       {"temperature": 0, "frequency_penalty": 1.5, "max_tokens": 60}):
            whole, end = answer(**fields)
            assert len(whole) > 10 and "\ufffd" not in whole, (fields, whole)
            for cut in range(1, len(whole) + 1):
                rest, rest_end = answer(**fields, partial=whole[:cut])
                assert (whole[:cut] + rest, rest_end) == (whole, end), (fields, cut)
        text, end = answer(max_tokens=3, partial="I will")
        assert (text, end["reason"], end["completion_tokens"]) == ("", "length", 6)
    finally:
        engine.stdin.close()
        assert engine.wait(5) == 0


def test_many_requests_share_one_process(daemon, tmp_path):
    one = daemon(models=[model(tmp_path, SHOUT)])
    one.ask("hello", model="shout")
    children = one.children()
    for number in range(20):
        assert one.ask(f"word{number}", model="shout", store=False) == f"WORD{number}"
    assert one.children() == children


# Writes on until it is told to stop, and notes what it was told.
ENDLESS = """
import json, select, sys, os

def emit(**event):
    os.write(1, (json.dumps(event) + "\\n").encode())

log = open(sys.argv[1], "a")
emit(event="ready", protocol=1, context=100000, slots=1, tokens={"per_byte": 1, "per_message": 0, "fixed": 0})
running, buffer = None, b""
while True:
    if select.select([0], [], [], 0.01 if running else None)[0]:
        data = os.read(0, 65536)
        if not data:
            break
        buffer += data
        *lines, buffer = buffer.split(b"\\n")
        for line in lines:
            request = json.loads(line)
            print(request["op"], file=log, flush=True)
            if request["op"] == "generate":
                running = request["id"]
            elif running == request["id"]:
                emit(event="done", id=running, reason="cancelled")
                running = None
    if running:
        emit(event="text", id=running, text="and ")
"""


def test_an_engine_is_told_when_the_client_leaves(daemon, tmp_path):
    log = tmp_path / "told"
    one = daemon(models=[model(tmp_path, ENDLESS, str(log))])
    body = {"model": "shout", "stream": True, "store": False, "messages": [{"role": "user", "content": "go"}]}
    for number in range(2):
        with httpx.stream("POST", f"{one.url}/v1/chat/completions", json=body, timeout=30) as reply:
            next(line for line in reply.iter_lines() if "and" in line)
        expected = ["generate", "cancel"] * (number + 1)
        eventually("the engine is told", lambda: log.read_text().split() == expected, within=5)
    assert len(one.children()) == 1


def misbehaving(action: str) -> str:
    return SHOUT.replace('    words = request', f'    {action}\n    words = request')


@pytest.mark.parametrize(
    "action",
    [
        "print('this is no message', flush=True); continue",
        "sys.exit(3)",
        "emit(event='error', id=request['id'], code='oops', message='it cannot'); continue",
        "emit(event='text', id=request['id'], text=5); continue",
        "sys.stdout.buffer.write(b'{\"event\":\"text\",\"id\":\\xff\\xfe}\\n'); sys.stdout.flush(); continue",
        "sys.stderr.write('x' * 10_000_000); sys.exit(1)",
    ],
    ids=["no message", "exits", "says error", "wrong type", "no UTF-8", "floods stderr"],
)
def test_a_misbehaving_engine_costs_its_own_request_and_nothing_else(daemon, tmp_path, action):
    one = daemon(models=[recall(), model(tmp_path, misbehaving(action))])
    reply = one.post("hello", model="shout", store=False)
    assert reply.status_code in (500, 502, 503), reply.text
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert str(tmp_path) not in reply.text
    assert one.ask("Remember: my name is Alice", store=False) == "I will remember that your name is Alice"


def test_an_unknown_event_and_an_unknown_id_are_passed_over(daemon, tmp_path):
    action = "emit(event='progress', percent=5); emit(event='text', id='someone-else', text='no')"
    one = daemon(models=[model(tmp_path, misbehaving(action))])
    assert one.ask("hello", model="shout", store=False) == "HELLO"


def test_a_prompt_is_never_on_the_command_line_or_in_the_environment_of_an_engine(daemon, tmp_path):
    one = daemon(models=[model(tmp_path, SHOUT)], env={"PLANTED_SECRET": "planted-value"})
    assert one.ask("planted-prompt", model="shout") == "PLANTED-PROMPT"
    [child] = one.children()
    for name in ("cmdline", "environ"):
        shown = open(f"/proc/{child}/{name}", "rb").read()
        assert b"planted" not in shown, json.dumps(shown.decode(errors="replace"))
