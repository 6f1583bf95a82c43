"""`/v1/messages` through Anthropic's own library, on a host of a swarm, with either engine."""

import asyncio

import anthropic
import pytest

from daemon import ECHO

REMEMBER = [{"role": "user", "content": "Remember: my name is Alice"}]
ANSWER = "I will remember that your name is Alice"
TOOL = {"name": "weather", "description": "Tells it", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def shared(pair):
    return pair.hosts[0]


@pytest.fixture(scope="module")
def client(shared):
    with anthropic.Anthropic(base_url=shared.url, api_key="unused", max_retries=0, timeout=30) as client:
        yield client


def create(client, messages=REMEMBER, model="phi3", **fields):
    return client.messages.create(model=model, max_tokens=64, messages=messages, **fields)


def conversation(name):
    return {"extra_headers": {"X-Conversation-Id": name}}


def test_a_message_is_answered_whole(client):
    message = create(client, **conversation("whole"))
    assert (message.type, message.role, message.model) == ("message", "assistant", "phi3")
    assert message.id.startswith("msg_")
    assert [(block.type, block.text) for block in message.content] == [("text", ANSWER)]
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0


def test_the_stream_helper_puts_the_same_message_together(client):
    with client.messages.stream(
        model="phi3", max_tokens=64, messages=REMEMBER, **conversation("streamed")
    ) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert "".join(pieces) == message.content[0].text == ANSWER
    assert message.stop_reason == "end_turn" and message.usage.output_tokens > 0


def test_the_events_of_a_stream_come_in_order(client):
    events = [event.type for event in create(client, stream=True, **conversation("events"))]
    assert events[0] == "message_start" and events[-2:] == ["message_delta", "message_stop"]
    assert events.count("content_block_start") == events.count("content_block_stop") == 1
    assert events.index("content_block_start") < events.index("content_block_delta")


def test_the_asynchronous_client_is_answered_too(shared):
    async def run():
        async with anthropic.AsyncAnthropic(base_url=shared.url, api_key="unused", max_retries=0) as client:
            messages = await asyncio.gather(*(create(client, **conversation(f"async-{n}")) for n in range(3)))
            return [message.content[0].text for message in messages]

    assert asyncio.run(run()) == [ANSWER] * 3


def test_max_tokens_ends_the_answer(client):
    message = client.messages.create(model="phi3", max_tokens=4, messages=REMEMBER, **conversation("short"))
    assert message.stop_reason == "max_tokens" and message.usage.output_tokens == 4


def test_the_string_that_ended_the_answer_is_told(client):
    options = {"stop_sequences": ["never", " your name"], **conversation("stopped")}
    message = create(client, **options)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", " your name")
    assert message.content[0].text == "I will remember that" and message.usage.output_tokens == len(
        "I will remember that your name")
    with client.messages.stream(model="phi3", max_tokens=64, messages=REMEMBER, **options) as stream:
        assert "".join(stream.text_stream) == "I will remember that"
        assert stream.get_final_message().stop_sequence == " your name"
    unstopped = create(client, stop_sequences=["never", "Alice?"], **conversation("unstopped"))
    assert (unstopped.stop_reason, unstopped.stop_sequence, unstopped.content[0].text) == ("end_turn", None, ANSWER)


def test_instructions_and_blocks_reach_the_model(client):
    content = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    message = create(client, [{"role": "user", "content": content}], "echo", system="be brief", **conversation("sys"))
    assert message.content[0].text == "2: one\ntwo"


def test_a_request_without_history_goes_on_where_the_caller_was(client):
    user = {"metadata": {"user_id": "somebody"}}
    create(client, **user)
    assert create(client, [{"role": "user", "content": "What is my name?"}], **user).content[0].text == (
        "Your name is Alice"
    )


def test_a_history_that_the_client_sends_is_recognised_and_kept_once(swarm):
    # Two hosts: a turn is acknowledged by the peer before this host's disk has it, and its history comes at once.
    shared = swarm(2, models=[ECHO]).hosts[0]
    client = anthropic.Anthropic(base_url=shared.url, api_key="unused", max_retries=0, timeout=30)
    history = [{"role": "user", "content": "first"}]
    ids = set()
    for text in ("second", "third"):
        raw = client.messages.with_raw_response.create(
            model="echo", max_tokens=64, messages=history, **({} if len(history) > 1 else conversation("managed"))
        )
        ids.add(raw.headers["x-conversation-id"])
        history += [
            {"role": "assistant", "content": raw.parse().content[0].text}, {"role": "user", "content": text},
        ]
    raw = client.messages.with_raw_response.create(model="echo", max_tokens=64, messages=history)
    ids.add(raw.headers["x-conversation-id"])
    assert ids == {"managed"}
    assert [text for text in shared.texts("managed") if ":" not in text] == ["first", "second", "third"]


def test_what_a_tool_gave_back_is_read_by_an_engine_that_knows_no_tools(client):
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sun"}]},
    ]
    assert create(client, messages, "echo").content[0].text == "3: weather? | [the tool gave back]"


def test_tokens_are_counted_as_the_answer_counts_them(client):
    count = client.messages.count_tokens(model="phi3", messages=REMEMBER).input_tokens
    usage = create(client, **conversation("counted")).usage
    assert count == usage.input_tokens + usage.cache_read_input_tokens


def test_the_models_are_listed_in_the_shape_of_anthropic(client):
    models = {model.id: model for model in client.models.list()}
    assert {"igris-recall", "phi3", "echo"} <= set(models)
    assert models["phi3"].type == "model" and models["phi3"].display_name == "phi3"
    assert client.models.retrieve("echo").id == "echo"


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("temperature", {"extra_body": {"temperature": 7}}),
        ("messages[0].role", {"messages": [{"role": "robot", "content": "x"}]}),
        ("messages[0].content[0].type", {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}),
        ("max_tokens", {"max_tokens": 0}),
        ("tools", {"tools": [TOOL]}),
        ("stop_sequences", {"stop_sequences": [""]}),
    ],
)
def test_a_wrong_field_is_a_400_that_names_it(client, field, fields):
    with pytest.raises(anthropic.BadRequestError) as refusal:
        client.messages.create(**{"model": "phi3", "max_tokens": 9, "messages": REMEMBER, **fields})
    assert refusal.value.body["type"] == "error"
    assert refusal.value.body["error"]["type"] == "invalid_request_error"
    assert field in refusal.value.body["error"]["message"]
    assert refusal.value.request_id == refusal.value.body["request_id"]


def test_an_unknown_model_is_a_404_that_lists_what_there_is(client):
    with pytest.raises(anthropic.NotFoundError) as refusal:
        create(client, model="claude-9")
    assert refusal.value.body["error"]["type"] == "not_found_error"
    assert "igris-recall" in refusal.value.body["error"]["message"]


def test_a_key_is_taken_as_anthropic_sends_it(daemon):
    guarded = daemon(config={"auth": {"keys": [{"name": "ann", "key": "k" * 32}]}}, models=[ECHO])
    options = {"base_url": guarded.url, "max_retries": 0}
    right = anthropic.Anthropic(api_key="k" * 32, **options)
    assert create(right, [{"role": "user", "content": "x"}], "echo").content[0].text == "1: x"
    with pytest.raises(anthropic.AuthenticationError) as refusal:
        create(anthropic.Anthropic(api_key="wrong", **options), model="echo")
    assert refusal.value.body["error"]["type"] == "authentication_error"
