"""RF-17: one host's wall clock jumps by a year, or to and fro each second: nothing is lost, nothing expires that should
not, and nobody is taken for dead. A library that is loaded before
the C library moves it under the release binary."""

import mmap
import os
import shutil
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from daemon import Daemon, recall
from swarm import FOUND, wait_for

YEAR = 365 * 86_400
STROBE = float(os.environ.get("IGRIS_STROBE_SECONDS", 8))


# What every way to ask the C library for the time goes through, moved by the seconds that stand in a shared file. (Debian's
# libfaketime takes its arguments from a program of Swift.)
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static volatile int64_t *shift;
static int (*real)(clockid_t, struct timespec *);
__attribute__((constructor)) static void begin(void) {
    real = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("CLOCK_SHIFT_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = file >= 0 ? mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
    if (page != MAP_FAILED) shift = page;
}
int clock_gettime(clockid_t id, struct timespec *time) {
    if (!real) begin();
    int result = real(id, time);
    if (shift && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) time->tv_sec += *shift;
    return result;
}
int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}
time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture
def clock(tmp_path: Path):
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(SHIM)
    compiler = shutil.which("cc") or shutil.which("clang")
    if not compiler or subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"]).returncode:
        pytest.skip("no C compiler here")
    return Clock(library, tmp_path / "shift")


class Clock:
    """The wall clock of those who run in its environment."""

    def __init__(self, library: Path, file: Path):
        file.write_bytes(bytes(4096))
        self.memory = mmap.mmap(os.open(file, os.O_RDWR), 4096)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(file)}

    def set(self, seconds: int) -> None:
        struct.pack_into("q", self.memory, 0, seconds)

    def covers(self, one: Daemon) -> bool:
        """Whether the daemon sees it."""
        self.set(YEAR)
        time.sleep(1.1)
        date = one.get("/livez").headers["date"]
        self.set(0)
        return time.strftime("%Y", time.gmtime(time.time() + YEAR)) in date


def token(host, *words: str) -> str:
    """A new one, as its owner is shown it."""
    return host.own("token", "new", *words, "--port", str(host.port)).strip().splitlines()[-1]


@pytest.mark.parametrize("jump", [YEAR, -YEAR], ids=["a year ahead", "a year back"])
def test_a_jump_of_a_year_loses_nothing_and_ends_nothing(swarm, clock, jump):
    # What is older than 90 days goes, by a clock that is right. With a bound of size it is looked every five seconds.
    three = swarm(3, start=False, config={"context": {"retention": "90d", "max_bytes": "1GiB"}})
    a, b, c = three.hosts
    b.environment.update(clock.environment)
    three.start()
    if not clock.covers(b):
        pytest.fail("the library does not move this program's clock")
    said: list[str] = []

    def say(host, text: str) -> None:
        reply = host.say(text, "talk")
        assert reply.status == 200, (host.home.name, reply.text, host.logs()[-2000:])
        said.append(text)

    for number, host in enumerate(three.hosts):
        say(host, f"before {number}")
        assert host.say(f"quiet {number}", "quiet").status == 200
    three.equal()
    versions = [host.count("igris_store_key_version") for host in three.hosts]
    clock.set(jump)
    # Long enough for each thing that looks at the clock now and then.
    deadline = time.monotonic() + 12
    number = 0
    while time.monotonic() < deadline:
        for host in three.hosts:
            say(host, f"during {number} {host.home.name}")
            assert host.alive() == 2, [row["state"] for row in host.peers()]
        number += 1
        time.sleep(0.3)
    three.equal()
    # It is told by the one who sees it.
    wait_for(
        lambda: f"told: {b.status()}",
        lambda: any("this host's clock" in warning for warning in b.status()["warnings"]), 3 * FOUND)
    # A link that is cut comes back: certificates are good whatever the clock of one side says, or the reason is named.
    b.freeze()
    wait_for(lambda: "B is missed", lambda: a.state_of(b) != "alive", 20)
    b.thaw()
    three.together(4 * FOUND)
    say(b, "after the link came back")
    # A start with that clock, too.
    b.stop()
    say(a, "while B was away")
    b.start()
    three.together(4 * FOUND)
    three.equal(within=10)
    say(b, "after a start")
    clock.set(0)
    time.sleep(2)
    say(b, "after the clock was right again")
    three.together(2 * FOUND)
    three.equal(within=10)
    for host in three.hosts:
        texts = [text for text in host.texts("talk") if text in said]
        assert sorted(texts) == sorted(said), (host.home.name, set(said) - set(texts))
        # Nobody has touched it since: it expires by a clock that is a year ahead.
        assert [text for text in host.texts("quiet") if text.startswith("quiet")] == [f"quiet {n}" for n in range(3)]
        assert host.count("igris_conversations_expired_total") == 0
        assert host.process.poll() is None
    # One change of a data key that is due by a clock a year ahead, and no more.
    after = [host.count("igris_store_key_version") for host in three.hosts]
    assert after[0] == versions[0] and after[2] == versions[2] and after[1] - versions[1] <= 1, (versions, after)
    print(f"RF-17: a jump of {jump // 86_400} d: {len(said)} turns acknowledged, 0 lost, 0 hosts declared dead by it")


