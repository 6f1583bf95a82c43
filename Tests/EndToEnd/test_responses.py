"""The Responses API with the real openai package: chains, branches, items, background; on one host and on another.

The echo engine answers with how many messages its prompt held and what the user said in them.
"""

import httpx
import openai
import pytest

from daemon import ECHO, eventually, scripted_engine
from swarm import MODEL

KEYS = {"auth": {"keys": [{"name": "ann", "key": "ann-key-0123456789"}, {"name": "ben", "key": "ben-key-0123456789"}]}}
CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Oslo"}'}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}


@pytest.fixture
def echo(daemon):
    return daemon(models=[{**ECHO, "aliases": ["phi3"]}])


def chain(client, count=5, **options):
    """So many responses, each after the one before."""
    responses = []
    for number in range(1, count + 1):
        previous = {"previous_response_id": responses[-1].id} if responses else {}
        responses.append(client.responses.create(model="phi3", input=f"q{number}", **previous, **options))
    return responses


def test_a_chain_of_five_and_a_branch(echo):
    client = echo.client()
    responses = chain(client)
    assert [r.output_text for r in responses] == [
        f"{2 * n - 1}: {' | '.join(f'q{m}' for m in range(1, n + 1))}" for n in range(1, 6)]
    assert responses[4].previous_response_id == responses[3].id
    branch = client.responses.create(model="phi3", input="other", previous_response_id=responses[1].id)
    assert branch.output_text == "5: q1 | q2 | other"
    # The one that the branch left behind knows nothing of it.
    assert client.responses.create(
        model="phi3", input="q6", previous_response_id=responses[4].id).output_text.startswith("11: q1 | q2 | q3")
    # One that names nothing begins anew.
    assert client.responses.create(model="phi3", input="alone").output_text == "1: alone"


def test_a_chain_survives_kill_9(echo):
    responses = chain(echo.client(), 3, metadata={"a": "b"}, instructions="Be kind.")
    echo.kill9()
    client = echo.start().client()
    again = client.responses.retrieve(responses[1].id)
    assert again.model_dump() == responses[1].model_dump()
    assert again.metadata == {"a": "b"} and again.instructions == "Be kind." and again.status == "completed"
    # Instructions are for their own response only.
    assert client.responses.create(
        model="phi3", input="on", previous_response_id=responses[2].id).output_text == "7: q1 | q2 | q3 | on"
    items = client.responses.input_items.list(responses[1].id).data
    assert [(item.type, item.role, item.content[0].text) for item in items] == [("message", "user", "q2")]


def test_a_chain_begun_on_a_goes_on_on_b_after_a_was_killed(swarm):
    a, b = swarm(2, models=[MODEL]).hosts
    client = a.client()
    first = client.responses.create(model="phi3", input="q1", store=True)
    second = client.responses.create(
        model="phi3", previous_response_id=first.id,
        input=[{"role": "user", "content": "rain?"}, CALL, RESULT])
    third = client.responses.create(model="phi3", input="q3", previous_response_id=second.id)
    fourth = client.responses.create(model="phi3", input="q4", previous_response_id=third.id)
    fifth = client.responses.create(model="phi3", input="q5", previous_response_id=fourth.id)
    other = b.client()
    eventually("the last answer on b", lambda: is_there(other, fifth.id), within=5)
    a.kill9()
    for response in (first, second, fifth):
        assert other.responses.retrieve(response.id).model_dump() == response.model_dump()
    items = other.responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in items] == ["message", "function_call", "function_call_output"]
    assert items[1].arguments == CALL["arguments"] and items[2].output == "rain"
    sixth = other.responses.create(model="phi3", input="q6", previous_response_id=fifth.id)
    assert sixth.output_text.startswith("13: q1 | rain? | [the tool gave back]")
    assert sixth.output_text.endswith("| q3 | q4 | q5 | q6")
    branch = other.responses.create(model="phi3", input="other", previous_response_id=first.id)
    assert branch.output_text == "3: q1 | other"


def is_there(client, identifier):
    try:
        return client.responses.retrieve(identifier).status == "completed"
    except openai.NotFoundError:
        return False


def test_a_stream_has_every_event_once_and_in_order(echo):
    client = echo.client()
    numbers, types = [], []
    with client.responses.stream(model="phi3", input="hello") as stream:
        for event in stream:
            numbers.append(event.sequence_number)
            types.append(event.type)
        final = stream.get_final_response()
    assert numbers == list(range(len(numbers)))
    assert types[:2] == ["response.created", "response.in_progress"] and types[-1] == "response.completed"
    assert final.output_text == "1: hello"
    assert client.responses.retrieve(final.id).output_text == "1: hello"


