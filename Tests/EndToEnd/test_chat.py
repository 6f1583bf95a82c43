"""`POST /v1/chat/completions` and the models list, seen through openai-python."""

import asyncio
import re

import httpx
import openai
import pytest

from daemon import recall

REMEMBER = [{"role": "user", "content": "Remember: my name is Alice"}]


@pytest.fixture(scope="module")
def shared(binary, tmp_path_factory):
    """One daemon for the tests of this file that keep nothing."""
    from daemon import Daemon

    models = [recall(aliases=["phi3", "org/recall:q8"])]
    one = Daemon(binary, tmp_path_factory.mktemp("chat"), {"models": models}, [], {}).start()
    yield one
    one.close()


def create(client, messages=REMEMBER, **fields):
    fields.setdefault("store", False)
    return client.chat.completions.create(model=fields.pop("model", "phi3"), messages=messages, **fields)


# Shape


def test_a_plain_request_is_answered_in_the_shape_of_openai(shared):
    reply = create(shared.client())
    assert reply.object == "chat.completion"
    assert reply.id.startswith("chatcmpl-")
    assert reply.model == "phi3"
    assert reply.system_fingerprint
    [choice] = reply.choices
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "stop", "assistant")
    assert choice.message.content == "I will remember that your name is Alice"
    assert reply.usage.prompt_tokens > 0
    assert reply.usage.completion_tokens > 0
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.usage.prompt_tokens_details.cached_tokens >= 0


