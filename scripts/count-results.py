"""count-results.py FOLDER [BROKEN STEP…]: sums the results of both test runners and prints "N passed, N failed".

A run that did not come to its end counts as one failure more, so that a crash is never green.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def count(path: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped of one xunit file."""
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            failed += 1
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def swift_testing(folder: Path) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for name in ("computing", "others"):
        log = folder / f"unit-{name}.log"
        end = re.search(r"^\W*Test run with \d+ tests?.* (passed|failed)", log.read_text(errors="replace"), re.MULTILINE)
        good, bad, left_out = count(folder / f"unit-{name}.xml")
        # An issue outside of any test fails the run without failing a test.
        bad += end is None or (end[1] == "failed" and bad == 0)
        passed, failed, skipped = passed + good, failed + bad, skipped + left_out
    return passed, failed, skipped


def pytest(folder: Path) -> tuple[int, int, int]:
    passed, failed, skipped = count(folder / "end-to-end.xml")
    return passed, failed + (passed + failed == 0), skipped


def main() -> int:
    folder, broken = Path(sys.argv[1]), sys.argv[2:]
    totals = [0, len(broken), 0]
    runs = {"debug build": swift_testing, "release build": pytest}
    for build, run in runs.items():
        if build in broken:
            continue
        try:
            counts = run(folder)
        except (OSError, ElementTree.ParseError) as error:
            print(f"No result of the run after the {build}: {error}")
            counts = (0, 1, 0)
        totals = [total + number for total, number in zip(totals, counts)]
    passed, failed, skipped = totals
    summary = f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")
    (folder / "summary").write_text(summary + "\n")
    print(summary)
    return 1 if failed or not passed else 0


sys.exit(main())
