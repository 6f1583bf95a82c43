"""Whose turn it is: fair queues, classes, deadlines, refusals with position and pace, and what waits goes to hosts that have
nothing to do. Orders and counts only; the times are those of `make bench-overload`."""

import concurrent.futures
import contextlib
import json
import threading
from collections.abc import Iterator

import anthropic
import httpx
import ollama
import openai
import pytest

from daemon import eventually, recall
from swarm import Host, Swarm, wait_for

QUESTION = "Remember: my name is Alice"
# One after another, so slow that a queue stands; an answer of 8 tokens takes 0.2 s.
SLOW = recall(pace=40, slots=1)
KEYS = {name: name[0] * 32 for name in ("ann", "bob", "eve")}
AUTH = {"auth": {"keys": [{"name": name, "key": key} for name, key in KEYS.items()]}}


class Order:
    """Who was answered, in the order of the answers' ends."""

    def __init__(self, host):
        self.host = host
        self.pool = concurrent.futures.ThreadPoolExecutor(64)
        self.done: list[str] = []
        self.replies: dict[str, httpx.Response] = {}
        self.lock = threading.Lock()
        self.asked = 0

    def ask(self, name: str, caller: str | None = None, headers: dict | None = None, tokens: int = 8,
            waits: bool = True, **fields):
        """Returns once the request stands in the queue, or runs (or at once); its reply comes later."""
        before = self.asked
        self.asked += 1

        def run() -> httpx.Response:
            reply = httpx.post(
                f"{self.host.url}/v1/chat/completions", timeout=60,
                headers={**({"Authorization": f"Bearer {KEYS[caller]}"} if caller else {}), **(headers or {})},
                json={"model": "igris-recall", "messages": [{"role": "user", "content": QUESTION}], "store": False,
                      "temperature": 0, "max_tokens": tokens, **fields})
            with self.lock:
                self.done.append(name)
                self.replies[name] = reply
            return reply

        future = self.pool.submit(run)
        if waits:
            eventually(
                f"{name} stands in the queue",
                lambda: self.present() + len(self.done) >= before + 1 or future.done(), within=20)
        return future

    def present(self) -> int:
        model = self.host.status_model()
        return model["running"] + model["waiting"]

    def finish(self) -> list[str]:
        self.pool.shutdown(wait=True)
        assert all(reply.status_code == 200 for reply in self.replies.values()), {
            name: reply.text for name, reply in self.replies.items()}
        return self.done


@pytest.fixture
def alone(daemon):
    def start(length: int = 512, model: dict = SLOW, **config):
        return daemon(config={"models": [model], "queue": {"length": length}, "mcp": {"enabled": False}, **config})

    return start


def test_one_request_of_another_caller_waits_for_one_answer_at_most(alone):
    one = alone(model=recall(pace=15, slots=1), **AUTH)
    order = Order(one)
    for number in range(12):
        order.ask(f"ann{number}", "ann", waits=number == 11)
    order.ask("bob", "bob")
    ended = len(order.done)
    done = order.finish()
    # Whoever runs when bob comes ends before him; one more may end while it is counted.
    assert done.index("bob") <= ended + 2 and done.index("bob") < 10, (ended, done)


def test_fair_is_by_tokens(alone):
    """Ann's answers are long: bob has several turns for one of hers."""
    one = alone(model=recall(pace=12, slots=1), **AUTH)
    order = Order(one)
    order.ask("first", "eve", tokens=30)
    for number in range(3):
        order.ask(f"ann{number}", "ann", waits=False, tokens=30)
    for number in range(6):
        order.ask(f"bob{number}", "bob", waits=number == 5, tokens=2)
    done = order.finish()
    first, second, _ = (place for place, name in enumerate(done) if name.startswith("ann"))
    assert second - first > 2, done


def test_the_better_class_goes_first_by_header_field_and_tier(alone):
    one = alone(model=recall(pace=15, slots=1))
    order = Order(one)
    order.ask("first", tokens=39)
    order.ask("low", headers={"X-Igris-Priority": "low"}, tokens=2)
    order.ask("flex", service_tier="flex", tokens=2)
    order.ask("normal", tokens=2)
    order.ask("high", priority="high", tokens=2)
    order.ask("priority", service_tier="priority", tokens=2)
    order.ask("header", headers={"X-Igris-Priority": "high"}, priority="low", tokens=2)
    assert order.finish() == ["first", "high", "priority", "header", "normal", "low", "flex"]
    metrics = one.metrics()
    assert metrics['igris_queue_wait_seconds_count{class="high"}'] == 3
    assert metrics['igris_queue_wait_seconds_count{class="low"}'] == 2
    for wrong in ({"headers": {"X-Igris-Priority": "urgent"}}, {"priority": "urgent"}, {"priority": [1]}):
        reply = one.post(QUESTION, **wrong)
        assert reply.status_code == 400 and "riority" in reply.json()["error"]["param"], reply.text


