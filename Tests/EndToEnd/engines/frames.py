"""An engine of docs/engine-protocol.md that writes many answers side by side: numbers, a piece each, in turn.

None is written before the file `--gate` is there.
"""

import argparse
import json
import os
import select
import sys

SLOTS = 64


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--gate", required=True)
    options.add_argument("--frames", type=int, default=40)
    options = options.parse_args()
    emit(event="ready", protocol=1, context=65536, slots=SLOTS, tokens={"per_byte": 1, "per_message": 1, "fixed": 1})
    answers: dict[str, int] = {}
    buffer, is_open = b"", False
    while True:
        is_open = is_open or os.path.exists(options.gate)
        writes = is_open and bool(answers)
        if select.select([0], [], [], 0 if writes else 0.01 if answers else None)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for order in map(json.loads, lines):
                if order["op"] == "generate":
                    answers[order["id"]] = 0
        if not writes:
            continue
        for identifier, frame in list(answers.items()):
            emit(event="text", id=identifier, text=f"{frame} ")
            answers[identifier] += 1
            if frame + 1 == options.frames:
                emit(event="done", id=identifier, reason="stop")
                del answers[identifier]


def emit(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


main()
