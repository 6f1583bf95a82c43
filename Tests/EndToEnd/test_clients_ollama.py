"""Ollama's dialect through Ollama's own library, on a host of a swarm, with either engine."""

import asyncio

import ollama
import pytest

from daemon import ECHO, eventually

REMEMBER = [{"role": "user", "content": "Remember: my name is Alice"}]
ANSWER = "I will remember that your name is Alice"


@pytest.fixture(scope="module")
def shared(pair):
    return pair.hosts[0]


def client(shared, conversation):
    return ollama.Client(host=shared.url, headers={"X-Conversation-Id": conversation}, timeout=30)


def test_a_chat_is_answered_whole(shared):
    reply = client(shared, "whole").chat("phi3", REMEMBER)
    assert (reply.model, reply.message.role, reply.message.content) == ("phi3", "assistant", ANSWER)
    assert reply.done and reply.done_reason == "stop"
    assert reply.prompt_eval_count > 0 and reply.eval_count > 0
    assert reply.total_duration >= reply.prompt_eval_duration > 0 and reply.eval_duration >= 0
    assert reply.created_at.endswith("Z")


def test_a_chat_is_streamed_line_by_line(shared):
    parts = list(client(shared, "streamed").chat("phi3", REMEMBER, stream=True))
    assert len(parts) > 1 and "".join(part.message.content for part in parts) == ANSWER
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_generate_is_answered_whole_and_streamed(shared):
    one = client(shared, "generated")
    assert one.generate("echo", "hello", system="be brief").response == "2: hello"
    parts = list(one.generate("echo", "again", stream=True))
    assert "".join(part.response for part in parts).endswith("hello | again")


def test_the_asynchronous_client_is_answered_too(shared):
    async def run():
        one = ollama.AsyncClient(host=shared.url, headers={"X-Conversation-Id": "async"})
        return [part.message.content async for part in await one.chat("phi3", REMEMBER, stream=True)]

    assert "".join(asyncio.run(run())) == ANSWER


def test_options_bound_the_answer(shared):
    reply = client(shared, "short").chat("phi3", REMEMBER, options={"num_predict": 4, "temperature": 0, "num_ctx": 9})
    assert reply.done_reason == "length" and reply.eval_count == 4


def test_a_name_may_carry_the_tag_that_ollama_adds(shared):
    assert client(shared, "tag").chat("echo:latest", [{"role": "user", "content": "x"}]).model == "echo:latest"


def test_what_there_is_and_what_runs(shared):
    one = ollama.Client(host=shared.url)
    # The digest takes as long as reading the file.
    eventually("a digest", lambda: one.list().models[0].digest)
    listed = {model.model: model for model in one.list().models}
    assert set(listed) == {"igris-recall", "phi3", "echo"}
    assert len(listed["phi3"].digest) == 64 and listed["phi3"].size > 900_000
    assert listed["phi3"].details.quantization_level == "Q8_0" and listed["phi3"].details.family == "llama"
    assert {model.model for model in one.ps().models} == {"igris-recall", "echo"}
    shown = one.show("phi3")
    assert shown.modelinfo["llama.context_length"] == 2048 and shown.capabilities[0] == "completion"


def test_a_request_without_messages_only_asks_for_the_model(shared):
    one = ollama.Client(host=shared.url)
    assert one.generate("phi3", keep_alive="5m").done_reason == "load"
    assert one.generate("phi3", keep_alive=0).done_reason == "unload"


def test_what_a_tool_gave_back_is_read_by_an_engine_that_knows_no_tools(shared):
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]},
        {"role": "tool", "content": "sun", "tool_name": "weather"},
    ]
    reply = ollama.Client(host=shared.url).chat("echo", messages)
    assert reply.message.content.startswith("3: weather? | [the tool gave back]")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("options.temperature", {"options": {"temperature": 9.0}}), ("keep_alive", {"keep_alive": "soon"}),
        ("response_format", {"format": "json"}),
        ("tools", {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}),
        ("images", {"messages": [{"role": "user", "content": "x", "images": [b"png"]}]}),
    ],
)
def test_a_wrong_field_is_a_400_that_names_it(shared, field, fields):
    with pytest.raises(ollama.ResponseError) as refusal:
        ollama.Client(host=shared.url).chat(**{"model": "echo", "messages": REMEMBER, **fields})
    assert refusal.value.status_code == 400 and field in refusal.value.error


def test_an_unknown_model_is_a_404_that_lists_what_there_is(shared):
    for call in (lambda one: one.chat("gpt-9", REMEMBER), lambda one: one.show("gpt-9")):
        with pytest.raises(ollama.ResponseError) as refusal:
            call(ollama.Client(host=shared.url))
        assert refusal.value.status_code == 404 and "igris-recall" in refusal.value.error


def test_a_key_is_taken_as_ollama_sends_it(daemon, monkeypatch):
    guarded = daemon(config={"auth": {"keys": [{"name": "ann", "key": "k" * 32}]}}, models=[ECHO])
    question = [{"role": "user", "content": "x"}]
    monkeypatch.setenv("OLLAMA_API_KEY", "k" * 32)
    assert ollama.Client(host=guarded.url).chat("echo", question).message.content == "1: x"
    monkeypatch.setenv("OLLAMA_API_KEY", "wrong")
    with pytest.raises(ollama.ResponseError) as refusal:
        ollama.Client(host=guarded.url).chat("echo", question)
    assert refusal.value.status_code == 401 and "key" in refusal.value.error


def test_an_engine_without_embeddings_says_so(shared):
    for call in (lambda one: one.embed("echo", ["a"]), lambda one: one.embeddings("echo", "a")):
        with pytest.raises(ollama.ResponseError) as refusal:
            call(ollama.Client(host=shared.url))
        assert refusal.value.status_code == 400 and "embeddings" in refusal.value.error


def test_clients_change_no_models(shared):
    one = ollama.Client(host=shared.url)
    for call in (lambda: one.pull("x"), lambda: one.delete("phi3"), lambda: one.copy("phi3", "y"), lambda: one.push("x")):
        with pytest.raises(ollama.ResponseError) as refusal:
            call()
        assert refusal.value.status_code == 405 and "config.json5" in refusal.value.error
    assert one.show("phi3").capabilities
