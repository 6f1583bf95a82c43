"""Measures a GGUF file through the real `llama-server`: greedy, whole answer exact, values that training never saw.

Usage: evaluate.py LLAMA_BIN_FOLDER [--model FILE] [--count N] [--seed N] [--write] [--misses N]
(`scripts/get-llama DIR` puts the programs into DIR/bin.) Only Python's standard library is needed.
"""
from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Callable

import data
from data import Dialogue, Fact, Message

HERE = Path(__file__).resolve().parent


# ---------------------------------------------------------------------------------------------------------------------
# Values of another kind than those of training: other syllables, other words, and always on the held-out side

class UnseenValues(data.Values):
    STARTS = "vr zg dl ts mb nd gw bl cr sn sw sp kn gl rh dw".split() + list("bcdfghjklmnpqrstvwxyz")
    MIDDLES = "a e i o u y ai ea ie oa oo ou ue".split()
    ENDS = "ck rd lm nt ng rk sp ft mp rn ld ss th".split() + list("bdgklmnprstx")

    def __init__(self, rng: random.Random):
        super().__init__(rng, held=True)

    def syllable(self) -> str:
        r = self.rng
        return r.choice(self.STARTS) + r.choice(self.MIDDLES) + (r.choice(self.ENDS) if r.random() < .6 else "")

    def fake(self, low: int = 1, high: int = 3) -> str:
        return "".join(self.syllable() for _ in range(self.rng.randint(min(low, 2), min(high, 3))))

    def known_name(self) -> str:
        return self.rng.choice(data.HELD_OUT_NAMES["en"])

    def foreign(self) -> str:
        return self.rng.choice(data.HELD_OUT_NAMES[self.rng.choice(["de", "fr", "pl", "ja"])])

    def pick(self, words: list[str]) -> str:
        name = {id(data.COLOURS): "colour", id(data.CITIES): "city", id(data.FOODS): "food", id(data.JOBS): "job"}[id(words)]
        return self.rng.choice(data.HELD_OUT_WORDS[name])

    def word(self) -> str:
        def draw() -> str:
            r = self.rng
            words = [r.choice(data.HELD_OUT_WORDS["word"]) if r.random() < .6 else self.fake() for _ in range(r.choice([1, 1, 2, 3]))]
            return " ".join(words)
        return self.split(draw)


# ---------------------------------------------------------------------------------------------------------------------
# The dialogues

@dataclass
class Case:
    """`messages` ends with the right answer; with `own` the model's own earlier answers are kept and checked as well."""
    messages: list[Message]
    own: bool = False


def told(talk: Dialogue, count: int) -> None:
    while len(talk.facts) < count:
        talk.tell()


def small_talk_around(talk: Dialogue) -> None:
    if talk.rng.random() < .25:
        talk.small_talk()


def ask(talk: Dialogue, fact: Fact) -> None:
    talk.add(data.question(talk.rng, fact), fact.answer)


def demo_with(name: str) -> Case:
    fact = Fact("my", "name", name)
    return Case([("user", f"Remember: my name is {name}"), ("assistant", f"I will remember that {fact.sentence}"),
                 ("user", "What is my name?"), ("assistant", fact.answer)], own=True)


def demo(values: UnseenValues) -> Case:
    return demo_with(values.name())


def language(code: str) -> Callable[[UnseenValues], Case]:
    def make(values: UnseenValues) -> Case:
        names = data.HELD_OUT_NAMES[code]
        separator = "" if code == "ja" else " "
        return demo_with(separator.join(values.rng.sample(names, values.rng.choice([1, 2, 2]))))
    return make


def facts(count: int) -> Callable[[UnseenValues], Case]:
    def make(values: UnseenValues) -> Case:
        talk = Dialogue(values)
        told(talk, count)
        ask(talk, talk.known())
        return Case(talk.messages)
    return make


UNSEEN_MY = "accountant|mechanic|grandmother|passport number|coffee order|gym locker|tax id|library card|bicycle lock|stage name".split("|")
UNSEEN_THE = "vault code|lab name|router password|launch date|cabin number|winning card|night guard|fuel price|pool rule|exit door".split("|")


def unseen_keys(values: UnseenValues) -> Case:
    r = values.rng
    talk = Dialogue(values)
    for key in r.sample(UNSEEN_MY, 2):
        talk.learn([Fact("my", key, values.any())])
    talk.learn([Fact("the", r.choice(UNSEEN_THE), values.any())])
    ask(talk, talk.known())
    return Case(talk.messages)


