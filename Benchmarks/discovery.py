"""discovery.py: how long hosts take to find each other, by each channel alone, on a small network that loses frames.

Two hosts run; a third one starts, again and again. A pair has found each other when one side has seen the other, since
that one dials; how long both sides took is printed beside it. Needs root, and the lab (`netlab`), with Avahi for mDNS.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAB = ROOT / "Tests/EndToEnd/lab/netlab"


class Host:
    """A discovery-benchmark on one node of the lab."""

    def __init__(self, lab: "Lab", node: int, channel: str, seconds: float) -> None:
        self.output = tempfile.NamedTemporaryFile("r")
        with open(self.output.name, "w") as output:
            self.process = subprocess.Popen(
                [lab.script, "exec", str(node), "--", lab.binary, channel, str(seconds)], env=lab.environment, stdout=output)

    def events(self) -> list[dict]:
        with open(self.output.name) as output:
            return [json.loads(line) for line in output if line.endswith("\n")]


class Lab:
    def __init__(self, script: Path, binary: Path, avahi: bool) -> None:
        self.script, self.binary = str(script), str(binary)
        self.environment = os.environ | {"NETLAB_NAME": f"b{os.getpid()}"}
        self.avahi = avahi

    def __enter__(self) -> "Lab":
        self("up", "3", *(["--avahi"] if self.avahi else []))
        return self

    def __exit__(self, *_) -> None:
        self("down")

    def __call__(self, *arguments: str) -> None:
        subprocess.run([self.script, *arguments], env=self.environment, check=True)


def quantile(values: list[int], share: float) -> str:
    return str(sorted(values)[min(len(values) - 1, int(len(values) * share))]) if values else "-"


def measure(lab: Lab, channel: str, starts: int, patience: float) -> tuple[list[int], list[int], int]:
    """Milliseconds until one side, and both sides, had seen the other; and how many pairs never did."""
    standing = [Host(lab, node, channel, 1_000_000) for node in (1, 2)]
    time.sleep(6)
    one, both, missed = [], [], 0
    for _ in range(starts):
        newcomer = Host(lab, 3, channel, patience)
        newcomer.process.wait()
        time.sleep(1.5)  # its goodbye
        mine = newcomer.events()
        start = mine[0]
        for other in standing:
            theirs = other.events()
            sides = [
                next((e["at"] for e in events if e["event"] == "seen" and e["node"] == node), None)
                for events, node in ((mine, theirs[0]["node"]), (theirs, start["node"]))
            ]
            times = [at - start["at"] for at in sides if at is not None]
            missed += not times
            one += [min(times)] if times else []
            both += [max(times)] if len(times) == 2 else []
    for host in standing:
        host.process.kill()
    return one, both, missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / ".build/release/discovery-benchmark")
    parser.add_argument("--netlab", type=Path, default=LAB)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--loss", type=int, nargs="*", default=[0, 20, 40], help="percent of frames")
    parser.add_argument("--channel", choices=["mdns", "multicast"], nargs="*", default=["mdns", "multicast"])
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("discovery.py: the lab needs root")
    print(f"{'channel':10} {'loss':>5} {'pairs':>6} {'one side p50':>13} {'p95':>6} {'max':>6} {'missed':>7}"
          f" {'both sides p50':>15} {'p95':>6}   (ms)")
    for channel in arguments.channel:
        for loss in arguments.loss:
            with Lab(arguments.netlab, arguments.binary, avahi=channel == "mdns") as lab:
                lab("loss", str(loss))
                one, both, missed = measure(lab, channel, arguments.starts, patience=8)
            print(f"{channel:10} {loss:4}% {len(one) + missed:6} {quantile(one, .5):>13} {quantile(one, .95):>6}"
                  f" {quantile(one, 1):>6} {missed:7} {quantile(both, .5):>15} {quantile(both, .95):>6}", flush=True)


if __name__ == "__main__":
    main()
