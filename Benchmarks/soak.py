"""soak.py --minutes N: a bounded part of every row of the reliability table (figures.md §3) that this project has a test
for, within so many minutes, and at the end the table: what, the gate, what was reached in this run, and what the gate
itself would take.

Each row is a command that is there anyway: tests of `Tests/EndToEnd` with their counts set by the environment, the
simulator, a benchmark. Short ones run once; those that count (kills, fills, flips, seeds) are repeated until their share
of the time is used. Ends with 1 where an acknowledged turn was lost or anything failed. `--write FILE` puts the table
where it can be read (docs/reliability.md); `--only RF-15,RF-17` runs those rows alone.
"""

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))
sys.path.insert(0, str(ROOT / "Benchmarks"))

from daemon import Daemon, scripted_engine  # noqa: E402
from figures import machine  # noqa: E402

PYTHON = sys.executable
BINARY = Path(os.environ.get("IGRIS_BINARY", ROOT / ".build/release/igris-runtime")).resolve()
SIMULATOR = ROOT / ".build/release/swarm-simulator"
UNIT_TESTS = ROOT / ".build/debug/igris-runtimePackageTests.xctest"


@dataclass
class Outcome:
    """What came of a row: figures that are added up over its rounds."""

    counts: dict[str, float] = field(default_factory=dict)
    lost: int = 0
    failures: list[str] = field(default_factory=list)
    skipped: str | None = None
    seconds: float = 0.0

    def add(self, other: "Outcome") -> None:
        for name, count in other.counts.items():
            # Of the longest, the slowest, the most the greatest counts.
            keep = max if name.startswith(("longest", "slowest", "most")) else lambda a, b: a + b
            self.counts[name] = keep(self.counts[name], count) if name in self.counts else count
        self.lost += other.lost
        self.failures += other.failures
        self.skipped = self.skipped or other.skipped
        self.seconds += other.seconds


@dataclass
class Row:
    id: str
    what: str
    gate: str
    run: Callable[[float], Outcome]
    # Seconds that one round takes here, about.
    cost: float
    # Its part of the time that is left for rows that count; 0: one round.
    weight: int = 0
    # What the gate itself would take.
    rest: str = ""


# How a row is run


def command(words: list[str], environment: dict[str, str], within: float) -> tuple[int, str]:
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "IGRIS_BINARY": str(BINARY), "LLAMA_DIR": str(ROOT / ".tools/llama"), **environment})
    try:
        output, _ = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        # Its own group: what it started ends with it.
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        return -1, output + f"\nnot over within {within:.0f} s"
    return process.returncode, output


def tests(
    *which: str, env: dict[str, str] | None = None, figures: dict[str, str] | None = None, count: str = "cases",
    within: float = 600,
) -> Callable[[float], Outcome]:
    """A round of tests. `figures`: names and what finds each in what the tests print."""

    def run(_: float) -> Outcome:
        begin = time.monotonic()
        words = [PYTHON, "-m", "pytest", "-c", "Tests/EndToEnd/pytest.ini", "-s", "-rs", "--timeout", str(int(within))]
        for one in which:
            words += one.split(" ", 1) if one.startswith("-") else [f"Tests/EndToEnd/{one}"]
        code, output = command(words, env or {}, within)
        outcome = Outcome(seconds=time.monotonic() - begin)
        passed = re.search(r"(\d+) passed", output)
        failed = re.search(r"(\d+) failed", output)
        outcome.counts[count] = int(passed[1]) if passed else 0
        for name, pattern in (figures or {}).items():
            found = [float(each) for each in re.findall(pattern, output)]
            if found:
                outcome.counts[name] = max(found) if name.startswith(("longest", "slowest", "most")) else sum(found)
        outcome.lost = sum(int(each) for each in re.findall(r"(\d+) lost", output)) + output.count("acknowledged turns are lost")
        if failed or code not in (0, 5):
            told = re.findall(r"^(?:FAILED|ERROR|E  ) .*", output, re.M) or [output.strip()[-400:] or f"ended with {code}"]
            outcome.failures += told
        if not passed and not outcome.failures:
            why = re.search(r"^SKIPPED .*?: (.*)", output, re.M)
            outcome.skipped = why[1] if why else "nothing ran"
        return outcome

    return run