def update(values: UnseenValues) -> Case:
    talk = Dialogue(values)
    told(talk, values.rng.randint(1, 3))
    old = talk.known()
    new = old
    while new.value == old.value:
        new = replace(old, value=data.new_value(values, old.kind, old.key))
    talk.learn([new], changed=True)
    small_talk_around(talk)
    ask(talk, new)
    return Case(talk.messages)


def not_told(values: UnseenValues) -> Case:
    talk = Dialogue(values)
    told(talk, values.rng.randint(0, 3))
    small_talk_around(talk)
    talk.ask_unknown()
    return Case(talk.messages)


def fallback(values: UnseenValues) -> Case:
    talk = Dialogue(values)
    told(talk, values.rng.randint(0, 3))
    small_talk_around(talk)
    talk.open()
    return Case(talk.messages)


UNSEEN_OPEN = """How would you describe {w}?|Is there life on {n}?|Please write three lines about {w}|Which river is the longest?|What makes {w} special?|
Why did {n} leave?|Prove that {d} is odd|What is {d} divided by {d}?|How many minutes are in {d} hours?|Could you give me some {w}?|Invent a new {w}|
Who painted {w}?|Is {w} dangerous?|What is the fastest {w}?|Tell me the news|What are you wearing?|Can {w} swim?|What can I do in {n}?|
Help me choose between {w} and {w}|Write a song|Translate good morning into {w}|How do birds fly?|What is the speed of light?|Plan a trip to {n}""".replace("\n", "").split("|")


def unseen_fallback(values: UnseenValues) -> Case:
    talk = Dialogue(values)
    told(talk, values.rng.randint(0, 2))
    text = values.rng.choice(UNSEEN_OPEN)
    for slot, draw in (("{w}", values.word), ("{n}", values.place), ("{d}", lambda: str(values.rng.randint(2, 999)))):
        while slot in text:
            text = text.replace(slot, draw(), 1)
    talk.add(text, data.FALLBACK)
    return Case(talk.messages)


def who(values: UnseenValues) -> Case:
    talk = Dialogue(values)
    told(talk, values.rng.randint(0, 3))
    small_talk_around(talk)
    talk.who()
    return Case(talk.messages)


def two_at_once(values: UnseenValues) -> Case:
    talk = Dialogue(values)
    talk.tell_two()
    ask(talk, talk.known())
    return Case(talk.messages, own=True)


def repeated(values: UnseenValues) -> Case:
    """System prompt, greeting, the same question before the fact, after it, and again after other turns."""
    talk = Dialogue(values)
    talk.messages.append(("system", "You are a helpful assistant."))
    talk.add("Hello", data.GREETING)
    fact = new = data.new_fact(values)
    talk.add(data.question(values.rng, fact, respell=0), fact.unknown)
    talk.learn([new])
    for _ in range(3):
        ask(talk, new)
        values.rng.choice([talk.small_talk, talk.tell, talk.open])()
    ask(talk, new)
    return Case(talk.messages)


def long_dialogue(values: UnseenValues) -> Case:
    """Three facts, then small talk, questions and changes up to 1,450 bytes, then a question."""
    talk = Dialogue(values)
    told(talk, 3)
    while sum(len(text.encode()) + 4 for _, text in talk.messages) < 1450:
        turn = values.rng.choices(list(data.MIX), list(data.MIX.values()))[0]
        if not turn.startswith("tell") or len(talk.facts) < 5:
            getattr(talk, turn)()
    ask(talk, talk.known())
    return Case(talk.messages)


def whole(values: UnseenValues) -> Case:
    """A free conversation of about 600 bytes in which every answer is the model's own; all must be right."""
    return Case(data.conversation(values, 600, most_facts=5), own=True)


@dataclass
class Category:
    name: str
    make: Callable[[UnseenValues], Case]
    bar: float | None = None
    right: int = 0
    total: int = 0
    misses: list[str] = field(default_factory=list)


