"""gateway.py: this program as a gateway, beside nginx, smg, sglang-router and litellm in the same run.

Two questions. What does passing a request on cost? One upstream that does nothing but answer (Gateway/upstream.c) stands
behind each gateway; Gateway/load.c asks it directly and through each, in turns in random order, on kept connections: the
difference of the medians is what a gateway adds. Upstream and load share a core, the gateway has the other. Ours runs with
everything kept off (`mcp.enabled: false`), which is what the others do. And what is the answer worth when its back end
dies (interruption.py)? `--write FILE` puts the table into that file.
"""

import argparse
import datetime
import multiprocessing
import os
import platform
import subprocess
import tempfile
from pathlib import Path

from figures import Table, machine
from gateways import PEERS, ROOT, STREAM, WHOLE, Gateways, NotServed
from interruption import TOKEN, measure

OURS = "igris-runtime"
FRAMES = 66


def latency(gateways: Gateways, ports: dict[str, int], rounds: int, rows: dict[str, dict]) -> None:
    """Added latency of whole answers, and to the first byte of streams, in microseconds."""
    names = list(ports)
    whole = dict(zip(names, gateways.load("latency", rounds, 25, WHOLE, *ports.values())))
    # 66 ms each: as many in a row as of whole answers, and so fewer rounds.
    streams = dict(zip(names, gateways.load("latency", max(12, rounds // 3), 25, STREAM, *ports.values(), timeout=900)))
    for name in names:
        rows[name] |= {
            "p50": whole[name]["whole"]["p50"] - whole["direct"]["whole"]["p50"],
            "p99": whole[name]["whole"]["p99"] - whole["direct"]["whole"]["p99"],
            "first": streams[name]["first"]["p50"] - streams["direct"]["first"]["p50"],
            "errors": whole[name]["errors"] + streams[name]["errors"],
            "frames": (streams[name]["least"], streams[name]["most"]),
        }


def throughput(gateways: Gateways, ports: dict[str, int], seconds: float, rows: dict[str, dict]) -> None:
    """Requests a second of 32 clients: twice each, in turns, the better one."""
    for _ in range(2):
        for name, port in ports.items():
            row = gateways.load("closed", seconds / 2, 32, WHOLE, port)[0]
            rows[name]["rate"] = max(row["rate"], rows[name].get("rate", 0))
            rows[name]["errors"] += row["errors"]


def interruptions(gateways: Gateways, names: list[str], binary: Path, trials: int, rows: dict[str, dict]) -> None:
    for name in names:
        try:
            rows[name]["exact"] = measure(gateways, name, binary, trials)
        except (NotServed, AssertionError) as error:
            rows[name]["exact"] = None
            print(f"    {name}: not interrupted, {str(error)[:300]}", flush=True)


def judge(rows: dict[str, dict]) -> Table:
    table, mine = Table(), rows[OURS]
    table.add("added, not streamed, p50", mine["p50"] / 1000, "ms", 0.25)
    table.add("added, not streamed, p99", mine["p99"] / 1000, "ms", 1)
    table.add("added to the first token, p50", mine["first"] / 1000, "ms", 0.5)
    table.add("requests a second, c=32", mine["rate"], "req/s", 6_500, at_least=True)
    if mine.get("exact"):
        exact, trials = mine["exact"]
        table.add("answers complete though their writer was killed", 100 * exact / trials, "%", 100, at_least=True)
    return table


def page(rows: dict[str, dict], missing: dict[str, str], versions: dict[str, str], notes: list[str]) -> str:
    """The table as Markdown, and how it came about."""
    lines = [
        "# Benchmarks", "",
        "Written by `make bench-gateway` (`Benchmarks/gateway.py`), which prints the same for your machine. We wrote the "
        "harness and are one of its entrants. A ratio between two rows is worth more than a number.", "",
        "| gateway | answers complete when their back end is killed in mid-stream | added p50 | added p99 "
        "| added to the first token, p50 | requests/s, 32 clients |", "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        if name == "direct":
            continue
        exact = "–" if not row.get("exact") else f"{row['exact'][0]} of {row['exact'][1]}"
        faults = f" ({row['errors']} errors)" if row["errors"] else ""
        if row["frames"] != (FRAMES, FRAMES):
            faults += f" (frames {row['frames'][0]}–{row['frames'][1]} of {FRAMES})"
        lines.append(
            f"| {name} {versions[name]} | {exact} | {row['p50'] / 1000:.2f} ms | {row['p99'] / 1000:.2f} ms "
            f"| {row['first'] / 1000:.2f} ms | {row['rate']:,.0f}{faults} |")
    for name, why in missing.items():
        lines.append(f"| {name} | served: false | – | – | – | {why.replace('|', '/')[:160]} |")
    return "\n".join([
        *lines, "",
        f"First column: a client has read {TOKEN} tokens of a stream when the back end that writes it is killed with "
        "SIGKILL; complete is an answer that arrives in that same stream with exactly the text of an undisturbed one, and "
        "with its end. In front of the others stand two servers that know nothing of each other, in front of ours two "
        "hosts of its swarm (`Benchmarks/interruption.py`).", "",
        "Other columns: differences to the same upstream asked directly in the same run, whose "
        f"own pace was {rows['direct']['rate']:,.0f} requests/s; request of 0.1 kB, kept connections, gateway on one core, "
        "upstream and load on the other. Ours with nothing kept (`mcp.enabled: false`), as the others.", "",
        *[f"- {note}" for note in notes], "",
    ])


def stay_awake(processor: int) -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.sched_setaffinity(0, {processor})
    while True:
        pass


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binary", type=Path, default=ROOT / ".build/release/igris-runtime")
    options.add_argument("--tools", type=Path, default=ROOT / ".tools/gateways")
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--seconds", type=float, default=4)
    options.add_argument("--kills", type=int, default=10, help="streams interrupted for each gateway; 0 for none")
    options.add_argument("--without", nargs="*", default=[], choices=PEERS)
    options.add_argument("--realtime", action="store_true", help="before all else that runs on this machine; as root")
    options.add_argument(
        "--awake", action="store_true", help="a loop of idle priority on each processor, so that none sleeps between two requests")
    options.add_argument("--write", type=Path, help="the page to write")
    options = options.parse_args()
    load = os.getloadavg()[0]
    notes = [
        machine(), f"{datetime.date.today()}, commit {commit()}, Python {platform.python_version()}",
        f"load average before {load:.1f}" + ("; the machine was busy" if load > 0.5 else ""),
    ]
    if options.realtime:
        # Whatever is started from here on inherits it.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
        notes.append("all of it with real-time priority")
    if options.awake:
        # A virtual processor that sleeps is woken by its host, and late: each gateway would pay that for each of its
        # waits. The loops run only where nothing else wants to.
        for processor in sorted(os.sched_getaffinity(0)):
            multiprocessing.Process(target=stay_awake, args=(processor,), daemon=True).start()
        notes.append("no processor slept: a loop of idle priority ran on each")
    print(*notes, sep="\n", flush=True)
    names = [OURS, *(name for name in PEERS if name not in options.without)]
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        gateways = Gateways(Path(folder), options.tools, options.binary.resolve())
        try:
            # A stream whose pieces all came at once would hide its first one behind the work for the others.
            upstream = gateways.upstream(1)
            ports = {"direct": upstream}
            for name in names:
                try:
                    ports[name] = gateways.place(name, [upstream])
                except NotServed as error:
                    missing[name] = str(error)
                    print(f"    {name}: served: false, {error}", flush=True)
            rows: dict[str, dict] = {name: {} for name in ports}
            latency(gateways, ports, options.rounds, rows)
            throughput(gateways, ports, options.seconds, rows)
            thousand(gateways)
            gateways.close()
            interruptions(gateways, [name for name in rows if name != "direct"] if options.kills else [],
                          options.binary.resolve(), options.kills, rows)
            versions = {name: gateways.version(name) for name in names}
        finally:
            gateways.close()
    for name, row in rows.items():
        print(f"    {name:<14} added p50 {row['p50']:.0f} p99 {row['p99']:.0f}, first {row['first']:.0f} us, "
              f"{row['rate']:,.0f} requests/s, frames {row['frames']}, errors {row['errors']}, "
              f"complete {row.get('exact')}", flush=True)
    judge(rows)
    notes.append(f"load average after {os.getloadavg()[0]:.1f}")
    if options.write:
        options.write.write_text(page(rows, missing, versions, notes))


def thousand(gateways: Gateways) -> None:
    slow = gateways.ours(gateways.upstream(20), 0)
    row = gateways.load("streams", 1_000, STREAM, slow)[0]
    print(f"    1,000 streams at once: {row['answers']} answers, frames {row['least']}-{row['most']} each, "
          f"errors {row['errors']}, {row['seconds']:.1f} s", flush=True)


def commit() -> str:
    said = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
