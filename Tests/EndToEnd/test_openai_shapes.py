"""Every object of the OpenAI dialect has the published shape: checked against the models of the openai package, which
were made from OpenAI's description. (The library itself checks nothing when it reads a reply.)"""

import httpx
import pytest
from openai.types import CompletionUsage, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionDeleted
from openai.types.conversations import Conversation, ConversationDeletedResource, ConversationItem, ConversationItemList
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from openai.types.responses.input_token_count_response import InputTokenCountResponse
from pydantic import TypeAdapter

from daemon import ECHO

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def ask(daemon):
    one = daemon(models=[{**ECHO, "aliases": ["phi3"]}])

    def ask(method, path, shape=None, **body):
        reply = httpx.request(method, f"{one.url}/v1/{path}", json=body or None, timeout=30)
        assert reply.status_code == 200, reply.text
        return TypeAdapter(shape).validate_python(reply.json()) if shape else reply

    return ask


def events(reply):
    """The data of each event of a stream."""
    return [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")]


def test_chat_completions(ask):
    whole = ask("POST", "chat/completions", ChatCompletion, model="phi3", messages=HELLO, store=True, metadata={"a": "b"})
    ask("GET", f"chat/completions/{whole.id}", ChatCompletion)
    stream = ask(
        "POST", "chat/completions", model="phi3", messages=HELLO, stream=True, stream_options={"include_usage": True})
    chunks = [TypeAdapter(ChatCompletionChunk).validate_json(event) for event in events(stream)]
    assert len({chunk.id for chunk in chunks}) == 1 and isinstance(chunks[-1].usage, CompletionUsage)
    ask("DELETE", f"chat/completions/{whole.id}", ChatCompletionDeleted)
    assert ask("GET", "chat/completions").json()["data"] == []


def test_responses(ask):
    whole = ask("POST", "responses", Response, model="phi3", input="hello", metadata={"a": "b"}, tools=[])
    assert ask("GET", f"responses/{whole.id}", Response) == whole
    cut = ask("POST", "responses", Response, model="phi3", input="hello", max_output_tokens=2)
    assert cut.status == "incomplete" and cut.incomplete_details.reason == "max_output_tokens"
    stream = ask("POST", "responses", model="phi3", input="hello", stream=True)
    kinds = [TypeAdapter(ResponseStreamEvent).validate_json(event).type for event in events(stream)]
    assert kinds[-1] == "response.completed" and "response.output_text.delta" in kinds
    for item in ask("GET", f"responses/{whole.id}/input_items").json()["data"]:
        TypeAdapter(ResponseItem).validate_python(item)
    ask("POST", "responses/input_tokens", InputTokenCountResponse, model="phi3", input="hello")
    queued = ask("POST", "responses", Response, model="phi3", input="hello", background=True)
    assert queued.status == "queued"
    assert ask("DELETE", f"responses/{whole.id}").json() == {"id": whole.id, "object": "response", "deleted": True}


def test_conversations(ask):
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "x"}
    made = ask("POST", "conversations", Conversation, metadata={"a": "b"}, items=[*HELLO, call, result])
    assert ask("GET", f"conversations/{made.id}", Conversation) == made
    ask("POST", "responses", Response, model="phi3", input="go on", conversation=made.id)
    items = ask("GET", f"conversations/{made.id}/items?order=asc", ConversationItemList)
    assert [item.type for item in items.data] == [
        "message", "function_call", "function_call_output", "message", "message"]
    ask("GET", f"conversations/{made.id}/items/{items.first_id}", ConversationItem)
    ask("DELETE", f"conversations/{made.id}/items/{items.first_id}", Conversation)
    ask("DELETE", f"conversations/{made.id}", ConversationDeletedResource)


def test_models(ask):
    for model in ask("GET", "models").json()["data"]:
        TypeAdapter(Model).validate_python(model)