def kills(seconds: float) -> Outcome:
    """A round of the loop that kills daemons while turns are written to them, each time with another seed."""
    begin = time.monotonic()
    count = max(20, min(500, int(seconds * 4)))
    code, output = command(
        [PYTHON, "Tests/EndToEnd/soak_kills.py", "--binary", str(BINARY), "--kills", str(count),
         "--seed", str(int(begin))], {}, 3_600)
    outcome = Outcome(seconds=time.monotonic() - begin)
    found = re.search(r"(\d+) kills \(.*?: (\d+) turns acknowledged.*?(\d+) turns lost", output)
    if found:
        outcome.counts = {"kills": int(found[1]), "acknowledged": int(found[2])}
        outcome.lost = int(found[3])
    if code or not found:
        outcome.failures.append(output.strip()[-400:])
    return outcome


def simulated(seconds: float) -> Outcome:
    begin = time.monotonic()
    seeds = 200 if seconds > 60 else 30
    start = int(time.time()) % 1_000_000_000
    if not SIMULATOR.is_file():
        return Outcome(skipped="the simulator is not built (make sim)")
    code, output = command(
        [str(SIMULATOR), "--seeds", str(seeds), "--start", str(start), "--seconds", "60"], {}, 1_200)
    outcome = Outcome({"seeds": seeds}, seconds=time.monotonic() - begin)
    if code:
        outcome.failures.append(output.strip()[-400:])
    return outcome


def replay(_: float) -> Outcome:
    begin = time.monotonic()
    if not UNIT_TESTS.is_file():
        return Outcome(skipped="the unit tests are not built (make build)")
    code, output = command(
        [str(UNIT_TESTS), "--testing-library", "swift-testing", "--filter", "ReplayTests"], {}, 300)
    cases = sum(1 for path in (ROOT / "Tests/Fixtures/fuzz").rglob("*") if path.is_file())
    outcome = Outcome({"inputs replayed": cases}, seconds=time.monotonic() - begin)
    if code:
        outcome.failures.append(output.strip()[-400:])
    return outcome


def crash_points(_: float) -> Outcome:
    begin = time.monotonic()
    if not (ROOT / "Tests/StoreTests/Crash").is_dir():
        return Outcome(skipped="no shim under SQLite in this tree")
    if not UNIT_TESTS.is_file():
        return Outcome(skipped="the unit tests are not built (make build)")
    code, output = command(
        [str(UNIT_TESTS), "--testing-library", "swift-testing", "--filter", "CrashConsistency"],
        {"IGRIS_CRASH_SEEDS": "1"}, 900)
    rows = re.findall(r"^\|([^|\n]+)\|(.*)\|$", output, re.M)
    points = sum(int(cell.replace(",", "")) for _, rest in rows for cell in rest.split("|")[:1] if cell.strip().replace(",", "").isdigit())
    outcome = Outcome({"steps at which the disk failed": points} if points else {"runs of the scenarios": 1},
                      seconds=time.monotonic() - begin)
    if code:
        outcome.failures.append(output.strip()[-400:])
    return outcome


def steady(seconds: float) -> Outcome:
    """A host at a fixed load: whether its memory and descriptors grow."""
    import tempfile

    import httpx

    instant = scripted_engine("instant", "echo.py", aliases=["phi3"])
    instant["command"] += ["--answer", "ok"]
    begin = time.monotonic()
    length = max(20.0, seconds - 3)
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as name:
        one = Daemon(BINARY, Path(name) / "home", {
            "models": [instant], "mcp": {"mdns": False, "multicast": False}}, [], {}).start()
        try:
            asked, over = [0, 0], threading.Event()
            failures: list[str] = []

            def ask(writer: int) -> None:
                with httpx.Client(base_url=one.url, timeout=30) as client:
                    while not over.is_set():
                        body = {"model": "phi3", "conversation": f"steady-{writer}-{asked[writer] // 100}",
                                "messages": [{"role": "user", "content": "x" * 200}]}
                        reply = client.post("/v1/chat/completions", json=body)
                        if reply.status_code != 200:
                            failures.append(f"{reply.status_code} {reply.text[:200]}")
                        asked[writer] += 1
                        over.wait(0.02)

            def look() -> tuple[float, int]:
                status = Path(f"/proc/{one.pid}/status").read_text()
                return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1_024, len(os.listdir(f"/proc/{one.pid}/fd"))

            descriptors = look()[1]
            writers = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
            for writer in writers:
                writer.start()
            samples: list[tuple[float, float]] = []
            while time.monotonic() - begin < length:
                time.sleep(min(2.0, length / 10))
                samples.append((time.monotonic() - begin, look()[0]))
            over.set()
            for writer in writers:
                writer.join(60)
            # The second half: what is kept on purpose has come by then.
            half = [sample for sample in samples if sample[0] > length / 2]
            mean_t = sum(t for t, _ in half) / len(half)
            mean_m = sum(m for _, m in half) / len(half)
            spread = sum((t - mean_t) ** 2 for t, _ in half) or 1
            slope = sum((t - mean_t) * (m - mean_m) for t, m in half) / spread * 3_600
            deadline = time.monotonic() + 10
            while look()[1] > descriptors + 4 and time.monotonic() < deadline:
                time.sleep(0.1)
            left = look()[1] - descriptors
            outcome.counts = {"turns": sum(asked), "most MiB resident": max(m for _, m in samples),
                              "most MiB/h of growth": slope, "most descriptors left": max(0, left)}
            outcome.failures += failures[:3]
            if left > 4:
                outcome.failures.append(f"{left} descriptors are left open")
            if one.process.poll() is not None:
                outcome.failures.append("the daemon has ended")
        finally:
            one.close()
    outcome.seconds = time.monotonic() - begin
    return outcome


