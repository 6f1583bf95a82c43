"""`GET /metrics`: Prometheus' text format, and counters that count."""

import re
import shutil
import subprocess

import pytest

from daemon import eventually, samples


def totals(text: str, name: str) -> float:
    """The sum over all labels of one metric."""
    return sum(value for sample, value in samples(text) if re.match(rf"{name}(\{{|$)", sample))


def test_every_sample_has_a_declared_type_and_our_prefix(daemon):
    one = daemon()
    one.ask("Hello", conversation="planted-conversation")
    reply = one.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")
    text = reply.text
    assert text.endswith("\n")
    types = dict(re.findall(r"^# TYPE (\S+) (counter|gauge|histogram|summary|untyped)$", text, re.MULTILINE))
    names = [sample.split("{")[0] for sample, _ in samples(text)]
    assert names
    for name in names:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert name in types or types.get(base) in ("histogram", "summary"), name
        assert name.startswith(("igris_", "process_")), name
    for name, kind in types.items():
        assert kind != "counter" or name.endswith("_total"), name
    assert len(names) == len(set(sample for sample, _ in samples(text))) or len(set(names)) < len(names)
    assert "planted-conversation" not in text and "default" not in re.findall(r'conversation="([^"]*)"', text)


def test_histograms_are_cumulative_and_end_with_infinity(daemon):
    one = daemon()
    one.ask("Hello")
    series: dict[str, list[tuple[str, float]]] = {}
    text = one.get("/metrics").text
    for sample, value in samples(text):
        if "_bucket{" in sample:
            bound = re.search(r'le="([^"]*)"', sample)[1]
            series.setdefault(re.sub(r',?le="[^"]*"', "", sample), []).append((bound, value))
    assert series
    for name, buckets in series.items():
        assert buckets[-1][0] == "+Inf", name
        values = [value for _, value in buckets]
        assert values == sorted(values), name
        bounds = [float(bound) for bound, _ in buckets[:-1]]
        assert bounds == sorted(bounds), name


def test_counters_rise_with_what_is_done(daemon):
    one = daemon()
    one.ask("Hello")
    before = one.get("/metrics").text
    for _ in range(3):
        one.ask("Remember: my name is Alice")
    one.post("Hello", model="unknown")
    after = one.get("/metrics").text

    def grown(pattern: str) -> bool:
        names = {sample.split("{")[0] for sample, _ in samples(after) if re.search(pattern, sample)}
        assert names, f"no metric like {pattern}"
        return any(totals(after, name) > totals(before, name) for name in names)

    for pattern in [
        r"^igris_.*requests_total", r"^igris_.*request.*seconds_count", r"^igris_.*tokens.*total",
        r"^igris_.*first_token.*_count",
    ]:
        assert grown(pattern), pattern
    assert any(re.match(r"igris_.*(queue|waiting)", name) for name, _ in samples(after))
    assert any(re.match(r"igris_store_", name) for name, _ in samples(after))


def test_the_store_metrics_follow_the_conversations(daemon):
    one = daemon()
    one.ask("Hello", conversation="a")
    one.ask("Hello", conversation="b")

    def conversations():
        text = one.get("/metrics").text
        return totals(text, "igris_store_conversations") == 2

    eventually("two conversations", conversations, within=5)


def test_promtool_has_nothing_to_say(daemon):
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    one = daemon()
    one.ask("Hello")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=one.get("/metrics").text, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
