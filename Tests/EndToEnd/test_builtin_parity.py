"""The built-in engine and llama.cpp's llama-server write the same bytes from the same file.

Where the model itself cannot decide, llama.cpp does not agree with itself either: its attention adds in half precision,
in an order that depends on what was cached, which moves log-probabilities by up to 0.1. So an answer may differ only
where llama-server gives both next tokens nearly the same probability, and in few dialogues. Everything else is a fault.
Behind the first byte that is not UTF-8 nothing can be compared: llama-server's JSON does not tell which it was.

IGRIS_BINARY  the release binary (its `engine` subcommand is tested)
LLAMA_DIR     a folder with bin/llama-server (scripts/get-llama makes one)
IGRIS_MODEL   a GGUF file for both; igris-recall if not set
IGRIS_PARITY_DIALOGUES, IGRIS_PARITY_SEED   how many dialogues (80, for half a minute; 260 were compared) and from which seed (1)
"""

import http.client
import json
import os
import pathlib
import random
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = pathlib.Path(os.environ.get("IGRIS_MODEL", ROOT / "Models/igris-recall/igris-recall-q8_0.gguf"))
SERVER = pathlib.Path(os.environ.get("LLAMA_DIR", ROOT / ".tools/llama")) / "bin/llama-server"
BINARY = os.environ.get("IGRIS_BINARY")
DIALOGUES = int(os.environ.get("IGRIS_PARITY_DIALOGUES", "80"))
SEED = int(os.environ.get("IGRIS_PARITY_SEED", "1"))
# Two tokens whose log-probabilities differ by less count as equally likely.
UNDECIDED = 0.35

NAMES = "Alice Bob Zoë Jürgen Łukasz Renée Søren Chloé Björn 山田太郎 Ирина Tomás Wei Nguyễn O'Neill".split()
KEYS = ["name", "dentist", "sister", "favourite colour", "favourite food", "pin", "locker number", "dog", "hotel"]
THINGS = ["door code", "wifi password", "meeting room", "deadline", "server name", "launch date", "vault code"]
SMALL_TALK = ["Hello", "Thanks!", "Who are you?", "Tell me a joke.", "What is the weather like?", "Good morning", "?"]


