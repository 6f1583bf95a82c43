"""Run by the Python of .venv-litellm: calls of litellm as lines of JSON, and what came of each."""

import asyncio
import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402

litellm.telemetry = False


def dumped(value):
    return value.model_dump() if hasattr(value, "model_dump") else value


def read(stream, seen):
    for chunk in stream:
        if seen and chunk.choices and chunk.choices[0].delta.content:
            with open(seen, "a") as file:
                file.write(".")
        yield dumped(chunk)


for line in sys.stdin:
    order = json.loads(line)
    # A file that is told of each piece that has come.
    seen = order["options"].pop("seen", None)
    try:
        result = getattr(litellm, order["call"])(**order["options"])
        if asyncio.iscoroutine(result):
            result = asyncio.run(result)
        if order["options"].get("stream"):
            result = list(read(result, seen))
        print(json.dumps({"result": dumped(result)}, default=str), flush=True)
    except Exception as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}), flush=True)