def test_what_is_not_stored_cannot_be_fetched_but_goes_on_from_what_is(echo):
    client = echo.client()
    first = client.responses.create(model="phi3", input="q1")
    unkept = client.responses.create(model="phi3", input="q2", previous_response_id=first.id, store=False)
    assert unkept.output_text == "3: q1 | q2" and unkept.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(unkept.id)
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="phi3", input="q3", previous_response_id=unkept.id)
    assert error.value.code == "previous_response_not_found" and error.value.param == "previous_response_id"


def test_a_deleted_response_is_in_no_later_prompt(echo):
    client = echo.client()
    responses = chain(client, 3)
    client.responses.delete(responses[1].id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(responses[1].id)
    after = client.responses.create(model="phi3", input="on", previous_response_id=responses[2].id)
    assert after.output_text == "5: q1 | q3 | on"
    echo.restart()
    after = client.responses.create(model="phi3", input="on", previous_response_id=responses[2].id)
    assert after.output_text == "5: q1 | q3 | on"


def test_responses_of_one_owner_are_nobody_elses(daemon):
    one = daemon(models=[{**ECHO, "aliases": ["phi3"]}], config=KEYS)
    ann, ben = (one.client(api_key=f"{name}-key-0123456789") for name in ("ann", "ben"))
    response = ann.responses.create(model="phi3", input="secret")
    for attempt in (
        lambda: ben.responses.retrieve(response.id), lambda: ben.responses.delete(response.id),
        lambda: ben.responses.cancel(response.id), lambda: ben.responses.input_items.list(response.id),
    ):
        with pytest.raises(openai.NotFoundError):
            attempt()
    with pytest.raises(openai.BadRequestError):
        ben.responses.create(model="phi3", input="and?", previous_response_id=response.id)
    assert ann.responses.retrieve(response.id).output_text == "1: secret"


def test_an_answer_in_the_background_is_fetched_when_it_is_done(echo):
    client = echo.client()
    begun = client.responses.create(model="phi3", input="work", background=True)
    assert begun.status == "queued" and begun.background is True
    done = eventually(
        "the end", lambda: (r := client.responses.retrieve(begun.id)).status == "completed" and r)
    assert done.output_text == "1: work"
    assert client.responses.cancel(begun.id).status == "completed"
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(client.responses.create(model="phi3", input="x").id)


def test_an_answer_in_the_background_is_cancelled(daemon):
    client = daemon(models=[{"name": "phi3", "engine": "builtin", "pace": 5}]).client()
    begun = client.responses.create(
        model="phi3", input="Remember: my favourite colour is green and my favourite animal is the cat",
        background=True)
    assert client.responses.retrieve(begun.id).status == "in_progress"
    assert client.responses.cancel(begun.id).status == "cancelled"
    assert client.responses.retrieve(begun.id).status == "cancelled"


SLOW = {"name": "phi3", "engine": "builtin", "pace": 20}
LONG = "Remember: my favourite colour is green and my favourite animal is the cat"


def test_the_stream_of_an_answer_in_the_background_is_picked_up_where_it_was_lost(daemon):
    one = daemon(models=[{**SLOW, "pace": 60}])
    client = one.client()
    stream = client.responses.create(model="phi3", input=LONG, background=True, stream=True)
    begun = [next(stream) for _ in range(9)]
    stream.close()
    identifier = begun[0].response.id
    rest = list(client.responses.retrieve(identifier, stream=True, starting_after=begun[-1].sequence_number))
    assert [event.sequence_number for event in begun + rest] == list(range(len(begun) + len(rest)))
    assert rest[-1].type == "response.completed"
    texts = [event.delta for event in begun + rest if event.type == "response.output_text.delta"]
    assert "".join(texts) == rest[-1].response.output_text == client.responses.retrieve(identifier).output_text
    # Once it is over it can be read again, in the same pieces; after a start whole, from its beginning only.
    again = list(client.responses.retrieve(identifier, stream=True))
    assert [event.model_dump() for event in again[-len(rest):]] == [event.model_dump() for event in rest]
    one.restart()
    told = list(client.responses.retrieve(identifier, stream=True))
    assert [event.sequence_number for event in told] == list(range(len(told)))
    assert told[-1].response.output_text == rest[-1].response.output_text
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.retrieve(identifier, stream=True, starting_after=3)
    assert error.value.param == "starting_after"


def test_an_answer_that_one_host_writes_is_cancelled_on_another(swarm):
    a, b = swarm(2, models=[{**SLOW, "pace": 2}]).hosts
    begun = a.client().responses.create(model="phi3", input=LONG, background=True)
    other = b.client()
    eventually("the question on b", lambda: is_known(other, begun.id), within=5)
    assert other.responses.cancel(begun.id).status == "cancelled"
    assert a.running() == 0
    assert a.client().responses.retrieve(begun.id).status == "cancelled"


def is_known(client, identifier):
    try:
        return bool(client.responses.retrieve(identifier).id)
    except openai.NotFoundError:
        return False


def test_items_are_referred_to(swarm):
    a, b = swarm(2, models=[MODEL]).hosts
    first = a.client().responses.create(model="phi3", input="q1")
    other = b.client()
    eventually("the answer on b", lambda: is_there(other, first.id), within=5)
    question = other.responses.input_items.list(first.id).data[0]
    reply = other.responses.create(
        model="phi3", input=[
            {"type": "item_reference", "id": question.id}, {"type": "item_reference", "id": first.output[0].id},
            {"role": "user", "content": "q2"}])
    assert reply.output_text == "3: q1 | q2"
    for wrong in ("msg_none", first.output[0].id[:-4] + "0009"):
        with pytest.raises(openai.NotFoundError) as error:
            other.responses.create(model="phi3", input=[{"type": "item_reference", "id": wrong}])
        assert error.value.param == "input[0].id"


def test_a_long_input_is_compacted_to_one_item(swarm):
    both = swarm(2, models=[MODEL])
    client, other = (host.client() for host in both.hosts)
    history = [
        {"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}, CALL, RESULT,
        {"role": "user", "content": "q2"}]
    compacted = client.responses.compact(model="phi3", input=history)
    assert compacted.object == "response.compaction" and compacted.usage.input_tokens > 0
    (item,) = [item.model_dump(exclude_none=True) for item in compacted.output]
    assert item["type"] == "compaction" and item["encrypted_content"]
    both.equal()
    reply = other.responses.create(model="phi3", input=[item, {"role": "user", "content": "q3"}])
    assert reply.output_text.startswith("5: q1 | [the tool gave back]") and reply.output_text.endswith("| q2 | q3")
    # What stands before the item is part of it; a chain is compacted by its id.
    again = other.responses.compact(model="phi3", previous_response_id=reply.id).output[0]
    both.equal()
    longer = client.responses.create(
        model="phi3", input=[*history, again.model_dump(exclude_none=True), {"role": "user", "content": "q4"}])
    assert longer.output_text.startswith("7: q1 |") and longer.output_text.endswith("| q3 | q4")
    for input in ([{**item, "encrypted_content": "gAAAA"}, *history], [{**item, "encrypted_content": 1}, *history]):
        with pytest.raises(openai.BadRequestError) as error:
            client.responses.create(model="phi3", input=input)
        assert error.value.param == "input[0].encrypted_content"
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="phi3", input=[item, *history[-1:]], previous_response_id=reply.id)
    assert error.value.param == "input"


def test_a_retried_request_is_answered_once(echo):
    body = {"model": "phi3", "input": "once"}

    def post(**headers):
        return httpx.post(f"{echo.url}/v1/responses", json=body, headers=headers, timeout=30).json()["id"]

    first = post()
    assert post(**{"X-Stainless-Retry-Count": "1"}) == first
    assert post() != first
    keyed = post(**{"Idempotency-Key": "k"})
    assert post(**{"Idempotency-Key": "k"}) == keyed
    body["input"] = "other words"
    reply = httpx.post(f"{echo.url}/v1/responses", json=body, headers={"Idempotency-Key": "k"}, timeout=30)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "Idempotency-Key"


def test_tools_of_unknown_types_are_skipped_and_others_refused_where_the_engine_has_none(echo):
    client = echo.client()
    response = client.responses.create(
        model="phi3", input="hi", tools=[{"type": "web_search"}], prompt_cache_key="k", include=["x"],
        reasoning={"effort": "low"})
    assert response.output_text == "1: hi" and response.tools[0].type == "web_search"
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(
            model="phi3", input="hi", tools=[{"type": "function", "name": "f", "parameters": {}, "strict": False}])
    assert error.value.param == "tools"


def test_tokens_are_counted_before_they_are_spent(echo):
    count = httpx.post(
        f"{echo.url}/v1/responses/input_tokens", json={"model": "phi3", "input": "four"}, timeout=30).json()
    assert count == {"object": "response.input_tokens", "input_tokens": 8}


def test_bad_input_is_a_400_that_names_the_field(echo):
    for body, field in [
        ({"input": "hi"}, "model"), ({"model": "phi3"}, "input"), ({"model": "phi3", "input": [{}]}, "input[0].role"),
        ({"model": "phi3", "input": "hi", "temperature": "hot"}, "temperature"),
        ({"model": "phi3", "input": "hi", "max_output_tokens": 1e300}, "max_output_tokens"),
        ({"model": "phi3", "input": "x" * 80_000}, "input"),
    ]:
        reply = httpx.post(f"{echo.url}/v1/responses", json=body, timeout=30)
        assert reply.status_code == 400, (field, reply.text)
        assert reply.json()["error"]["param"] == field
    reply = httpx.post(f"{echo.url}/v1/responses", content=b'{"model":"\xff"}', timeout=30)
    assert reply.status_code == 400
    for path in ("responses/resp_x", "responses/" + "%2e" * 9, "responses/resp_" + "f" * 56):
        assert echo.get(f"/v1/{path}").status_code == 404
