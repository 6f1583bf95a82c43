"""The openai package against a swarm of two hosts, with either engine: what is begun on one goes on on the other."""

import asyncio

import openai
import pytest

from daemon import eventually

TELL = "Remember: my name is Alice"
TOLD = "I will remember that your name is Alice"
ASK = "What is my name?"
KNOWN = "Your name is Alice"


def chat(host, text, conversation, **options):
    return host.client().chat.completions.create(
        model="phi3", messages=[{"role": "user", "content": text}],
        extra_headers={"X-Conversation-Id": conversation}, **options)


def test_a_chat_begun_on_one_host_goes_on_streamed_on_the_other(pair):
    one, other = pair.hosts
    assert chat(one, TELL, "chat").choices[0].message.content == TOLD
    pair.equal()
    chunks = list(chat(other, ASK, "chat", stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == KNOWN
    assert chunks[-1].usage.completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_asynchronous_client_asks_both_hosts_at_once(pair):
    async def run():
        async def one(number):
            async with pair.hosts[number % 2].async_client() as client:
                reply = await client.chat.completions.create(
                    model="phi3", messages=[{"role": "user", "content": TELL}], store=False)
                return reply.choices[0].message.content

        return await asyncio.gather(*(one(number) for number in range(4)))

    assert asyncio.run(run()) == [TOLD] * 4


def test_the_helper_of_streams_puts_the_answer_together(pair):
    with pair.hosts[1].client().chat.completions.stream(
        model="phi3", messages=[{"role": "user", "content": TELL}], store=False
    ) as stream:
        kinds = {event.type for event in stream}
        assert stream.get_final_completion().choices[0].message.content == TOLD
    assert {"chunk", "content.delta", "content.done"} <= kinds


def test_a_chain_of_responses_passes_from_host_to_host(pair):
    one, other = (host.client() for host in pair.hosts)
    first = one.responses.create(model="phi3", input=TELL)
    assert first.output_text == TOLD
    pair.equal()
    second = other.responses.create(model="phi3", input="I live in Bern", previous_response_id=first.id)
    pair.equal()
    third = one.responses.create(model="phi3", input=ASK, previous_response_id=second.id)
    assert third.output_text == KNOWN
    assert other.responses.retrieve(first.id).output_text == TOLD
    with other.responses.stream(model="phi3", input=ASK, previous_response_id=first.id) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text == KNOWN


def test_a_conversation_made_on_one_host_is_filled_and_read_on_the_other(pair):
    one, other = (host.client() for host in pair.hosts)
    made = one.conversations.create(metadata={"a": "b"}, items=[{"role": "user", "content": TELL}])
    pair.equal()
    answer = other.responses.create(model="phi3", input=ASK, conversation=made.id)
    assert answer.output_text == KNOWN
    pair.equal()
    items = list(one.conversations.items.list(made.id, order="asc"))
    assert [item.content[0].text for item in items] == [TELL, ASK, KNOWN]
    assert other.conversations.retrieve(made.id).metadata == {"a": "b"}


def test_stored_completions_are_found_on_the_other_host(pair):
    kept = chat(pair.hosts[0], TELL, "stored", store=True, metadata={"run": "pair"})
    pair.equal()
    other = pair.hosts[1].client()
    assert [one.id for one in other.chat.completions.list(metadata={"run": "pair"})] == [kept.id]
    assert other.chat.completions.retrieve(kept.id).choices[0].message.content == TOLD


def test_embeddings_where_the_engine_makes_them(pair, request):
    client = pair.hosts[0].client()
    if "llama-server" not in request.node.callspec.id:
        with pytest.raises(openai.BadRequestError) as refusal:
            client.embeddings.create(model="phi3", input="one")
        assert refusal.value.param == "model"
        return
    # The package asks for base64 by itself, and makes floats of it.
    packed = client.embeddings.create(model="phi3", input=["one", "two"])
    plain = client.embeddings.create(model="phi3", input=["one", "two"], encoding_format="float")
    assert [len(entry.embedding) for entry in packed.data] == [128, 128]
    assert packed.data[1].embedding == pytest.approx(plain.data[1].embedding, abs=1e-6)
    assert packed.data[0].embedding != packed.data[1].embedding and packed.usage.prompt_tokens > 0


def test_the_same_question_again_gets_an_answer_with_an_id_of_its_own(pair):
    history = [
        {"role": "user", "content": TELL}, {"role": "assistant", "content": TOLD}, {"role": "user", "content": ASK},
    ]
    client = pair.hosts[0].client()
    replies = [client.chat.completions.create(model="phi3", messages=history) for _ in range(3)]
    assert [reply.choices[0].message.content for reply in replies] == [KNOWN] * 3
    assert len({reply.id for reply in replies}) == 3


def test_a_request_that_the_package_repeats_is_answered_once(pair):
    """As its own retry does after a lost connection: the same body and key, and the count of tries."""
    client = pair.hosts[0].client()
    headers = {"Idempotency-Key": "once", "X-Conversation-Id": "retried"}
    again = {**headers, "X-Stainless-Retry-Count": "1"}
    for extra in (headers, again):
        client.chat.completions.create(
            model="phi3", messages=[{"role": "user", "content": TELL}], extra_headers=extra)
    assert pair.hosts[0].texts("retried") == [TELL, TOLD]
    eventually("both on the other host", lambda: pair.hosts[1].texts("retried") == [TELL, TOLD], within=5)