def backup(_: float) -> Outcome:
    begin = time.monotonic()
    code, output = command([PYTHON, "Benchmarks/backup.py", "0.1"], {}, 600)
    outcome = Outcome(seconds=time.monotonic() - begin)
    if code:
        outcome.failures.append(output.strip()[-400:])
        return outcome
    during = re.search(r"during the backup: (\d+) turns.*?longest ([\d.]+) ms, (\d+) above 50 ms", output)
    took = re.search(r"backup: ([\d.]+) s", output)
    if during and took:
        outcome.counts = {"stores of 0.1 GiB": 1, "longest backup, s": float(took[1]), "turns meanwhile": int(during[1]),
                          "longest turn, ms": float(during[2]), "above 50 ms": int(during[3])}
    return outcome


ROWS = [
    Row("RF-01", "Acknowledged turns lost by SIGKILL", "0 in 100,000 kills", kills, 8, 30,
        "100,000 kills are some hours on two cores: make soak-kills KILLS=100000"),
    Row("RF-02", "Disk failures and power cuts at every step", "every step, once, for ever and cut, 20 seeds, 12 scenarios",
        crash_points, 60, 0, "20 seeds: make crash SEEDS=20"),
    Row("RF-03", "Hostile inputs", "10⁹ each for 12 inputs", replay, 10, 0,
        "10⁹ inputs are some hours a target on two cores: make fuzz TARGET=all MINUTES=…"),
    Row("RF-04", "Simulated swarms", "10,000 seeds a night, 0 violations", simulated, 12, 12,
        "10,000 seeds: make sim SEEDS=10000, a night on two cores"),
    Row("RF-05", "Turns under kills and freezes", "12 workloads × 18 nemeses, 10 min each",
        tests("test_swarm_conversations.py", "-k mixed_traffic", env={"IGRIS_SOAK_SECONDS": "20"}, count="rounds",
              figures={"acknowledged": r": (\d+) turns acknowledged", "kills": r"(\d+) kills", "freezes": r"(\d+) freezes"}),
        32, 10, "the nemeses that need a network of their own run in test_lab_swarm; all pairs, 36 h of machines"),
    Row("RF-06", "Orphan generations after a client has left", "0 of 10,000", tests("test_client_gone.py"), 6, 0,
        "10,000 aborts over all stages need a loop of their own"),
    Row("RF-07", "Slow readers", "1,000 stalled: others' p99 ≤ 2×", tests("test_streams.py"), 3, 0,
        "1,000 stalled readers and p99: Benchmarks/connections.py on a quiet machine"),
    Row("RF-08", "Connections", "10,000 idle, 2,000 streams, ≤ 1 GiB, 0 errors",
        tests("test_limits.py", "-k idle or left or gone"), 12, 0, "the full count: make bench-connections"),
    Row("RF-09", "Slow and oversized requests", "4,096 for 10 min: honest p99 ≤ 2×, growth ≤ 64 MiB",
        tests("test_slow_clients.py", "test_limits.py"), 40, 0, "4,096 for 10 min from another machine"),
    Row("RF-10", "Smuggling and splitting", "120 cases, 0 ambiguous, same verdict behind nginx and HAProxy",
        tests("test_smuggling.py"), 25, 0),
    Row("RF-12", "Contract of the API", "100,000 generated cases, 0 of 5xx",
        tests("test_openapi.py"), 26, 0, "100,000 cases: a run of schemathesis of an hour"),
    Row("RF-13", "Memory and descriptors at a fixed load", "72 h: ≤ 1 MiB/h, descriptors back",
        steady, 20, 8, "72 h; in minutes a slope is mostly what the store's caches take at first"),
    Row("RF-14", "Descriptors exhausted", "256 descriptors, 10,000 connects: no exit, heals ≤ 1 s",
        tests("test_descriptors.py", env={"IGRIS_CONNECTS": "2000"}, count="rounds",
              figures={"connects": r"RF-14: (\d+) connects", "slowest healing, s": r"healed in ([\d.]+) s"}), 8, 3),
    Row("RF-15", "Disk filled at random moments", "1,000 points: 0 lost, reads served, heals ≤ 5 s",
        tests("test_pressure.py", "-k random_moments", env={"IGRIS_FILLS": "40"}, count="rounds",
              figures={"fills": r"RF-15: (\d+) fills", "acknowledged": r"(\d+) acknowledged",
                       "slowest healing, s": r"healed in ([\d.]+) s"}), 25, 10, "IGRIS_FILLS=1000, about 10 min"),
    Row("RF-16", "Bit flips", "10,000: 0 wrong text, ≥ 99 % repaired from peers, the rest named",
        tests("test_bit_flips.py", env={"IGRIS_FLIPS": "80"}, count="kinds",
              figures={"flips": r"RF-16: (\d+) flips"}), 22, 8, "IGRIS_FLIPS=10000, about an hour"),
    Row("RF-16b", "Damaged rows, on one host and on both", "repaired crosswise, what nobody has is named",
        tests("test_damage.py", within=400), 70, 0),
    Row("RF-17", "Clock jumps", "± 1 year, strobe 1 s × 10 min: 0 lost, 0 falsely expired",
        tests("test_clock_jumps.py", env={"IGRIS_STROBE_SECONDS": "15"}, figures={"acknowledged": r"(\d+) turns acknowledged"}),
        120, 0, "IGRIS_STROBE_SECONDS=600"),
    Row("RF-18", "Engine crashes and hangs", "1,000 crashes: daemon alive, next answer ≤ 2 s",
        tests("test_engine_protocol.py", "test_llama_server.py", "-k misbehaving or killed_server or absurdly"), 8, 0,
        "1,000 crashes need a loop of their own"),
    Row("RF-19", "Host death in mid-answer", "1,000: resumed ≤ 1 s p99, no token twice or missing",
        tests("test_failover.py", "-k kills_in_a_loop", env={"IGRIS_KILLS": "10"}, count="rounds",
              figures={"kills": r": (\d+), longest pause", "longest pause, ms": r"max (\d+) ms"}), 30, 10, "make soak-failover: 1,000 kills, some hours"),
    Row("RF-20", "Authorization matrix", "every route × identity × header, 0 unexpected 2xx",
        tests("test_access_matrix.py"), 15, 0),
    Row("RF-21", "Planted secrets", "0 hits anywhere", tests("test_canaries.py", "test_memory_secrecy.py"), 25, 0),
    Row("RF-22", "Exposure of the unit", "≤ 1.0 (processor) and ≤ 1.2", tests("test_service.py"), 8, 0),
    Row("RF-24", "Restarts in turn under load", "0 of 100,000 requests failed, mixed versions",
        tests("test_drain.py", "-k rolling"), 25, 0, "another version beside this one: there is none yet"),
    Row("RF-25", "Start", "ready ≤ 200 ms with 10,000 conversations", tests("test_first_run.py"), 3, 0,
        "the figure itself: make bench"),
    Row("RF-26", "Floods on the swarm's ports", "50,000 junk datagrams/s for 10 min",
        tests("test_swarm_discovery.py", "test_swarm_trust.py", "-k junk or garbage or handshake"), 12, 0,
        "another machine to send them from"),
    Row("RF-28", "Backup at work", "1 GiB ≤ 2 min, no write held up > 50 ms", backup, 40, 0, "make bench-backup"),
]
NOT_HERE = {
    "RF-11": ("Proxy overhead", "make bench-gateway"),
    "RF-23": ("Coverage", "a build of its own with -profile-coverage-mapping"),
    "RF-27": ("Bug museum", "the simulator's planted bugs are found by `make test`"),
}


