"""Which conversation a request belongs to, what its prompt holds, and what is kept of it.

Most tests use the echo engine: it answers with how many messages its prompt held and what the user said in them.
"""

import uuid

import openai
import pytest

from daemon import ECHO, recall, scripted_engine

KEYS = {"auth": {"keys": [{"name": "ann", "key": "ann-key-0123456789"}, {"name": "ben", "key": "ben-key-0123456789"}]}}
ANN = {"Authorization": "Bearer ann-key-0123456789"}
BEN = {"Authorization": "Bearer ben-key-0123456789"}


@pytest.fixture
def echo(daemon):
    """A daemon whose only model is the echo engine, under the name that requests carry."""
    return daemon(models=[{**ECHO, "aliases": ["phi3"]}])


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


# Bare


def test_a_bare_request_continues_the_callers_default_conversation(echo):
    assert echo.ask("one") == "1: one"
    assert echo.ask("two") == "3: one | two"
    assert echo.ask([{"role": "system", "content": "Be kind."}, user("three")]) == "6: one | two | three"


def test_the_builtin_model_knows_what_an_earlier_request_said(daemon):
    one = daemon(models=[recall()])
    assert one.ask("Remember: my name is Alice") == "I will remember that your name is Alice"
    assert one.ask("What is my name?") == "Your name is Alice"


def test_the_user_field_tells_default_conversations_apart(echo):
    assert echo.ask("one", user="u1") == "1: one"
    assert echo.ask("two", user="u2") == "1: two"
    assert echo.ask("three", user="u1") == "3: one | three"


def test_store_false_recalls_nothing_and_keeps_nothing(echo):
    echo.ask("one")
    reply = echo.post("secret", store=False)
    assert reply.json()["choices"][0]["message"]["content"] == "1: secret"
    assert "x-conversation-id" not in reply.headers
    assert echo.ask("two") == "3: one | two"


def test_default_conversations_can_be_switched_off(daemon):
    one = daemon(models=[{**ECHO, "aliases": ["phi3"]}], config={"mcp": {"default_conversation": "off"}})
    assert one.ask("one") == "1: one"
    assert one.ask("two") == "1: two"
    assert one.ask("three", conversation="c") == "1: three"
    assert one.ask("four", conversation="c") == "3: three | four"


def test_with_mcp_switched_off_nothing_is_kept_at_all(daemon):
    one = daemon(models=[{**ECHO, "aliases": ["phi3"]}], config={"mcp": {"enabled": False}})
    assert one.ask("one") == "1: one"
    assert one.ask("two") == "1: two"
    assert one.post("three").headers.get("x-conversation-id") is None
    assert one.get("/v1/mcp/contexts").status_code == 404


# Explicit


@pytest.mark.parametrize("way", ["header", "field", "object", "metadata"])
def test_a_conversation_is_named_by(echo, way):
    name = f"talk-{way}"
    headers, fields = {
        "header": ({"X-Conversation-Id": name}, {}),
        "field": ({}, {"conversation": name}),
        "object": ({}, {"conversation": {"id": name}}),
        "metadata": ({}, {"metadata": {"conversation_id": name}}),
    }[way]
    echo.ask("elsewhere")
    first = echo.post("one", headers, **fields)
    assert first.headers["x-conversation-id"] == name
    assert echo.ask("two", headers, **fields) == "3: one | two"
    assert echo.texts(name) == ["one", "1: one", "two", "3: one | two"]


def test_a_conversation_started_one_way_is_continued_another_way(echo):
    echo.ask("one", conversation="c")
    assert echo.ask("two", {"X-Conversation-Id": "c"}) == "3: one | two"


def test_an_impossible_conversation_id_is_a_400(echo):
    for name in ["", "with space", "x" * 300]:
        reply = echo.post("one", conversation=name)
        assert reply.status_code == 400, name
        assert reply.json()["error"]["param"].startswith("conversation")


# Client-managed


