"""LangChain's ChatOpenAI, as people have it, on a host of a swarm, with either engine."""

import asyncio

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

ANSWER = "I will remember that your name is Alice"
TELL = "Remember: my name is Alice"


@pytest.fixture(scope="module")
def shared(pair):
    return pair.hosts[0]


def model(shared, conversation, name="phi3", **options):
    return ChatOpenAI(
        model=name, base_url=f"{shared.url}/v1", api_key="unused", max_retries=0, timeout=30,
        default_headers={"X-Conversation-Id": conversation}, **options,
    )


def test_a_message_is_answered(shared):
    reply = model(shared, "invoked").invoke(TELL)
    assert isinstance(reply, AIMessage) and reply.content == ANSWER
    assert reply.usage_metadata["total_tokens"] > 0
    assert reply.response_metadata["finish_reason"] == "stop"


def test_a_stream_adds_up(shared):
    chunks = list(model(shared, "streamed", stream_usage=True).stream(TELL))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.content == ANSWER and whole.usage_metadata["output_tokens"] > 0


def test_the_host_remembers_and_the_asynchronous_call_asks_it(pair):
    one, other = pair.hosts
    model(one, "remembered").invoke(TELL)
    pair.equal()
    assert asyncio.run(model(other, "remembered").ainvoke("What is my name?")).content == "Your name is Alice"


def test_a_bound_ends_the_answer(shared):
    reply = model(shared, "bounded", max_tokens=4).invoke(TELL)
    assert reply.response_metadata["finish_reason"] == "length" and reply.usage_metadata["output_tokens"] == 4


def test_an_unknown_model_is_a_404_that_lists_what_there_is(shared):
    with pytest.raises(openai.NotFoundError, match="igris-recall"):
        model(shared, "unknown", "gpt-9").invoke(TELL)


def test_a_history_of_messages_reaches_the_model(shared):
    history = [SystemMessage("be brief"), HumanMessage("one"), AIMessage("1: one"), HumanMessage("two")]
    assert model(shared, "history", "echo").invoke(history).content == "4: one | two"


def test_a_batch_is_answered_in_order(shared):
    chain = ChatOpenAI(
        model="echo", base_url=f"{shared.url}/v1", api_key="unused", max_retries=0, extra_body={"store": False}
    )
    assert [reply.content for reply in chain.batch(["a", "b", "c"])] == ["1: a", "1: b", "1: c"]


def test_a_schema_that_the_engine_cannot_keep_is_refused_by_name(shared):
    schema = {"title": "city", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    structured = model(shared, "schema", "echo").with_structured_output(schema, method="json_schema")
    with pytest.raises(Exception, match="response_format"):
        structured.invoke("Rome")