def test_a_request_that_has_waited_for_as_long_as_it_may_is_told_so(alone):
    one = alone()
    order = Order(one)
    order.ask("first", tokens=40)
    late = one.post(QUESTION, headers={"X-Igris-Deadline": "0.2"})
    assert late.status_code == 504, late.text
    assert late.json()["error"]["code"] == "timed_out" and "as long as it may" in late.json()["error"]["message"]
    assert late.headers["x-should-retry"] == "false" and late.headers["x-igris-queue-position"] == "1"
    assert order.finish() == ["first"]
    assert one.metrics()['igris_queue_refusals_total{reason="expired"}'] == 1
    # One that has begun is not cut off by it.
    begun = one.post(QUESTION, headers={"X-Igris-Deadline": "0.05"}, max_tokens=20)
    assert begun.status_code == 200, begun.text
    for wrong in ("soon", "-1", "0", "nan", "99999"):
        reply = one.post(QUESTION, headers={"X-Igris-Deadline": wrong})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "X-Igris-Deadline"), reply.text


def test_the_configured_patience_holds_for_requests_that_say_nothing(daemon):
    one = daemon(config={"models": [SLOW], "queue": {"patience": "1s"}, "mcp": {"enabled": False}})
    order = Order(one)
    for number in range(3):
        order.ask(f"{number}", tokens=39)
    assert one.post(QUESTION).status_code == 504
    order.pool.shutdown(wait=True)
    assert order.replies["0"].status_code == 200


def fill(one, running: int = 1, waiting: int = 2) -> Order:
    order = Order(one)
    for number in range(running + waiting):
        order.ask(f"{number}", tokens=60)
    eventually("the queue is full", lambda: one.status_model()["waiting"] == waiting, within=10)
    return order


def test_a_full_queue_says_position_and_pace_in_each_dialect(alone):
    one = alone(length=2, model=recall(pace=10, slots=1))
    assert one.post(QUESTION, max_tokens=8).status_code == 200  # so that there is a pace
    order = fill(one)
    with pytest.raises(openai.RateLimitError) as chat:
        one.client().chat.completions.create(
            model="igris-recall", messages=[{"role": "user", "content": QUESTION}], stream=True)
    assert chat.value.response.headers["x-igris-queue-position"] == "3"
    assert "number 3" in chat.value.message and chat.value.code == "overloaded"
    seconds = int(chat.value.response.headers["retry-after"])
    # One answer took a second, and three would have to end before it.
    assert 1 <= seconds <= 60
    assert int(chat.value.response.headers["retry-after-ms"]) <= seconds * 1000
    with pytest.raises(openai.RateLimitError) as response:
        one.client().responses.create(model="igris-recall", input=QUESTION)
    assert response.value.response.headers["x-igris-queue-position"] == "3"
    with anthropic.Anthropic(base_url=one.url, api_key="unused", max_retries=0) as client:
        with pytest.raises(anthropic.RateLimitError) as message:
            client.messages.create(
                model="igris-recall", max_tokens=9, messages=[{"role": "user", "content": QUESTION}])
    assert message.value.body["error"]["type"] == "rate_limit_error"
    assert message.value.response.headers["x-igris-queue-position"] == "3"
    assert "retry-after" in message.value.response.headers
    with pytest.raises(ollama.ResponseError) as chat:
        ollama.Client(host=one.url).chat("igris-recall", [{"role": "user", "content": QUESTION}])
    assert chat.value.status_code == 503 and "number 3" in chat.value.error
    assert one.metrics()['igris_queue_refusals_total{reason="full"}'] == 4
    order.finish()


def test_another_caller_finds_room_where_one_has_filled_the_queue(alone):
    one = alone(length=3, model=recall(pace=12, slots=1), **AUTH)
    order = Order(one)
    for number in range(4):
        order.ask(f"ann{number}", "ann", tokens=30)
    eventually("the queue is full", lambda: one.status_model()["waiting"] == 3, within=10)
    bob = order.ask("bob", "bob")
    assert bob.result().status_code == 200
    order.pool.shutdown(wait=True)
    assert order.replies["ann3"].status_code == 429, "the last of whoever has most waiting gives way"
    assert {order.replies[f"ann{number}"].status_code for number in range(3)} == {200}


# Several hosts


@contextlib.contextmanager
def many(asked: Host, count: int, tokens: int = 20) -> Iterator[list[concurrent.futures.Future]]:
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        yield [
            pool.submit(
                asked.say, QUESTION, f"c{number}", fields={"model": "igris-recall", "max_tokens": tokens}, timeout=90)
            for number in range(count)
        ]


def ready(asked: Host) -> int:
    entry = next(row for row in asked.fetch("/v1/models").json["data"] if row["id"] == "igris-recall")
    return sum(host["state"] == "ready" for host in entry.get("igris", {}).get("hosts", []))


