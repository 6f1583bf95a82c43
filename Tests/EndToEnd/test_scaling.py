"""Engines by how long requests wait, hosts by what the swarm has to do, and newcomers that take their share."""

import concurrent.futures
import json
import math
import re
import subprocess

from daemon import Daemon, children_of, recall, samples
from swarm import wait_for

QUESTION = "Remember: my name is Alice"


def metric(host: Daemon, name: str) -> float:
    return next((value for sample, value in samples(host.get("/metrics").text) if re.match(rf"{name}(\{{|$)", sample)), 0)


def instances(host: Daemon) -> float:
    return metric(host, "igris_engine_instances")


def test_engines_of_a_model_come_with_the_load_and_go_after_it(daemon):
    model = recall(pace=15, slots=1, instances={"min": 1, "max": 3, "wait": "1s", "idle": "2s"})
    one = daemon(models=[model])
    wait_for(lambda: "one runs", lambda: instances(one) == 1, 10)
    before = len(children_of(one.process.pid))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = [
            pool.submit(one.post, QUESTION, model="igris-recall", conversation=f"c{number}")
            for number in range(6)]
        wait_for(lambda: f"three run: {instances(one)}", lambda: instances(one) == 3, 20)
        assert len(children_of(one.process.pid)) == before + 2
        # The peers, and whoever looks, are told of all slots.
        model = one.get("/v1/status").json()["models"][0]
        assert model["running"] <= 3
        for answer in answers:
            reply = answer.result()
            assert reply.status_code == 200, reply.text
            assert reply.json()["choices"][0]["message"]["content"].endswith("Alice")
    wait_for(lambda: f"one is left: {instances(one)}", lambda: instances(one) == 1, 20)
    wait_for(lambda: "its process too", lambda: len(children_of(one.process.pid)) == before, 10)


def test_a_maximum_below_the_minimum_is_refused(binary, tmp_path):
    file = tmp_path / "config.json5"
    file.write_text(json.dumps({"models": [recall(instances={"min": 3, "max": 2})]}))
    done = subprocess.run(
        [str(binary), "check", "--config", str(file)], capture_output=True, text=True, timeout=30, cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 78 and "models[0].instances.max" in done.stdout + done.stderr, done


def test_the_capacity_can_be_computed_again_and_the_hook_is_told(swarm, tmp_path):
    told = tmp_path / "told"
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    hook.chmod(0o755)
    one = swarm(2, models=[recall(pace=10, slots=1)], config={
        "scaling": {"window": "6s", "hook": [str(hook), "several words; $HOME"]}})
    asked = one.hosts[0]
    for host in one.hosts:
        wait_for(lambda: "both are known", lambda: host.fetch("/v1/swarm/capacity").json["slots"] == 2, 10)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        busy = [pool.submit(asked.say, QUESTION, f"c{number}") for number in range(6)]
        page = wait_for(
            lambda: f"a peak of six: {asked.fetch('/v1/swarm/capacity').text}",
            lambda: (page := asked.fetch("/v1/swarm/capacity").json)["peak_requests"] == 6 and page, 15)
        assert page["requests_per_host"] == 1 and page["hosts"] == 2
        assert page["recommended_hosts"] == math.ceil(1.25 * page["peak_requests"] / page["requests_per_host"]) == 8
        metrics = asked.metrics()
        assert metrics["igris_desired_hosts"] == math.ceil(
            1.25 * metrics["igris_capacity_peak_requests"] / metrics["igris_capacity_requests_per_host"])
        for answer in busy:
            assert answer.result().status == 200
    def lines() -> list[str]:
        return told.read_text().splitlines() if told.exists() else []

    # Arguments as they stand: no shell has seen them.
    wait_for(lambda: f"the hook is told: {lines()}", lambda: "several words; $HOME 8 2" in lines(), 15)
    # After the window the peak is gone, and that is told too.
    wait_for(lambda: f"and told again: {lines()}", lambda: lines()[-1] == "several words; $HOME 1 2", 25)
    assert lines().count("several words; $HOME 8 2") == 1, "one host speaks for all"


def test_a_newcomer_has_its_share_within_ten_seconds(swarm):
    one = swarm(2, models=[recall(pace=40, slots=1)])
    asked = one.hosts[0]
    newcomer = one.host()
    newcomer.start()
    served = set()

    def asks(number: int) -> None:
        reply = asked.say(QUESTION, f"c{number}", fields={"max_tokens": 12})
        assert reply.status == 200, reply.text
        served.add(reply.headers["x-igris-served-by"])

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        number = 0

        def has_served():
            nonlocal number
            list(pool.map(asks, range(number, number + 6)))
            number += 6
            return newcomer.id in served

        wait_for(lambda: f"the newcomer has answered: {served}", has_served, 10)
