"""The Conversations API, stored completions, completions and embeddings, with the real openai package."""

import gzip

import httpx
import openai
import pytest

from daemon import ECHO, eventually
from swarm import MODEL


@pytest.fixture
def echo(daemon):
    return daemon(models=[{**ECHO, "aliases": ["phi3"]}])


def texts(client, conversation):
    items = client.conversations.items.list(conversation.id, order="asc").data
    return [item.content[0].text for item in items if item.type == "message"]


def test_a_conversation_is_filled_continued_and_emptied(echo):
    client = echo.client()
    conversation = client.conversations.create(
        metadata={"topic": "demo"},
        items=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}])
    assert conversation.id.startswith("conv_") and conversation.metadata == {"topic": "demo"}
    response = client.responses.create(model="phi3", input="and now?", conversation=conversation.id)
    assert response.output_text == "3: hi | and now?" and response.conversation.id == conversation.id
    assert texts(client, conversation) == ["hi", "hello", "and now?", "3: hi | and now?"]

    items = client.conversations.items.list(conversation.id, order="asc").data
    assert items[3].id == response.output[0].id
    assert client.conversations.items.retrieve(items[0].id, conversation_id=conversation.id).content[0].text == "hi"
    client.conversations.items.delete(items[2].id, conversation_id=conversation.id)
    assert "and now?" not in texts(client, conversation)
    added = client.conversations.items.create(
        conversation.id,
        items=[
            {"role": "user", "content": "rain?"},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        ])
    assert [item.type for item in added.data] == ["message", "function_call", "function_call_output"]
    assert client.conversations.update(conversation.id, metadata={"topic": "new"}).metadata == {"topic": "new"}

    echo.kill9()
    client = echo.start().client()
    again = client.conversations.retrieve(conversation.id)
    assert again.metadata == {"topic": "new"} and again.created_at == conversation.created_at
    pages = list(client.conversations.items.list(conversation.id, order="asc", limit=2))
    assert [item.type for item in pages] == [
        "message", "message", "message", "message", "function_call", "function_call_output"]
    client.conversations.delete(conversation.id)
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(conversation.id)


def test_a_conversation_is_the_same_in_every_dialect_and_on_every_host(swarm):
    a, b = swarm(2, models=[MODEL]).hosts
    conversation = a.client().conversations.create(metadata={"a": "b"})
    a.client().chat.completions.create(
        model="phi3", messages=[{"role": "user", "content": "from chat"}],
        extra_body={"conversation": conversation.id})
    other = b.client()
    eventually("two turns on b", lambda: len(turns(other, conversation.id)) == 2, within=5)
    a.kill9()
    assert other.conversations.retrieve(conversation.id).metadata == {"a": "b"}
    response = other.responses.create(model="phi3", input="from responses", conversation=conversation.id)
    assert response.output_text == "3: from chat | from responses"


def turns(client, identifier):
    try:
        return client.conversations.items.list(identifier).data
    except openai.NotFoundError:
        return []


def test_unknown_conversations_and_items_are_404(echo):
    client = echo.client()
    for attempt in (
        lambda: client.conversations.retrieve("conv_none"),
        lambda: client.conversations.items.list("conv_none"),
        lambda: client.responses.create(model="phi3", input="x", conversation="conv_none"),
        lambda: client.conversations.items.retrieve("msg_none", conversation_id=client.conversations.create().id),
    ):
        with pytest.raises(openai.NotFoundError):
            attempt()
    with pytest.raises(openai.BadRequestError):
        client.conversations.create(metadata={"k" * 65: "v"})