def test_a_client_that_resends_its_history_adds_only_what_is_new(echo):
    first = echo.post("one")
    name = first.headers["x-conversation-id"]
    answer = first.json()["choices"][0]["message"]["content"]
    history = [user("one"), assistant(answer), user("two")]
    second = echo.post(history)
    assert second.json()["choices"][0]["message"]["content"] == "3: one | two"
    assert second.headers["x-conversation-id"] == name
    history += [assistant("3: one | two"), user("three")]
    assert echo.ask(history) == "5: one | two | three"
    assert echo.texts(name) == ["one", answer, "two", "3: one | two", "three", "5: one | two | three"]


def test_nothing_is_injected_into_a_history_that_the_client_sends(echo):
    echo.ask("unrelated secret")
    assert echo.ask([user("a"), assistant("b"), user("c")]) == "3: a | c"


def test_an_unknown_history_becomes_a_conversation_of_its_own(echo):
    default = echo.post("default talk").headers["x-conversation-id"]
    history = [user("imported"), assistant("written elsewhere"), user("go on")]
    first = echo.post(history)
    name = first.headers["x-conversation-id"]
    assert name != default
    assert echo.texts(name) == ["imported", "written elsewhere", "go on", "3: imported | go on"]
    history += [assistant("3: imported | go on"), user("more")]
    assert echo.post(history).headers["x-conversation-id"] == name
    assert len(echo.texts(name)) == 6


def test_openai_python_resending_its_history_does_not_double_it(echo):
    client = echo.client()
    messages = []
    for text in ["one", "two", "three", "four"]:
        messages.append(user(text))
        raw = client.chat.completions.with_raw_response.create(model="phi3", messages=messages)
        messages.append(assistant(raw.parse().choices[0].message.content))
    assert echo.texts(raw.headers["x-conversation-id"]) == [message["content"] for message in messages]


# Retries


def test_a_request_with_the_same_idempotency_key_is_one_request(echo):
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = echo.post("one", headers, conversation="c")
    again = echo.post("one", headers, conversation="c")
    assert again.json()["choices"] == first.json()["choices"]
    assert echo.texts("c") == ["one", "1: one"]


def test_a_retry_of_the_sdk_appends_once(echo):
    echo.ask("one", conversation="c")
    echo.ask("one", {"x-stainless-retry-count": "1"}, conversation="c")
    assert echo.texts("c") == ["one", "1: one"]


def test_the_same_words_said_twice_are_two_turns(echo):
    echo.ask("one", {"x-stainless-retry-count": "0"}, conversation="c")
    echo.ask("one", {"x-stainless-retry-count": "0"}, conversation="c")
    assert len(echo.texts("c")) == 4


def test_a_retry_after_kill_9_appends_once(echo):
    headers = {"Idempotency-Key": "k-1"}
    echo.ask("one", headers, conversation="c")
    echo.kill9()
    echo.start()
    assert echo.ask("one", headers, conversation="c") == "1: one"
    assert echo.texts("c") == ["one", "1: one"]


# Owners


def test_a_conversation_is_its_owners_alone(daemon):
    one = daemon(models=[{**ECHO, "aliases": ["phi3"]}], config=KEYS)
    one.ask("ann's secret", ANN, conversation="c")
    assert one.ask("mine", BEN, conversation="c") == "1: mine"
    assert one.ask("bare", BEN) == "1: bare"
    assert one.ask("no key", conversation="c") == "1: no key"
    assert one.texts("c", ANN) == ["ann's secret", "1: ann's secret"]
    assert one.texts("c", BEN) == ["mine", "1: mine"]
    one.ask("only ann's", ANN, conversation="hers")
    hidden = one.get("/v1/mcp/contexts/hers", headers=BEN)
    assert hidden.status_code == 404
    listed = one.get("/v1/mcp/contexts", headers=BEN).text
    assert "hers" not in listed and "secret" not in listed


def test_a_history_is_not_matched_across_owners(daemon):
    one = daemon(models=[{**ECHO, "aliases": ["phi3"]}], config=KEYS)
    history = [user("a"), assistant("b"), user("c")]
    first = one.post(history, ANN).headers["x-conversation-id"]
    other = one.post(history, BEN).headers["x-conversation-id"]
    assert first != other