def plan(minutes: float, rows: list[Row]) -> tuple[list[Row], list[Row], dict[str, float]]:
    """Which rows run, which do not fit, and the seconds of each that counts."""
    total = minutes * 60
    counting = [row for row in rows if row.weight]
    once = sorted((row for row in rows if not row.weight), key=lambda row: row.cost)
    # Each that counts gets a round at least; what does not count may take up to half of the rest.
    left = total - sum(row.cost for row in counting)
    chosen, budget = [], max(left / 2, left - 900)
    for row in once:
        if row.cost <= budget:
            chosen.append(row)
            budget -= row.cost
    spare = max(0.0, left - sum(row.cost for row in chosen))
    weights = sum(row.weight for row in counting) or 1
    share = {row.id: row.cost + spare * row.weight / weights for row in counting}
    running = [row for row in rows if row.weight or row in chosen]
    return running, [row for row in rows if row not in running], share


def execute(row: Row, seconds: float, deadline: float) -> Outcome:
    outcome = row.run(seconds)
    while row.weight and not outcome.failures and not outcome.skipped:
        spent = outcome.seconds
        # Another round as long as this one has taken must fit.
        rounds = max(1, round(outcome.counts.get("rounds", 1)))
        each = max(1.0, spent / rounds)
        if spent + each > seconds * 1.1 or time.monotonic() + each > deadline:
            break
        outcome.add(row.run(seconds))
    return outcome