def test_stored_completions_are_listed_fetched_and_deleted(echo):
    client = echo.client()
    kept = [
        client.chat.completions.create(
            model="phi3", messages=[{"role": "user", "content": text}], store=True, metadata={"run": run})
        for text, run in (("one", "a"), ("two", "b"), ("one", "b"))
    ]
    unkept = client.chat.completions.create(model="phi3", messages=[{"role": "user", "content": "three"}])
    assert len({completion.id for completion in kept}) == 3
    assert [c.id for c in client.chat.completions.list()] == [c.id for c in kept]
    assert [c.id for c in client.chat.completions.list(metadata={"run": "b"})] == [kept[1].id, kept[2].id]
    echo.kill9()
    client = echo.start().client()
    again = client.chat.completions.retrieve(kept[0].id)
    assert again.choices[0].message.content == kept[0].choices[0].message.content
    assert again.created == kept[0].created and again.usage == kept[0].usage
    messages = client.chat.completions.messages.list(kept[0].id).data
    assert messages[-1].content == "one"
    changed = client.chat.completions.update(kept[0].id, metadata={"run": "c"})
    assert changed.metadata == {"run": "c"} and changed.choices == again.choices
    assert [c.id for c in client.chat.completions.list(metadata={"run": "c"})] == [kept[0].id]
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.update(kept[0].id, metadata={"run": "x" * 600})
    assert error.value.param == "metadata"
    client.chat.completions.delete(kept[0].id)
    for identifier in (kept[0].id, unkept.id):
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.retrieve(identifier)


def test_what_the_engine_cannot_do_is_refused_by_name(echo):
    client = echo.client()
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model="phi3", prompt="Once")
    assert error.value.param == "prompt"
    for more, field in (({"echo": True}, "echo"), ({"suffix": "x"}, "suffix"), ({"logprobs": 2}, "logprobs")):
        with pytest.raises(openai.BadRequestError) as error:
            client.completions.create(model="phi3", prompt="Once", **more)
        assert error.value.param == field
    with pytest.raises(openai.BadRequestError) as error:
        client.embeddings.create(model="phi3", input="text")
    assert error.value.param == "model"
    with pytest.raises(openai.BadRequestError) as error:
        client.embeddings.create(model="phi3", input=["text", ""])
    assert error.value.param == "input"


def test_the_built_in_model_goes_on_from_raw_text(daemon):
    client = daemon().client()
    prompt = "<|user|>\nRemember: my name is Bob<|end|>\n<|assistant|>\n"
    reply = client.completions.create(model="phi3", prompt=prompt, max_tokens=64)
    assert reply.choices[0].text == "I will remember that your name is Bob" and reply.choices[0].finish_reason == "stop"
    # Control words are one token each; OpenAI's own bound is 16 tokens.
    assert reply.usage.prompt_tokens == 4 + 24 + 2
    chunks = list(client.completions.create(model="phi3", prompt=[prompt], stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "I will remember "
    assert chunks[-1].choices[0].finish_reason == "length"
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model="phi3", prompt="x" * 2_048)
    assert error.value.param == "prompt"


def zstd_raw(data):
    """A zstd frame with one block that is not packed (RFC 8878)."""
    return (
        bytes.fromhex("28b52ffd") + bytes([0xA0]) + len(data).to_bytes(4, "little")
        + ((len(data) << 3) | 1).to_bytes(3, "little") + data)


def test_packed_bodies_are_unpacked_within_their_bounds(echo):
    body = b'{"model":"phi3","input":"hello"}'

    def post(coding, data):
        return httpx.post(
            f"{echo.url}/v1/responses", content=data, headers={"Content-Encoding": coding}, timeout=30)

    for coding, packed in (("gzip", gzip.compress(body)), ("zstd", zstd_raw(body))):
        reply = post(coding, packed)
        assert reply.status_code == 200, reply.text
        assert reply.json()["output"][0]["content"][0]["text"] == "1: hello"
        for broken in (packed[:-3], packed + b"x", b"", body):
            assert post(coding, broken).status_code == 400, (coding, broken)
    assert post("gzip", gzip.compress(b"0" * 200_000_000)).status_code == 413
    assert post("br", body).status_code == 415