def swarm_of(swarm, *weights: int, length: int = 512, pace: int = 40, **config) -> Swarm:
    """Hosts with one slot each. Whatever is asked goes to the one that has weight; only the queue moves it."""
    one = swarm(len(weights), start=False, models=[recall(pace=pace, slots=1)],
                config={"queue": {"length": length}, "routing": {"algorithm": "weighted"}, **config})
    for host, weight in zip(one.hosts, weights):
        file = json.loads(host.config.read_text())
        file["node"]["weight"] = weight
        host.config.write_text(json.dumps(file))
    one.start()
    for host in one.hosts:
        wait_for(lambda: f"all are ready: {ready(host)}", lambda: ready(host) == len(weights), within=20)
    given(one.hosts[0], {host.id: weight for host, weight in zip(one.hosts, weights)})
    return one


def given(asked: Host, weights: dict[str, int]) -> None:
    """Waits until `asked` has been told of those weights."""
    def told() -> dict[str, float]:
        rows = asked.fetch("/v1/route/explain?model=igris-recall").json["hosts"]
        return {row["node"]: row["parts"].get("weight", -1) for row in rows}

    wait_for(lambda: f"weights {weights}: {told()}", lambda: told() == weights, within=20)


def migrations(host: Host, *reasons: str) -> float:
    return sum(
        value for name, value in host.metrics().items()
        if name.startswith("igris_migrations_total") and (not reasons or any(reason in name for reason in reasons)))


def test_an_idle_host_takes_what_waits_on_a_busy_one(swarm):
    one = swarm_of(swarm, 1, 0)
    a, b = one.hosts
    with many(a, 20, tokens=12) as replies:
        replies = [reply.result() for reply in replies]
    assert [reply.status for reply in replies] == [200] * 20, [reply.text for reply in replies if reply.status != 200]
    who = [reply.headers["x-igris-served-by"] for reply in replies]
    assert who.count(b.id) >= 5, who
    assert who.count(a.id) >= 5, who
    assert migrations(a, "steal", "shed") >= who.count(b.id)
    assert a.count("igris_failovers_total") == 0, "nothing has failed"
    # Not one is answered twice, or kept twice.
    assert all(len(a.texts(f"c{number}")) == 2 for number in range(20))


def test_moves_may_be_switched_off(swarm):
    one = swarm_of(swarm, 1, 0, pace=200, queue={"moves": False})
    a, b = one.hosts
    with many(a, 6, tokens=8) as replies:
        assert {reply.result().headers["x-igris-served-by"] for reply in replies} == {a.id}
    assert migrations(a) == 0


def test_a_full_queue_offers_the_request_to_another_host_before_it_refuses(swarm):
    one = swarm_of(swarm, 1, 0, length=0, pace=20)
    a, b = one.hosts
    with many(a, 2, tokens=40) as replies:
        wait_for(lambda: "both work", lambda: a.running() + b.running() == 2, within=10)
        third = a.say(QUESTION, fields={"model": "igris-recall"})
        who = {reply.result().headers["x-igris-served-by"] for reply in replies}
    assert who == {a.id, b.id}
    assert third.status == 429 and third.headers["x-igris-queue-position"] == "1", third.text
    assert "retry-after" in third.headers
    assert migrations(a, "full") >= 1
    assert a.count("igris_failovers_total") == 0


def test_what_waits_here_for_another_host_is_sent_on_too(swarm):
    """A asks B alone, where it waits; C is idle later: B says so, and A asks C."""
    one = swarm(3, start=False, models=[recall(pace=25, slots=1)], config={"routing": {"algorithm": "weighted"}})
    a, b, c = one.hosts
    for host, weight in ((a, 0), (b, 1), (c, 0)):
        file = json.loads(host.config.read_text())
        file["node"]["weight"] = weight
        if host is a:
            file["models"] = [{**file["models"][0], "name": "own", "aliases": []}]
        host.config.write_text(json.dumps(file))
    b.start(until=None)
    a.start(until=None)
    for host in (a, b):
        host.wait_until("/readyz")
    one.together(within=20)
    wait_for(lambda: "A knows of B's model", lambda: "igris-recall" in a.fetch("/v1/models").text, within=20)
    with many(a, 6, tokens=30) as replies:
        wait_for(lambda: "they wait at B", lambda: b.status_model()["waiting"] >= 3, within=10)
        c.start()
        replies = [reply.result() for reply in replies]
    assert [reply.status for reply in replies] == [200] * 6, [reply.text for reply in replies]
    assert c.id in {reply.headers["x-igris-served-by"] for reply in replies}
    assert migrations(b, "steal", "shed") >= 1 and migrations(a, "steal", "shed") == 0


def test_a_host_that_dies_with_a_queue_costs_its_waiting_clients_nothing(swarm):
    one = swarm_of(swarm, 0, 1, 0, pace=25, queue={"moves": False})
    a, b, c = one.hosts
    with many(a, 6, tokens=20) as replies:
        wait_for(lambda: f"they wait at B: {[host.status_model() for host in (a, b, c)]}",
                 lambda: b.status_model()["waiting"] >= 3, within=10)
        b.kill9()
        replies = [reply.result() for reply in replies]
    assert [reply.status for reply in replies] == [200] * 6, [reply.text for reply in replies]
    assert all(len(a.texts(f"c{number}")) == 2 for number in range(6))