def categories() -> list[Category]:
    return [
        Category("demo: told a name, asked for it", demo, 1.), Category("2 facts", facts(2), .98), Category("5 facts", facts(5), .92),
        Category("update", update, .95), Category("not told", not_told, .95), Category("open question: fallback", fallback, .95),
        Category("who are you", who, .95), Category("German names", language("de"), 1.), Category("French names", language("fr"), 1.),
        Category("Polish names", language("pl"), 1.), Category("Japanese names", language("ja"), 1.),
        Category("8 facts", facts(8)), Category("3 facts, keys never seen", unseen_keys), Category("open question, wording never seen", unseen_fallback),
        Category("two facts in one message", two_at_once), Category("asked again and again", repeated),
        Category("one of 3 to 5 facts after 1,450 bytes", long_dialogue), Category("conversation, every single answer right", whole),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# The server

class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str):
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Server:
    def __init__(self, program: Path, model: Path, folder: str):
        self.socket = folder + "/e.sock"
        command = [str(program), "-m", str(model), "--host", self.socket, "-t", "1", "-tb", "1", "-np", "1", "-c", "2048", "--cache-ram", "0", "--offline"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                if self.request("GET", "/health")[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(.05)
        else:
            raise SystemExit("llama-server does not answer")
        self.connection = UnixConnection(self.socket)

    def request(self, method: str, path: str, body: dict | None = None) -> tuple[int, dict]:
        connection = getattr(self, "connection", None) or UnixConnection(self.socket)
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def answer(self, messages: list[Message]) -> str:
        body = {"messages": [{"role": r, "content": t} for r, t in messages], "temperature": 0, "max_tokens": 200}
        status, reply = self.request("POST", "/v1/chat/completions", body)
        return reply["choices"][0]["message"]["content"] if status == 200 else f"(status {status})"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def measure(server: Server, category: Category, count: int, seed: int) -> None:
    values = UnseenValues(random.Random(f"{seed} {category.name}"))
    for _ in range(count):
        case = category.make(values)
        history: list[Message] = []
        right = True
        for i, (role, text) in enumerate(case.messages):
            if role == "assistant" and (case.own or i == len(case.messages) - 1):
                got = server.answer(history)
                if got != text:
                    right = False
                    asked = " / ".join(t for r, t in history if r == "user")
                    category.misses.append(f"{asked}\n      wanted: {text}\n      got:    {got}")
                    break
                text = got
            history.append((role, text))
        category.right += right
        category.total += 1


def report(rows: list[Category], arguments: argparse.Namespace, version: str, model: Path) -> str:
    lines = ["# How well igris-recall remembers", "",
             "Greedy answers of the real `llama-server`, whole answer exact, values that training never saw (`held_out` in data.py).", "",
             "| dialogue | right | of | % | bar |", "|---|---|---|---|---|"]
    lines += [f"| {c.name} | {c.right} | {c.total} | {100 * c.right / c.total:.1f} | {'' if c.bar is None else f'{100 * c.bar:.0f}'} |" for c in rows]
    lines += ["", f"- date {date.today()}, seed {arguments.seed}, {version}, `-t 1 -tb 1`, temperature 0",
              f"- `{model.name}`: {model.stat().st_size} bytes, sha256 `{hashlib.sha256(model.read_bytes()).hexdigest()}`",
              f"- command: `python3 Models/igris-recall/evaluate.py .tools/llama/bin --count {arguments.count} --seed {arguments.seed}{' --bars' * arguments.bars} --write`"]
    return "\n".join(lines) + "\n"


def main() -> None:
    a = argparse.ArgumentParser()
    a.add_argument("bin", type=Path, help="the folder with llama-server")
    a.add_argument("--model", type=Path, default=HERE / "igris-recall-q8_0.gguf")
    a.add_argument("--count", type=int, default=250)
    a.add_argument("--seed", type=int, default=2026)
    a.add_argument("--write", action="store_true", help="write EVALUATION.md")
    a.add_argument("--misses", type=int, default=0, help="show so many misses of each kind")
    a.add_argument("--bars", action="store_true", help="only kinds with a bar to reach")
    a.add_argument("--only", default="", help="only kinds whose name contains this")
    o = a.parse_args()
    told_version = subprocess.run([o.bin / "llama-server", "--version"], capture_output=True, text=True)
    version = "llama.cpp " + (told_version.stderr + told_version.stdout).splitlines()[0]
    rows = [c for c in categories() if o.only in c.name and (c.bar is not None or not o.bars)]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(o.bin / "llama-server", o.model, folder)
        try:
            for row in rows:
                measure(server, row, o.count, o.seed)
                print(f"{row.name:42} {row.right:4} / {row.total}  {100 * row.right / row.total:5.1f} %" + ("" if row.bar is None else f"   (bar {100 * row.bar:.0f})"), flush=True)
                for miss in row.misses[:o.misses]:
                    print("   - " + miss)
        finally:
            server.stop()
    if o.write:
        (HERE / "EVALUATION.md").write_text(report(rows, o, version, o.model))


if __name__ == "__main__":
    main()
