"""Tools with the real llama-server, in every dialect: calls, whole and streamed, and what they gave back.

igris-recall has never seen a tool. `caller` is made to call one: its template begins a call with "~", which a bias of
its server makes the likeliest; the server's own grammar writes the rest. `eager` calls until its bound. `reader`, on
the other host, has no bias and answers to what a tool gave back as if the user had said it.
"""

import json

import anthropic
import ollama
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

from conftest import ROOT, recall_server
from swarm import Swarm

PAINT = {
    "name": "paint", "description": "Paints it",
    "parameters": {
        "type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"],
        "additionalProperties": False,
    },
}
RING = {"name": "ring", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}
TOOLS = [{"type": "function", "function": function} for function in (PAINT, RING)]
QUESTION = [{"role": "user", "content": "Paint it"}]
GIVEN, READ = "Remember: my name is Alice", "I will remember that your name is Alice"
UNKEPT = {"extra_body": {"store": False}}


@pytest.fixture(scope="module")
def hosts(binary, llama_dir, tmp_path_factory):
    def model(name, *bias):
        arguments = ["--chat-template-file", str(ROOT / "Tests/Fixtures/calls.jinja")]
        for one in bias:
            arguments += ["--logit-bias", one]
        return recall_server(llama_dir, *arguments, name=name, aliases=[])

    both = Swarm(
        binary, tmp_path_factory.mktemp("tools"), 2,
        models=[model("caller", "126+60", "260+100"), model("eager", "126+100")])
    both.models = [model("reader")]
    both.configure(both.hosts[1])
    try:
        yield both.start()
    finally:
        both.close()


@pytest.fixture
def caller(hosts):
    return hosts.hosts[0].client()


@pytest.fixture
def reader(hosts):
    return hosts.hosts[1].client()


def painted(arguments):
    return json.loads(arguments)["colour"] in ("red", "blue")


def test_a_call_is_forced_told_and_answered(caller, reader):
    reply = caller.chat.completions.create(
        model="caller", messages=QUESTION, tools=TOOLS, tool_choice="required", **UNKEPT)
    choice = reply.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    (call,) = choice.message.tool_calls
    assert call.type == "function" and call.id and call.function.name == "paint" and painted(call.function.arguments)
    assert reply.usage.completion_tokens >= len(call.function.arguments)
    history = [
        *QUESTION, choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": GIVEN},
    ]
    for choice in ("auto", "none"):
        answer = reader.chat.completions.create(
            model="reader", messages=history, tools=TOOLS, tool_choice=choice, **UNKEPT)
        assert answer.choices[0].message.content == READ and answer.choices[0].finish_reason == "stop"


def test_a_function_that_is_named_is_the_one_that_is_called(caller):
    reply = caller.chat.completions.create(
        model="caller", messages=QUESTION, tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "ring"}}, **UNKEPT)
    assert [call.function.name for call in reply.choices[0].message.tool_calls] == ["ring"]
    # As OpenAI has it where the client left no choice.
    assert reply.choices[0].finish_reason == "stop"


def test_a_call_comes_in_deltas(caller):
    stream = caller.chat.completions.create(
        model="caller", messages=QUESTION, tools=TOOLS, tool_choice="required", stream=True, **UNKEPT)
    chunks = [chunk.choices[0] for chunk in stream]
    pieces = [piece for chunk in chunks for piece in chunk.delta.tool_calls or []]
    assert pieces[0].id and pieces[0].type == "function" and pieces[0].function.name == "paint"
    assert len(pieces) > 3 and {piece.index for piece in pieces} == {0}
    assert all(piece.id is None and piece.function.name is None for piece in pieces[1:])
    assert painted("".join(piece.function.arguments for piece in pieces))
    assert chunks[-1].finish_reason == "tool_calls"
    with caller.chat.completions.stream(
        model="caller", messages=QUESTION, tools=TOOLS, tool_choice="required", **UNKEPT
    ) as helper:
        for _ in helper:
            pass
        (call,) = helper.get_final_completion().choices[0].message.tool_calls
    assert painted(call.function.arguments)


@pytest.mark.parametrize("streams", [False, True])
def test_calls_side_by_side_are_told_apart(caller, streams):
    options = {
        "model": "eager", "messages": QUESTION, "tools": TOOLS, "tool_choice": "required", "max_tokens": 150, **UNKEPT,
    }
    calls: dict[int, list[str]] = {}
    if streams:
        for chunk in caller.chat.completions.create(stream=True, parallel_tool_calls=True, **options):
            for piece in chunk.choices[0].delta.tool_calls or []:
                if piece.id:
                    assert piece.index not in calls and piece.index == len(calls)
                    calls[piece.index] = [piece.id, ""]
                calls[piece.index][1] += piece.function.arguments or ""
    else:
        message = caller.chat.completions.create(parallel_tool_calls=True, **options).choices[0].message
        calls = {place: [call.id, call.function.arguments] for place, call in enumerate(message.tool_calls)}
    assert len(calls) >= 2 and len({identifier for identifier, _ in calls.values()}) == len(calls)
    # The bound of the answer may cut the last.
    assert all(painted(arguments) for _, arguments in list(calls.values())[:-1])