# Lists


def test_conversations_are_listed_the_latest_first(echo):
    for name in ["a", "b", "a"]:
        echo.ask("x", conversation=name)
    listed = echo.get("/v1/mcp/contexts").json()["data"]
    assert [(context["id"], context["turns"]) for context in listed] == [("a", 4), ("b", 2)]


def test_an_unknown_conversation_is_a_404(echo):
    reply = echo.get("/v1/mcp/contexts/nowhere")
    assert reply.status_code == 404
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_a_conversations_digest_changes_with_each_turn_and_survives_a_restart(echo):
    echo.ask("one", conversation="c")
    before = echo.conversation("c")["digest"]
    echo.ask("two", conversation="c")
    after = echo.conversation("c")["digest"]
    assert before != after
    echo.restart()
    assert echo.conversation("c")["digest"] == after


# Window


def small(context, *arguments):
    model = scripted_engine("small", "echo.py", aliases=["phi3"])
    model["command"] += ["--context", str(context), *arguments]
    return model


def test_what_does_not_fit_is_left_out_in_whole_turns_and_said(daemon):
    one = daemon(models=[small(700)])
    said, omitted = [], []
    for number in range(12):
        said.append(f"{number:02d}" + "x" * 60)
        answer = one.post(said[-1], conversation="c", max_tokens=120)
        reply = answer.json()
        count, _, seen = reply["choices"][0]["message"]["content"].partition(": ")
        # The latest turns, whole and without a gap, the question always among them.
        parts = seen.split(" | ")
        assert parts == [text[:20] for text in said[-len(parts):]]
        # What is missing is said; nothing is said only where nothing is missing.
        report = reply.get("igris", {}).get("context", {"included": int(count), "omitted": 0})
        omitted.append(report["omitted"])
        assert report["included"] == int(count)
        # The header says it always, in every dialect.
        assert answer.headers["x-igris-context"].startswith(f"included={count}, omitted={report['omitted']}, ")
        assert report["included"] + report["omitted"] == 2 * number + 1
        if "igris" in reply:
            assert report["context_length"] == 700
            assert report["prompt_tokens"] == reply["usage"]["prompt_tokens"]
        assert reply["usage"]["prompt_tokens"] <= 700 - 120
    assert omitted[0] == 0 and omitted[-1] > 0
    assert [text for text in one.texts("c") if "xxx" in text and ":" not in text] == said


def test_old_turns_go_in_large_steps_so_that_the_prefix_stays(daemon):
    one = daemon(models=[small(2000, "--answer", "ok")])
    omitted = []
    for _ in range(60):
        reply = one.post("x" * 60, conversation="c", max_tokens=40).json()
        omitted.append(reply.get("igris", {"context": {"omitted": 0}})["context"]["omitted"])
    steps = [after - before for before, after in zip(omitted, omitted[1:])]
    assert omitted[-1] > 0
    assert sum(1 for step in steps if step) <= len(steps) / 4, omitted


def test_a_turn_that_alone_does_not_fit_is_a_400_and_is_not_kept(daemon):
    one = daemon(models=[small(700)])
    one.ask("short", conversation="c")
    with pytest.raises(openai.BadRequestError) as refusal:
        one.client().chat.completions.create(
            model="phi3", messages=[user("x" * 5000)], extra_body={"conversation": "c"})
    assert refusal.value.code == "context_length_exceeded"
    assert "700" in refusal.value.message
    assert one.texts("c") == ["short", "1: short"]


def test_a_stream_says_what_was_left_out_too(daemon):
    one = daemon(models=[small(700, "--answer", "ok")])
    client = one.client()
    for _ in range(12):
        stream = client.chat.completions.create(
            model="phi3", messages=[user("x" * 60)], stream=True, extra_body={"conversation": "c"})
        reports = [report for chunk in stream if (report := (chunk.model_extra or {}).get("igris"))]
    assert len(reports) == 1
    assert reports[0]["context"]["omitted"] > 0