def word(rng):
    return "".join(rng.choice("bcdfghklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))


def value(rng):
    return rng.choice([
        rng.choice(NAMES), word(rng).capitalize(), word(rng), str(rng.randrange(10**6)),
        f"{rng.randrange(1000)}-{rng.choice('ABCXYZ')}", f"{word(rng)}@{word(rng)}.org", "naïve café ☕",
    ])


def dialogue(rng):
    """User messages: facts, questions about told and untold things, updates, small talk, odd bytes."""
    turns, told = [], []
    for _ in range(rng.randint(3, 8)):
        kind = rng.random()
        if kind < 0.45 or not told:
            owner, key = rng.choice([("my", rng.choice(KEYS)), ("the", rng.choice(THINGS))])
            lead = rng.choice(["Remember: ", "Remember that ", "Please remember: ", "", "By the way, "])
            turns.append(f"{lead}{owner} {key} is {value(rng)}{rng.choice(['', '.', '!'])}")
            told.append((owner, key))
        elif kind < 0.85:
            owner, key = rng.choice(told) if rng.random() < 0.8 else ("my", rng.choice(KEYS))
            turns.append(rng.choice(["What is {} {}?", "what's {} {}", "Tell me {} {}."]).format(owner, key))
        elif kind < 0.95:
            turns.append(rng.choice(SMALL_TALK))
        else:
            turns.append("".join(chr(rng.choice([rng.randint(32, 126), rng.randint(0xA0, 0x2FF), 10, 9]))
                                 for _ in range(rng.randint(1, 60))).replace("<|", "< |"))
    system = rng.choice([None, None, None, "You are a helpful assistant.", "Be brief."])
    return system, turns


class Engine:
    """The child's contract, docs/engine-protocol.md."""

    def __init__(self):
        command = [BINARY, "engine"] + (["--model", str(MODEL)] if "IGRIS_MODEL" in os.environ else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ready = json.loads(self.process.stdout.readline())
        assert self.ready["event"] == "ready", self.ready
        self.requests = 0
        self.tokens = 0
        self.seconds = 0.0

    def answer(self, messages):
        self.requests += 1
        name = f"r{self.requests}"
        order = {"op": "generate", "id": name, "messages": messages, "max_tokens": 96, "temperature": 0}
        start = time.monotonic()
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        text = ""
        while True:
            event = json.loads(self.process.stdout.readline())
            assert event["id"] == name, event
            if event["event"] == "text":
                text += event["text"]
            else:
                assert event["event"] == "done", event
                self.seconds += time.monotonic() - start
                self.tokens += event["prompt_tokens"] - event["cached_tokens"] + event["completion_tokens"]
                return text, event["reason"], event["prompt_tokens"], event["completion_tokens"]

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=5) == 0


def is_garbled(ours, theirs):
    """Whether two answers are the same up to something that is not UTF-8."""
    ends = [text.index("\ufffd") for text in (ours, theirs) if "\ufffd" in text]
    return bool(ends) and ours[:min(ends)] == theirs[:min(ends)]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Server:
    def __init__(self, folder):
        self.path = str(folder / "llama.sock")
        self.process = subprocess.Popen(
            [str(SERVER), "-m", str(MODEL), "--host", self.path, "-t", "1", "-tb", "1", "-np", "1", "--offline"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, "llama-server ended before it was ready"
            assert time.monotonic() < deadline, "llama-server was not ready after 60 s"
            try:
                if self.request("GET", "/health")[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.05)

    def request(self, method, path, body=None):
        connection = UnixConnection(self.path)
        try:
            connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def answer(self, messages):
        status, body = self.request("POST", "/v1/chat/completions", {
            "messages": messages, "max_tokens": 96, "temperature": 0})
        assert status == 200, body
        choice, usage = body["choices"][0], body["usage"]
        return choice["message"]["content"], choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"]

    def tokens(self, text):
        status, body = self.request("POST", "/tokenize", {"content": text, "parse_special": True})
        assert status == 200, body
        return body["tokens"]

    def is_undecided(self, messages, ours, theirs):
        """Where two answers part: does llama-server itself take our token once its own is a little less likely?"""
        prompt = "".join(f"<|{message['role']}|>\n{message['content']}<|end|>\n" for message in messages)
        prompt += "<|assistant|>\n"
        ours, theirs = [self.tokens(prompt + answer + "<|end|>") for answer in (ours, theirs)]
        at = next(index for index, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1])
        status, body = self.request("POST", "/completion", {
            "prompt": theirs[:at], "n_predict": 1, "temperature": 0, "cache_prompt": False, "return_tokens": True,
            "logit_bias": [[theirs[at], -UNDECIDED]]})
        assert status == 200, body
        return body["tokens"][:1] == [ours[at]] or (ours[at], body["stop_type"]) == (self.tokens("<|end|>")[0], "eos")

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=10)


@pytest.mark.skipif(not BINARY, reason="IGRIS_BINARY names no binary of this project")
@pytest.mark.skipif(not SERVER.exists(), reason="LLAMA_DIR has no bin/llama-server; run scripts/get-llama")
@pytest.mark.timeout(1200)
def test_greedy_answers_equal_those_of_llama_server(tmp_path, capsys):
    engine, server = Engine(), Server(tmp_path)
    try:
        turns, mute, different, faults = 0, 0, [], []
        for number in range(DIALOGUES):
            system, texts = dialogue(random.Random(SEED * 1_000_003 + number))
            messages = [{"role": "system", "content": system}] if system else []
            for text in texts:
                messages.append({"role": "user", "content": text})
                ours, theirs = engine.answer(messages), server.answer(messages)
                turns += 1
                mute += not theirs[0]
                if ours != theirs:
                    different.append(number)
                    if not is_garbled(ours[0], theirs[0]) and (
                            ours[0] == theirs[0] or not server.is_undecided(messages, ours[0], theirs[0])):
                        faults.append((number, text, ours, theirs))
                messages.append({"role": "assistant", "content": theirs[0]})
        identical = DIALOGUES - len(set(different))
        with capsys.disabled():
            print(f"\n{DIALOGUES} dialogues, {identical} identical; {turns} turns, {turns - len(different)} identical, "
                  f"{len(different) - len(faults)} undecided or garbled, {len(faults)} wrong; "
                  f"{engine.tokens / engine.seconds:.0f} tokens/s through the pipe")
        assert not faults, faults[:5]
        assert identical >= 0.77 * DIALOGUES and len(different) <= 0.06 * turns
        assert turns >= 3 * DIALOGUES and mute < turns / 10, "the dialogues say too little to compare"
    finally:
        engine.close()
        server.close()