def test_responses_call_functions_and_read_their_outputs_on_the_other_host(hosts, caller, reader):
    tools = [{"type": "function", "strict": False, **PAINT}]
    first = caller.responses.create(model="caller", input="Paint it", tools=tools, tool_choice="required")
    (call,) = first.output
    assert call.type == "function_call" and call.name == "paint" and painted(call.arguments) and call.call_id
    hosts.equal()
    second = reader.responses.create(
        model="reader", previous_response_id=first.id, tools=tools,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": GIVEN}])
    assert second.output_text == READ
    with caller.responses.stream(
        model="caller", input="Paint it", tools=tools, tool_choice={"type": "function", "name": "paint"}
    ) as stream:
        events = list(stream)
        (call,) = stream.get_final_response().output
    kinds = [event.type for event in events]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(deltas) > 3 and "".join(deltas) == call.arguments and painted(call.arguments)
    assert kinds.index("response.output_item.added") < kinds.index("response.function_call_arguments.delta")
    assert kinds[-3:] == [
        "response.function_call_arguments.done", "response.output_item.done", "response.completed"]


def test_anthropic_uses_tools_and_reads_their_results(hosts):
    one, other = (
        anthropic.Anthropic(base_url=host.url, api_key="unused", max_retries=0, timeout=30) for host in hosts.hosts)
    tools = [{"name": "paint", "description": "Paints it", "input_schema": PAINT["parameters"]}]
    options = {"max_tokens": 200, "messages": QUESTION, "tools": tools, "tool_choice": {"type": "any"}, **UNKEPT}
    message = one.messages.create(model="caller", **options)
    (block,) = message.content
    assert message.stop_reason == "tool_use" and block.type == "tool_use" and block.name == "paint"
    assert block.input["colour"] in ("red", "blue")
    with one.messages.stream(model="caller", **options) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        (streamed,) = stream.get_final_message().content
    assert len(pieces) > 3 and streamed.input["colour"] in ("red", "blue")
    history = [
        *QUESTION, {"role": "assistant", "content": [block.model_dump(include={"type", "id", "name", "input"})]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block.id, "content": GIVEN}]},
    ]
    answer = other.messages.create(model="reader", max_tokens=64, messages=history, tools=tools, **UNKEPT)
    assert answer.content[0].text == READ and answer.stop_reason == "end_turn"


def test_ollama_calls_tools_and_reads_their_results(hosts):
    one, other = (ollama.Client(host=host.url) for host in hosts.hosts)
    # Its clients cannot force a call: `eager` calls by itself.
    options = {"options": {"num_predict": 150}, "tools": TOOLS}
    reply = one.chat("eager", QUESTION, **options)
    assert len(reply.message.tool_calls) >= 2
    call = reply.message.tool_calls[0].function
    assert call.name == "paint" and call.arguments["colour"] in ("red", "blue")
    streamed = [
        call for part in one.chat("eager", QUESTION, stream=True, **options) for call in part.message.tool_calls or []]
    assert len(streamed) >= 2 and streamed[0].function.arguments["colour"] in ("red", "blue")
    history = [
        *QUESTION, {"role": "assistant", "tool_calls": [{"function": call.model_dump()}]},
        {"role": "tool", "tool_name": "paint", "content": GIVEN},
    ]
    assert other.chat("reader", history, tools=TOOLS).message.content == READ


def test_litellm_calls_a_tool_and_reads_its_result(litellm, hosts):
    def call(host, name, **options):
        reply = litellm(
            "completion", model=f"openai/{name}", api_base=f"{host.url}/v1", api_key="unused", num_retries=0,
            tools=TOOLS, **UNKEPT, **options)
        return reply["result"]["choices"][0]["message"]

    called = call(hosts.hosts[0], "caller", messages=QUESTION, tool_choice="required")
    (first,) = called["tool_calls"]
    assert first["function"]["name"] == "paint" and painted(first["function"]["arguments"])
    result = {"role": "tool", "tool_call_id": first["id"], "content": GIVEN}
    kept = {key: called[key] for key in ("role", "content", "tool_calls")}
    assert call(hosts.hosts[1], "reader", messages=[*QUESTION, kept, result])["content"] == READ


def test_langchain_binds_tools(hosts):
    def model(host, name):
        return ChatOpenAI(model=name, base_url=f"{host.url}/v1", api_key="unused", max_retries=0, **UNKEPT)

    bound = model(hosts.hosts[0], "caller").bind_tools(TOOLS, tool_choice="required")
    called = bound.invoke("Paint it")
    (call,) = called.tool_calls
    assert call["name"] == "paint" and call["args"]["colour"] in ("red", "blue")
    whole = None
    for chunk in bound.stream("Paint it"):
        whole = chunk if whole is None else whole + chunk
    assert whole.tool_calls[0]["args"]["colour"] in ("red", "blue")
    answer = model(hosts.hosts[1], "reader").invoke(
        [HumanMessage("Paint it"), called, ToolMessage(GIVEN, tool_call_id=call["id"])])
    assert answer.content == READ
