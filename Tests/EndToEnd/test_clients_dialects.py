"""One conversation in several dialects, on several hosts."""

import json

import anthropic
import ollama

from daemon import ECHO, eventually
from swarm import MODEL

HEADER = {"X-Conversation-Id": "shared"}


def test_a_conversation_begun_in_one_dialect_goes_on_in_another_on_another_host(swarm):
    both = swarm(2, models=[MODEL])
    one, other = both.hosts
    with anthropic.Anthropic(base_url=one.url, api_key="unused", max_retries=0) as client:
        begun = client.messages.create(
            model="phi3", max_tokens=64, messages=[{"role": "user", "content": "one"}], extra_headers=HEADER
        )
    assert begun.content[0].text == "1: one"
    both.equal()
    reply = ollama.Client(host=other.url, headers=HEADER).chat("phi3", [{"role": "user", "content": "two"}])
    assert reply.message.content == "3: one | two"
    both.equal()
    last = one.ask("three", headers=HEADER)
    assert last == "5: one | two | three"


def test_begun_with_anthropic_on_a_goes_on_in_responses_on_b_and_with_ollama_on_a(pair):
    one, other = pair.hosts
    name = {"X-Conversation-Id": "three-dialects"}
    with anthropic.Anthropic(base_url=one.url, api_key="unused", max_retries=0) as client:
        client.messages.create(
            model="phi3", max_tokens=64, messages=[{"role": "user", "content": "Remember: my name is Alice"}],
            extra_headers=name)
    pair.equal()
    responses = other.client().responses
    answer = responses.create(model="phi3", input="What is my name?", conversation=name["X-Conversation-Id"])
    assert answer.output_text == "Your name is Alice"
    responses.create(model="phi3", input="I live in Bern", conversation=name["X-Conversation-Id"])
    pair.equal()
    ask = ollama.Client(host=one.url, headers=name)
    assert ask.chat("phi3", [{"role": "user", "content": "Where do I live?"}]).message.content == "You live in Bern"
    pair.equal()
    kept = [host.texts(name["X-Conversation-Id"]) for host in pair.hosts]
    assert kept[0] == kept[1] and len(kept[0]) == 8


def test_the_models_of_the_swarm_are_listed_with_who_has_them(swarm):
    both = swarm(2, models=[MODEL], start=False)
    one, other = both.hosts
    both.models = [MODEL, {**ECHO, "name": "big", "aliases": ["large"]}]
    both.configure(other)
    both.start()

    def listed():
        models = {model["id"]: model["igris"] for model in one.get("/v1/models").json()["data"]}
        hosts = models["echo"]["hosts"] + models.get("large", {}).get("hosts", [])
        return models if [host["state"] for host in hosts] == ["ready"] * 3 else None

    models = eventually("the other host's models", listed)
    assert models["echo"]["here"] and not models["big"]["here"]
    assert [host["name"] for host in models["big"]["hosts"]] == ["B"]
    assert models["large"]["alias_of"] == "big"
    assert one.get("/v1/models/big").json()["igris"]["hosts"][0]["state"] == "ready"
    reply = one.post("x", model="big")
    assert reply.status_code == 200 and reply.headers["x-igris-served-by"] == other.status()["id"]
    table = one.command("models")
    assert "A (this host), B" in table and "large" in table
    models = {model["name"]: model for model in json.loads(one.command("models", "ls", "--json"))}
    assert models["echo"]["here"] and not models["big"]["here"] and models["big"]["aliases"] == ["large"]
    assert "echo" in one.command("models", "ps") and "big" not in one.command("models", "ps")


def test_nothing_is_kept_where_the_client_says_so(daemon):
    one = daemon()
    told = {"model": "phi3", "max_tokens": 64, "messages": [{"role": "user", "content": "Remember: my name is Alice"}]}
    with anthropic.Anthropic(base_url=one.url, api_key="unused", max_retries=0) as client:
        client.messages.create(**told, extra_body={"store": False})
    assert one.get("/v1/mcp/contexts").json()["data"] == []
