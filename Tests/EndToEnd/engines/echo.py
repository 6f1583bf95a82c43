"""An engine of docs/engine-protocol.md that shows its prompt: "3: one | two" for three messages, the user's texts last.

One token is one byte, a message costs two more, a prompt two more. Long texts are shortened in the answer.
"""

import argparse
import json
import sys

SHOWN = 20


def emit(**event):
    print(json.dumps(event), flush=True)


def answer(messages):
    said = [message["content"][:SHOWN] for message in messages if message["role"] == "user"]
    return f"{len(messages)}: {' | '.join(said)}"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--context", type=int, default=65536)
    options.add_argument("--answer", help="always this text")
    options.add_argument("--answer-file", help="always the text of this file")
    options = options.parse_args()
    fixed = open(options.answer_file, newline="").read() if options.answer_file else options.answer
    emit(
        event="ready", protocol=1, fingerprint="echo-1", context=options.context, slots=1,
        tokens={"per_byte": 1, "per_message": 2, "fixed": 2, "exact": True}, sampling=["temperature", "seed"],
    )
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] != "generate":
            continue
        messages = request["messages"]
        text = (fixed or answer(messages)).encode()
        reason = "stop" if len(text) <= request["max_tokens"] else "length"
        text = text[: request["max_tokens"]]
        emit(event="text", id=request["id"], text=text.decode(errors="ignore"))
        emit(
            event="done", id=request["id"], reason=reason, completion_tokens=len(text),
            prompt_tokens=2 + sum(2 + len(message["content"].encode()) for message in messages),
        )


main()