def reached(outcome: Outcome | None) -> str:
    if outcome is None:
        return "–"
    if outcome.skipped:
        return f"– ({outcome.skipped})"

    def figure(value: float) -> str:
        return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.2f}"

    words = [
        f"{name.removesuffix(', s').removesuffix(', ms')} {figure(value)} {name.rpartition(', ')[2]}"
        if name.endswith((", s", ", ms")) else f"{name} {figure(value)}"
        if name.startswith(("longest", "slowest", "most")) else f"{figure(value)} {name}"
        for name, value in outcome.counts.items() if name != "rounds"
    ]
    return ", ".join(words) + (f"; **{outcome.lost} lost**" if outcome.lost else "")


def verdict(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not in this run"
    if outcome.lost or outcome.failures:
        return "**FAILED**"
    return "skipped" if outcome.skipped else "clean"


def table(results: dict[str, Outcome], rows: list[Row], minutes: float, seconds: float) -> str:
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    lines = [
        f"`make soak MINUTES={minutes:g}` on {now}, commit {commit or '?'}, {machine()}, load average "
        f"{os.getloadavg()[1]:.1f}: {seconds / 60:.1f} min, "
        f"{sum(outcome.lost for outcome in results.values())} acknowledged turns lost, "
        f"{sum(bool(outcome.failures) for outcome in results.values())} rows failed.", "",
        "| Id | What | Gate | In this run | Verdict | What the gate itself takes |", "|---|---|---|---|---|---|",
    ]
    for row in rows:
        outcome = results.get(row.id)
        lines.append(f"| {row.id} | {row.what} | {row.gate} | {reached(outcome)} | {verdict(outcome)} | {row.rest or '–'} |")
    for name, (what, where) in NOT_HERE.items():
        lines.append(f"| {name} | {what} | | – | elsewhere | {where} |")
    return "\n".join(lines) + "\n"


PAGE = """# Reliability, in figures

What `make soak` has run last, row by row of what a release is measured by. "Clean" means that this part of the row ran
and nothing was lost and nothing failed; it does not mean that the gate was reached, unless the counts say so. The last
column says what would. The table is written by the command itself (`make soak MINUTES=30 ARGS="--write
docs/reliability.md"`).

"""


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--only", help="rows by their ids, with commas")
    options.add_argument("--write", type=Path, help="where the table is kept")
    options = options.parse_args()
    wanted = options.only.split(",") if options.only else None
    rows = [row for row in ROWS if wanted is None or row.id in wanted]
    running, left_out, share = plan(options.minutes, rows)
    begin = time.monotonic()
    deadline = begin + options.minutes * 60
    if left_out:
        print(f"no time for: {', '.join(row.id for row in left_out)}", flush=True)
    results: dict[str, Outcome] = {}
    for row in running:
        if time.monotonic() + row.cost > deadline + 30:
            continue
        outcome = execute(row, share.get(row.id, row.cost), deadline)
        results[row.id] = outcome
        print(f"{row.id} {row.what}: {verdict(outcome)}, {reached(outcome)} ({outcome.seconds:.0f} s)", flush=True)
        for failure in outcome.failures:
            print(f"    {failure}", flush=True)
    text = table(results, ROWS, options.minutes, time.monotonic() - begin)
    print("\n" + text, flush=True)
    if options.write:
        options.write.write_text(PAGE + text)
    return 1 if any(outcome.lost or outcome.failures for outcome in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