def test_the_asynchronous_client_is_answered_too(shared):
    async def run():
        async with shared.async_client() as client:
            replies = await asyncio.gather(*(create(client) for _ in range(3)))
            stream = await create(client, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            return [reply.choices[0].message.content for reply in replies], text

    texts, streamed = asyncio.run(run())
    assert texts == ["I will remember that your name is Alice"] * 3
    assert streamed == texts[0]


def test_the_raw_response_carries_the_headers_that_clients_use(shared):
    raw = shared.client().chat.completions.with_raw_response.create(model="phi3", messages=REMEMBER)
    assert raw.headers["content-type"].startswith("application/json")
    assert raw.headers["x-request-id"]
    assert raw.headers["x-conversation-id"]
    assert re.fullmatch("[0-9a-f]{32}", raw.headers["x-igris-served-by"])
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def test_a_request_id_of_the_client_is_echoed(shared):
    reply = shared.post(REMEMBER, {"X-Request-Id": "trace-4711"}, store=False)
    assert reply.headers["x-request-id"] == "trace-4711"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", None])
def test_the_body_is_read_as_json_whatever_its_content_type_says(shared, content_type):
    body = b'{"model":"phi3","store":false,"messages":[{"role":"user","content":"Remember: my name is Alice"}]}'
    headers = {"content-type": content_type} if content_type else {}
    reply = httpx.post(f"{shared.url}/v1/chat/completions", content=body, headers=headers, timeout=30)
    assert reply.status_code == 200, reply.text


# Streams


def test_a_stream_gives_the_same_text_in_the_chunk_sequence_of_openai(shared):
    chunks = list(create(shared.client(), stream=True))
    assert len({chunk.id for chunk in chunks}) == 1
    assert len({chunk.created for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.model for chunk in chunks} == {"phi3"}
    first, last = chunks[0].choices[0], chunks[-1].choices[0]
    assert (first.delta.role, first.delta.content, first.finish_reason) == ("assistant", "", None)
    assert last.finish_reason == "stop"
    assert last.delta.content is None
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == create(shared.client()).choices[0].message.content
    assert all(chunk.usage is None for chunk in chunks)


def test_the_usage_chunk_comes_last_when_asked_for(shared):
    chunks = list(create(shared.client(), stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    usage = create(shared.client()).usage
    assert chunks[-1].usage.prompt_tokens == usage.prompt_tokens
    assert chunks[-1].usage.completion_tokens == usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_several_choices_have_their_indices(shared):
    reply = create(shared.client(), n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert all(choice.message.content for choice in reply.choices)
    streamed: dict[int, str] = {0: "", 1: ""}
    finished = set()
    for chunk in create(shared.client(), n=2, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                finished.add(choice.index)
    assert streamed == {0: "I will remember that your name is Alice", 1: "I will remember that your name is Alice"}
    assert finished == {0, 1}


# What shapes an answer


@pytest.mark.parametrize("stop", ["name", ["zebra", "name"]])
@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_answer_and_is_left_out(shared, stop, stream):
    reply = create(shared.client(), stop=stop, stream=stream)
    if stream:
        chunks = list(reply)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        text, reason = reply.choices[0].message.content, reply.choices[0].finish_reason
    assert (text, reason) == ("I will remember that your ", "stop")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_ends_the_answer_with_length(shared, name):
    reply = create(shared.client(), **{name: 5})
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 5
    assert reply.choices[0].message.content == "I wil"


def test_a_seed_makes_a_warm_answer_repeatable(shared):
    def texts(seed):
        return [
            create(shared.client(), [{"role": "user", "content": "Hello"}], temperature=2, seed=seed, max_tokens=40)
            .choices[0].message.content for _ in range(2)
        ]

    first, second = texts(7)
    assert first == second
    assert any(texts(seed)[0] != first for seed in range(8, 14))


def test_parts_and_the_developer_role_are_understood(shared):
    messages = [
        {"role": "developer", "content": "Answer shortly."},
        {"role": "user", "content": [{"type": "text", "text": "Remember: my name is Alice"}]},
    ]
    assert "Alice" in create(shared.client(), messages).choices[0].message.content


def test_fields_without_effect_and_unknown_fields_are_accepted(shared):
    reply = create(
        shared.client(), user="u1", metadata={"team": "blue"}, logprobs=False, tools=[], logit_bias={}, n=1,
        response_format={"type": "text"}, presence_penalty=0, frequency_penalty=0, prompt_cache_key="k",
        safety_identifier="s", extra_body={"surely_unknown": {"deep": [1, 2]}},
    )
    assert "Alice" in reply.choices[0].message.content


# Refusals


def image(url="data:image/png;base64,AAAA"):
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize(
    "field, fields",
    [
        ("tools", {"tools": [TOOL]}),
        ("functions", {"extra_body": {"functions": [{"name": "f"}]}}),
        ("logprobs", {"logprobs": True}),
        ("top_logprobs", {"extra_body": {"top_logprobs": 3}}),
        ("logit_bias", {"logit_bias": {"5": 1}}),
        ("response_format", {"response_format": {"type": "json_object"}}),
        ("modalities", {"modalities": ["text", "audio"]}),
        ("messages", {"messages": image()}),
    ],
)
def test_what_the_engine_cannot_do_is_a_400_that_names_the_field(shared, field, fields):
    messages = fields.pop("messages", REMEMBER) if "messages" in fields else REMEMBER
    with pytest.raises(openai.BadRequestError) as refusal:
        create(shared.client(), messages, **fields)
    assert refusal.value.type == "invalid_request_error"
    assert (refusal.value.param or "").startswith(field)
    assert field.split(".")[0] in refusal.value.message or field == "messages"


@pytest.mark.parametrize(
    "field, body",
    [
        ("model", {"messages": REMEMBER}),
        ("model", {"model": 5, "messages": REMEMBER}),
        ("messages", {"model": "phi3"}),
        ("messages", {"model": "phi3", "messages": []}),
        ("messages", {"model": "phi3", "messages": "Hello"}),
        ("messages", {"model": "phi3", "messages": [{"role": "wizard", "content": "x"}]}),
        ("messages", {"model": "phi3", "messages": [{"role": "user", "content": 5}]}),
        ("messages", {"model": "phi3", "messages": [{"role": "user"}]}),
        ("temperature", {"model": "phi3", "messages": REMEMBER, "temperature": "hot"}),
        ("temperature", {"model": "phi3", "messages": REMEMBER, "temperature": 3}),
        ("top_p", {"model": "phi3", "messages": REMEMBER, "top_p": -1}),
        ("max_tokens", {"model": "phi3", "messages": REMEMBER, "max_tokens": 0}),
        ("max_tokens", {"model": "phi3", "messages": REMEMBER, "max_tokens": 1.5}),
        ("max_completion_tokens", {"model": "phi3", "messages": REMEMBER, "max_completion_tokens": -4}),
        ("n", {"model": "phi3", "messages": REMEMBER, "n": 0}),
        ("n", {"model": "phi3", "messages": REMEMBER, "n": 10000}),
        ("stop", {"model": "phi3", "messages": REMEMBER, "stop": 5}),
        ("stream", {"model": "phi3", "messages": REMEMBER, "stream": "yes"}),
        ("seed", {"model": "phi3", "messages": REMEMBER, "seed": "x"}),
    ],
)
def test_a_wrong_field_is_a_400_that_names_it(shared, field, body):
    reply = httpx.post(f"{shared.url}/v1/chat/completions", json=body, timeout=30)
    error = reply.json()["error"]
    assert reply.status_code == 400, reply.text
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(field)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":"phi3",}', b"\xff\xfe", b'"text"'])
def test_a_body_that_is_no_json_object_is_a_400(shared, body):
    reply = httpx.post(f"{shared.url}/v1/chat/completions", content=body, timeout=30)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_an_unknown_model_is_a_404_that_lists_what_there_is(shared):
    with pytest.raises(openai.NotFoundError) as refusal:
        create(shared.client(), model="gpt-9")
    assert refusal.value.code == "model_not_found"
    assert "igris-recall" in refusal.value.message


def test_an_error_before_the_first_token_of_a_stream_is_plain_json(shared):
    reply = shared.post(REMEMBER, stream=True, temperature=9)
    assert reply.status_code == 400
    assert reply.headers["content-type"].startswith("application/json")


def test_other_routes_and_methods_are_refused_in_the_same_shape(shared):
    unknown = shared.get("/v1/unknown")
    assert unknown.status_code == 404
    assert set(unknown.json()["error"]) == {"message", "type", "param", "code"}
    wrong = shared.get("/v1/responses")
    assert wrong.status_code in (404, 405)
    assert set(wrong.json()["error"]) == {"message", "type", "param", "code"}


# Models and health


def test_the_models_list_has_the_model_and_each_alias(shared):
    models = {model.id: model for model in shared.client().models.list()}
    assert "igris-recall" in models
    assert all(model.object == "model" and model.owned_by and model.created >= 0 for model in models.values())


@pytest.mark.parametrize("name", ["igris-recall", "phi3", "org/recall:q8"])
def test_a_model_is_found_by_name_and_alias(shared, name):
    model = shared.client().models.retrieve(name)
    assert model.object == "model"
    assert model.id == name


def test_an_unknown_model_is_not_retrieved(shared):
    with pytest.raises(openai.NotFoundError) as refusal:
        shared.client().models.retrieve("gpt-9")
    assert refusal.value.code == "model_not_found"


@pytest.mark.parametrize("path", ["/", "/v1/health", "/livez", "/readyz"])
def test_health_routes_answer_200(shared, path):
    assert shared.get(path).status_code == 200