def test_tokens_and_sessions_do_not_expire_by_a_jump_of_another_host(swarm, clock):
    three = swarm(3, start=False)
    a, b, c = three.hosts
    b.environment.update(clock.environment)
    three.start()
    held = token(a, "visitor", "--expires", "30d")
    headers = {"Authorization": f"Bearer {held}"}

    def lets(host) -> int:
        return host.fetch("/v1/models", headers=headers).status

    wait_for(lambda: "all know it", lambda: [lets(host) for host in three.hosts] == [200] * 3, 10)
    clock.set(YEAR)
    time.sleep(3)
    # By its own clock it is over there, and nowhere else.
    assert lets(a) == lets(c) == 200
    assert lets(b) in (200, 401)
    clock.set(0)
    wait_for(lambda: f"good again everywhere: {[lets(host) for host in three.hosts]}",
             lambda: [lets(host) for host in three.hosts] == [200] * 3, 10)


@pytest.mark.timeout(120 + STROBE)
def test_a_clock_that_strobes_stops_nothing(swarm, clock):
    three = swarm(3, start=False)
    a, b, c = three.hosts
    b.environment.update(clock.environment)
    three.start()
    over = threading.Event()

    def strobe() -> None:
        shift = 1
        while not over.wait(1):
            clock.set(shift * YEAR)
            shift = -shift

    thread = threading.Thread(target=strobe)
    thread.start()
    said = 0
    try:
        deadline = time.monotonic() + STROBE
        while time.monotonic() < deadline:
            for host in three.hosts:
                reply = host.say(f"turn {said}", "talk")
                assert reply.status == 200, (reply.text, host.logs()[-2000:])
                said += 1
                assert host.alive() == 2, [row["state"] for row in host.peers()]
            time.sleep(0.1)
    finally:
        over.set()
        thread.join()
    clock.set(0)
    three.equal(within=10)
    for host in three.hosts:
        assert {f"turn {number}" for number in range(said)} <= set(host.texts("talk"))
    print(f"RF-17: {STROBE:.0f} s of strobing by a year: {said} turns acknowledged, 0 lost")


@pytest.mark.parametrize("jump", [YEAR, -YEAR], ids=["a year ahead", "a year back"])
def test_a_host_alone_keeps_what_it_has(daemon, clock, jump):
    one = daemon(config={
        "models": [recall()], "mcp": {"mdns": False, "multicast": False}, "context": {"retention": "off"}}, start=False)
    one.environment.update(clock.environment)
    one.start()
    one.ask("Remember: my name is Alice", conversation="c")
    clock.set(jump)
    assert one.ask("What is my name?", conversation="c") == "Your name is Alice"
    one.restart()
    clock.set(0)
    assert one.ask("What is my name?", conversation="c") == "Your name is Alice"
    one.restart()
    assert len(one.texts("c")) == 6
    done = subprocess.run(
        [one.binary, "audit", "verify", "--url", one.url], capture_output=True, text=True, env=one.environment, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
