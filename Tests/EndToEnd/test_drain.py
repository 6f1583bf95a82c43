"""A host is emptied before it is stopped: its work goes on at the others, in the same streams; hosts are restarted one
after another under load, and no request fails."""

import concurrent.futures
import itertools
import json
import threading
import time

import httpx
import pytest

from daemon import eventually, recall
from swarm import Host, Swarm

QUESTION = "Remember: my name is Alice"
ANSWER = "I will remember that your name is Alice"
SLOW = recall(pace=40)


@pytest.fixture
def three(swarm) -> Swarm:
    return swarm(3, models=[SLOW])


def body(streams: bool = True) -> dict:
    return {
        "model": "igris-recall", "stream": streams, "temperature": 0,
        "messages": [{"role": "user", "content": QUESTION}]}


def give(host: Host, *models: dict) -> None:
    file = json.loads(host.config.read_text())
    file["models"] = list(models)
    host.config.write_text(json.dumps(file))


def offers(asked: Host) -> int:
    """How many hosts that a host knows of are ready to write."""
    entry = next((row for row in asked.fetch("/v1/models").json["data"] if row["id"] == "igris-recall"), {})
    return sum(host["state"] == "ready" for host in entry.get("igris", {}).get("hosts", []))


class Reading:
    """A streamed answer that is read in a thread of its own."""

    def __init__(self, host: Host, conversation: str):
        self.text = ""
        self.served_by = None
        self.failover: list[dict] = []
        self._thread = threading.Thread(target=self._read, args=(host, conversation))
        self._error: BaseException | None = None
        self._thread.start()

    def _read(self, host: Host, conversation: str) -> None:
        try:
            with httpx.stream(
                "POST", host.url + "/v1/chat/completions", json=body(), headers={"X-Conversation-Id": conversation},
                timeout=60,
            ) as reply:
                assert reply.status_code == 200, reply.read()
                self.served_by = reply.headers["x-igris-served-by"]
                for line in reply.iter_lines():
                    if line.startswith("data: {"):
                        chunk = json.loads(line[6:])
                        assert "error" not in chunk, chunk
                        self.failover += chunk.get("igris", {}).get("failover", [])
                        for choice in chunk["choices"]:
                            self.text += choice["delta"].get("content") or ""
        except BaseException as error:  # told in the test's own thread
            self._error = error

    def begun(self) -> "Reading":
        eventually("the answer has begun", lambda: self._error or len(self.text) >= 5, within=20)
        return self

    def end(self) -> str:
        self._thread.join(60)
        if self._error:
            raise self._error
        return self.text


def served(host: Host, count: int) -> set[str]:
    """Who answers so many requests that are asked of a host at once."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        def one(number: int) -> str:
            reply = httpx.post(
                host.url + "/v1/chat/completions", json={**body(False), "max_tokens": 3},
                headers={"X-Conversation-Id": f"new-{host.port}-{number}-{time.monotonic_ns()}"}, timeout=60)
            assert reply.status_code == 200, reply.text
            return reply.headers["x-igris-served-by"]
        return set(pool.map(one, range(count)))


@pytest.mark.parametrize("asked", ["itself", "another"])
def test_what_a_drained_host_writes_goes_on_at_another(swarm, asked):
    three = swarm(3, start=False, models=[SLOW])
    a, b, c = three.hosts
    if asked == "another":
        give(a, recall(name="other"))
    three.start()
    writers = three.hosts if asked == "itself" else [b, c]
    eventually("they know who has the model", lambda: offers(a) == len(writers), within=20)
    answer = Reading(a, "moved").begun()
    victim = next(host for host in three.hosts if host.id == answer.served_by)
    assert (victim is a) == (asked == "itself")
    assert "empty" in victim.command("drain")
    assert answer.end() == ANSWER
    assert [step["from"] for step in answer.failover] == [victim.id], answer.failover
    ready = victim.fetch("/readyz")
    assert ready.status == 503 and "drain --off" in ready.text, ready.text
    # It still takes requests, and has others answer them.
    assert victim.id not in served(victim, 4) | served(a, 4)
    assert json.loads(victim.command("drain", "--off", "--json"))["on"] is False
    assert victim.fetch("/readyz").status == 200
    eventually("it is asked again", lambda: victim.id in served(victim, 4), within=20)


def test_a_drained_host_answers_what_no_other_can(swarm):
    one = swarm(2, start=False, models=[recall(name="other")])
    alone = one.hosts[0]
    give(alone, SLOW)
    one.start()
    answer = Reading(alone, "only").begun()
    told = alone.command("drain", "--wait", "0", code=None)
    assert "no other host has their model" in told, told
    assert answer.end() == ANSWER and not answer.failover
    assert served(alone, 1) == {alone.id}


def test_a_rolling_restart_under_load_fails_no_request(three):
    hosts, stop, failures = three.hosts, threading.Event(), []
    done, streams = itertools.count(), itertools.count()

    def client(number: int) -> None:
        """Asks one host after another, as a client that has three addresses does: where one does not take the request,
        or says that it is about to end, the next one is asked."""
        for turn in itertools.count():
            if stop.is_set():
                return
            conversation = f"roll-{number}-{turn}"
            for attempt in range(20):
                host = hosts[(number + turn + attempt) % len(hosts)]
                try:
                    text = ask(host, conversation, streams=turn % 2 == 0)
                except Refused:
                    time.sleep(0.05 * attempt)
                    continue
                except Exception as error:
                    failures.append(f"{conversation} at {host.name}: {error!r}")
                    return
                if text != ANSWER:
                    failures.append(f"{conversation} at {host.name}: {text!r}")
                next(done)
                break
            else:
                failures.append(f"{conversation}: nobody took it")

    def ask(host: Host, conversation: str, streams: bool) -> str:
        text = ""
        begun = False
        try:
            with httpx.stream(
                "POST", host.url + "/v1/chat/completions", json=body(streams),
                headers={"X-Conversation-Id": conversation, "Idempotency-Key": conversation}, timeout=60,
            ) as reply:
                if reply.status_code == 503:
                    raise Refused
                assert reply.status_code == 200, reply.read()
                begun = True
                if not streams:
                    return json.loads(reply.read())["choices"][0]["message"]["content"]
                for line in reply.iter_lines():
                    if line.startswith("data: {"):
                        chunk = json.loads(line[6:])
                        assert "error" not in chunk, chunk
                        text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
                return text
        except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            if begun:
                raise
            raise Refused from error

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    try:
        for host in hosts:
            time.sleep(1)  # load from every side before the next one goes
            assert host.stop(within=40) == 0, host.logs()
            host.start()
            three.together()
        time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)
    assert not failures, failures
    assert next(done) > 20
    three.equal()


class Refused(Exception):
    """The host did not take the request: another one may be asked without any doubt."""
