"""litellm as a client of a swarm of two hosts, with either engine: as of OpenAI, of Anthropic and of Ollama."""

import pytest

TELL = [{"role": "user", "content": "Remember: my name is Alice"}]
TOLD = "I will remember that your name is Alice"
ASK = [{"role": "user", "content": "What is my name?"}]
KNOWN = "Your name is Alice"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def options(host, provider, conversation, model="phi3"):
    base = host.url + ("/v1" if provider == "openai" else "")
    return {
        "model": f"{provider}/{model}", "api_base": base, "api_key": "unused", "num_retries": 0, "timeout": 30,
        "extra_headers": {"X-Conversation-Id": conversation},
    }


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama_chat"])
def test_a_conversation_goes_on_streamed_on_the_other_host(litellm, pair, provider):
    one, other = pair.hosts
    name = f"litellm-{provider}"
    told = litellm("completion", messages=TELL, **options(one, provider, name))
    assert told["result"]["choices"][0]["message"]["content"] == TOLD, told
    assert told["result"]["usage"]["completion_tokens"] > 0
    pair.equal()
    asked = litellm("completion", messages=ASK, stream=True, **options(other, provider, name))
    pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in asked["result"] if chunk["choices"]]
    assert "".join(pieces) == KNOWN


def test_a_history_is_recognised(litellm, pair):
    history = [*TELL, {"role": "assistant", "content": TOLD}, *ASK]
    for host in pair.hosts:
        reply = litellm("completion", messages=history, **options(host, "openai", "litellm-history"))
        assert reply["result"]["choices"][0]["message"]["content"] == KNOWN


def test_responses_are_asked_for(litellm, pair):
    reply = litellm("responses", input="Remember: my name is Alice", **options(pair.hosts[0], "openai", "litellm-resp"))
    assert reply["result"]["output"][-1]["content"][0]["text"] == TOLD


def test_errors_are_what_litellm_takes_them_for(litellm, pair):
    host = pair.hosts[0]
    for provider in ("openai", "anthropic"):
        unknown = litellm("completion", messages=TELL, **options(host, provider, "x", model="gpt-99"))
        assert unknown["error"] == "NotFoundError" and "igris-recall" in unknown["message"]
        refused = litellm("completion", messages=TELL, tools=[TOOL], **options(host, provider, "x", model="echo"))
        assert refused["error"] == "BadRequestError" and "tools" in refused["message"]


def test_the_asynchronous_call_and_a_bound(litellm, pair):
    reply = litellm("acompletion", messages=TELL, max_tokens=4, **options(pair.hosts[0], "openai", "litellm-async"))
    assert reply["result"]["choices"][0]["finish_reason"] == "length"
    assert reply["result"]["usage"]["completion_tokens"] == 4


def test_what_a_tool_gave_back_is_read_by_an_engine_that_knows_no_tools(litellm, pair):
    function = {"name": "weather", "arguments": "{}"}
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "t1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "t1", "content": "sun"},
    ]
    # Of Anthropic it asks by itself that tools be offered again.
    reply = litellm("completion", messages=messages, **options(pair.hosts[0], "openai", "litellm-tool", "echo"))
    assert reply["result"]["choices"][0]["message"]["content"].startswith("3: weather? | [the tool gave back]")
