"""An engine of docs/engine-protocol.md that writes its next piece once its reader has the one before.

The user's text is the path of a file: the reader adds a byte to it for each piece that has come.
"""

import json
import os
import sys
import time

PIECES = ["One ", "two ", "three ", "four"]
PATIENCE = 30.0


def emit(**event):
    print(json.dumps(event), flush=True)


def has_read(file, count):
    """Waits until the reader has so many pieces; a reader that is not told of them must not hold the test for ever."""
    until = time.monotonic() + PATIENCE
    while os.path.getsize(file) < count:
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


emit(
    event="ready", protocol=1, context=65536, slots=1,
    tokens={"per_byte": 1, "per_message": 0, "fixed": 0, "exact": True}, sampling=[])
for line in sys.stdin:
    request = json.loads(line)
    if request["op"] != "generate":
        continue
    file = request["messages"][-1]["content"]
    for count, piece in enumerate(PIECES):
        if not has_read(file, count):
            emit(event="text", id=request["id"], text=" (the piece before was not given out)")
            break
        emit(event="text", id=request["id"], text=piece)
    emit(event="done", id=request["id"], reason="stop", prompt_tokens=len(file), completion_tokens=len(PIECES))
