"""Requests that could be read in two ways (`smuggling_cases.py`): to the daemon itself, and through servers of others
before it. Whoever stands in front, we never see two requests where one was sent, and no answer holds a line that its
request put there."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from daemon import Daemon, eventually, recall
from fronts import Front
from smuggling_cases import CASES, REFUSAL
from wire import Connection

REFUSALS = range(400, 506)
SETTLED = 0.4


def answers(port: int, sent: bytes, expected: int) -> tuple[list[int], bytes, bool]:
    """The statuses of all answers, all bytes that came, and whether the connection was closed."""
    with Connection(port, timeout=20) as connection:
        connection.send(sent)
        raw = b""
        statuses: list[int] = []
        closed = False
        while not closed:
            # Once all are there that should be: whatever comes now is one too many.
            connection.socket.settimeout(SETTLED if len(statuses) >= expected else 10)
            try:
                closed = not connection.fill()
            except TimeoutError:
                break
            raw += connection.buffer
            connection.buffer = b""
            statuses = statuses_of(raw)
        return statuses, raw, closed


def statuses_of(raw: bytes) -> list[int]:
    """Every answer that begins in the bytes. A body has no line of its own that begins so."""
    found = [int(code) for code in re.findall(rb"HTTP/1\.[01] ([1-5]\d\d) ", raw)]
    return [status for status in found if status >= 200]


def closed_requests(one: Daemon) -> list[str]:
    """The ids of all requests that were answered, by the daemon's log."""
    found = []
    for line in one.logs().splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            if entry.get("message") == "request":
                found.append(entry.get("request.id") or entry.get("metadata", {}).get("request.id"))
    return found


@pytest.fixture(scope="module")
def one(binary, tmp_path_factory):
    config = {"models": [recall()], "log": {"level": "debug", "format": "json"}}
    one = Daemon(binary, tmp_path_factory.mktemp("smuggling"), config, [], {}).start()
    yield one
    one.close()


@pytest.fixture(scope="module")
def seen(one):
    """All cases, many at once: most of the time is waiting for what must not come."""
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda case: answers(one.port, case.sent, len(case.answers)), CASES))
    assert one.process.poll() is None, one.logs()[-4000:]
    return dict(zip((case.name for case in CASES), results, strict=True))


def test_there_are_enough_of_them():
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_read_in_one_way_or_not_at_all(seen, case):
    statuses, raw, closed = seen[case.name]
    assert len(statuses) == len(case.answers), (statuses, raw)
    for status, wanted in zip(statuses, case.answers, strict=True):
        assert status in REFUSALS if wanted == REFUSAL else status == wanted, (statuses, raw)
    if case.closes:
        assert closed, raw
    for head in raw.split(b"HTTP/1.")[1:]:
        assert b"\nx-evil" not in head.partition(b"\r\n\r\n")[0].lower()
    assert b"hidden" not in raw


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_behind_another_server_nothing_comes_that_it_did_not_send(one, seen, root, tmp_path, name):
    before = len(closed_requests(one))
    front = Front(root, tmp_path, name, one.port)
    try:
        # One connection after the other is kept and used again: what is left behind on one is found by the next.
        with ThreadPoolExecutor(16) as pool:
            results = list(pool.map(lambda case: answers(front.port, case.sent, len(case.answers)), CASES))
        statuses = answers(front.port, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 1)[0]
        assert statuses == [200]
    finally:
        front.close()
    one.get("/livez", headers={"X-Request-Id": f"marker-{name}"})
    eventually("the marker is in the log", lambda: f"marker-{name}" in closed_requests(one))
    last = [each for each in closed_requests(one)[before:] if not each.startswith("marker-")]
    assert len(last) > 20
    strangers = [each for each in last if not each.startswith("front-")]
    assert strangers == []
    assert len(last) == len(set(last)), "a request was seen twice"
    # What hides in a body or behind one that is refused gets no answer of its own here either.
    for case, (statuses, raw, _) in zip(CASES, results, strict=True):
        assert b"x-evil:" not in b"".join(part.partition(b"\r\n\r\n")[0].lower() for part in raw.split(b"HTTP/1.")[1:])
        # Servers differ in what they mend (a lone LF, a list of equal lengths), none answers more than was asked.
        assert len(statuses) <= max(len(case.answers), 1 + case.sent.count(b" HTTP/1.")), case.name
