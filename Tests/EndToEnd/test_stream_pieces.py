"""Each piece of an answer is given out before the next is written, in every dialect and to every client, by the host that
has the model and by one that has not. The engine waits for the reader: no clock decides."""

import anthropic
import ollama
import pytest
from langchain_openai import ChatOpenAI

from daemon import scripted_engine
from swarm import Swarm

PIECES = ["One ", "two ", "three ", "four"]
MODEL = scripted_engine("stepwise", "stepwise.py")


@pytest.fixture(scope="module")
def hosts(binary, tmp_path_factory):
    both = Swarm(binary, tmp_path_factory.mktemp("pieces"), 2, models=[MODEL])
    both.models = [scripted_engine("echo", "echo.py")]
    both.configure(both.hosts[1])
    try:
        yield dict(zip(("near", "far"), both.start().hosts))
    finally:
        both.close()


@pytest.fixture(params=["near", "far"])
def host(hosts, request):
    return hosts[request.param]


def chat(host, messages):
    for chunk in host.client().chat.completions.create(model="stepwise", messages=messages, stream=True):
        yield chunk.choices[0].delta.content


def response(host, messages):
    for event in host.client().responses.create(model="stepwise", input=messages, stream=True):
        if event.type == "response.output_text.delta":
            yield event.delta


def message(host, messages):
    client = anthropic.Anthropic(base_url=host.url, api_key="unused", max_retries=0)
    with client.messages.stream(model="stepwise", max_tokens=64, messages=messages) as stream:
        yield from stream.text_stream


def ollama_chat(host, messages):
    for part in ollama.Client(host=host.url).chat("stepwise", messages, stream=True):
        yield part.message.content


def ollama_generate(host, messages):
    for part in ollama.Client(host=host.url).generate("stepwise", messages[0]["content"], stream=True):
        yield part.response


def langchain(host, messages):
    model = ChatOpenAI(model="stepwise", base_url=f"{host.url}/v1", api_key="unused", max_retries=0)
    for chunk in model.stream(messages[0]["content"]):
        yield chunk.content


@pytest.mark.parametrize(
    "read", [chat, response, message, ollama_chat, ollama_generate, langchain], ids=lambda read: read.__name__)
def test_a_piece_is_given_out_before_the_next_is_written(host, read, tmp_path):
    file = tmp_path / "read"
    file.touch()
    pieces = []
    for text in read(host, [{"role": "user", "content": str(file)}]):
        if text:
            pieces.append(text)
            with file.open("a") as seen:
                seen.write(".")
    assert pieces == PIECES


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama_chat"])
def test_litellm_has_a_piece_before_the_next_is_written(host, litellm, provider, tmp_path):
    file = tmp_path / "read"
    file.touch()
    asked = litellm(
        "completion", model=f"{provider}/stepwise", api_base=host.url + ("/v1" if provider == "openai" else ""),
        api_key="unused", num_retries=0, timeout=40, messages=[{"role": "user", "content": str(file)}], stream=True,
        seen=str(file))
    pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in asked["result"] if chunk["choices"]]
    assert [piece for piece in pieces if piece] == PIECES
