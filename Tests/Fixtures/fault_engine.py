#!/usr/bin/env python3
"""An engine that misbehaves on demand, for the tests of the drivers. Python 3, standard library only.

    fault_engine.py lines:MODE            speaks the JSON-lines protocol (docs/engine-protocol.md)
    fault_engine.py completion:MODE ...   behaves like llama-completion with the arguments that follow
    fault_engine.py server:MODE ...       behaves like llama-server with the arguments that follow

FAULT_STATE, where set, names a file that remembers earlier starts (for faults that happen once).
"""

import ctypes
import http.server
import json
import os
import resource
import signal
import socketserver
import sys
import threading
import time


def count_start():
    """How many times this program has been started with the same FAULT_STATE, this one included."""
    path = os.environ.get("FAULT_STATE")
    if not path:
        return 1
    with open(path, "ab") as state:
        state.write(b".")
    return os.path.getsize(path)


def surroundings():
    """What this process has inherited, as text of one line."""
    death_signal = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(2, ctypes.byref(death_signal))  # PR_GET_PDEATHSIG
    return json.dumps({
        "environment": sorted(os.environ),
        "descriptors": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")),
        "own_session": os.getsid(0) == os.getpgid(0) and os.getsid(0) != os.getsid(os.getppid()),
        "core_limit": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "death_signal": death_signal.value,
        "arguments": [a for a in sys.argv if not a.startswith("\x1e")],
    })


# --- JSON lines -------------------------------------------------------------------------------------------------

class Lines:
    def __init__(self, mode):
        self.mode = mode
        self.start = count_start()
        self.lock = threading.Lock()
        self.cancelled = {}
        # Here, not in the thread of an answer: the signal at the parent's death belongs to the first thread.
        self.surroundings = surroundings()

    def raw(self, data):
        with self.lock:
            os.write(1, data) if len(data) < 60_000 else self.all(data)

    def all(self, data):
        while data:
            data = data[os.write(1, data):]

    def say(self, **message):
        self.raw(json.dumps(message, ensure_ascii=False).encode() + b"\n")

    def ready(self, **changes):
        message = {
            "event": "ready", "protocol": 1, "model": "fault", "fingerprint": "fault-1", "context": 512, "slots": 2,
            "tokens": {"per_byte": 1, "per_message": 4, "fixed": 2, "exact": True},
            "sampling": ["temperature", "seed"],
        }
        message.update(changes)
        self.say(**message)

    def done(self, name, reason="stop"):
        self.say(event="done", id=name, reason=reason, prompt_tokens=7, completion_tokens=3, cached_tokens=1)

    def run(self):
        mode = self.mode
        if mode == "never-ready":
            sys.stdin.buffer.read()
            time.sleep(60)
        elif mode == "fatal":
            self.say(event="fatal", message="the weights are missing")
            sys.exit(1)
        elif mode == "exit-at-once" or (mode == "exit-twice" and self.start <= 2):
            print("a last word", file=sys.stderr)
            sys.exit(3)
        elif mode == "wrong-protocol":
            self.ready(protocol=9)
        elif mode == "banner":
            self.raw(b"Welcome to the engine!\n\n[loading]\n")
            self.ready()
        elif mode == "slow-start":
            time.sleep(0.3)
            self.ready()
        elif mode == "stderr-flood":
            for _ in range(64):
                os.write(2, b"e" * 16_384)
            self.ready()
        elif mode in ("one-slot", "ticking", "deaf"):
            self.ready(slots=1)
        else:
            self.ready()
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if message["op"] == "generate":
                self.cancelled[message["id"]] = threading.Event()
                threading.Thread(target=self.answer, args=(message,), daemon=True).start()
            elif message["op"] == "cancel" and mode != "deaf":
                self.cancelled[message["id"]].set()

    def answer(self, request):
        name, mode = request["id"], self.mode
        text = request["messages"][-1]["content"]
        say = lambda piece: self.say(event="text", id=name, text=piece)
        if mode == "echo":
            say(json.dumps(request))
        elif mode == "surroundings":
            say(self.surroundings)
        elif mode in ("ticking", "deaf") and text == "tick":
            while not self.cancelled[name].wait(0.005):
                say("tick ")
            return self.done(name, "cancelled")
        elif mode == "hang" or text == "hang":
            self.cancelled[name].wait(30)
            return self.done(name, "cancelled")
        elif mode == "endless":
            while not self.cancelled[name].is_set():
                say("x" * 4_096)
            return self.done(name, "cancelled")
        elif mode == "crash-first" and self.start == 1:
            os._exit(9)
        elif mode == "crash-after-text":
            say("Hal")
            os._exit(9)
        elif mode == "garbage":
            say("one")
            self.raw(b'{"event":"text","id":\n')
            return
        elif mode == "invalid-utf8":
            self.raw(b'{"event":"text","id":"' + name.encode() + b'","text":"\xff\xfe"}\n')
            return
        elif mode == "long-line":
            self.raw(b"{" + b"y" * 300_000)
            return
        elif mode == "strange":
            self.say(event="weather", sky="blue")
            self.say(event="text", id="r999999", text="not mine")
            self.say(event="text", id=12, text="not mine")
            say("fine")
        elif mode == "dribble":
            line = json.dumps({"event": "text", "id": name, "text": "Zürich ✓ 🙂"}, ensure_ascii=False).encode() + b"\n"
            for byte in line:
                self.raw(bytes([byte]))
        elif mode == "too-long":
            return self.say(event="error", id=name, code="context_length_exceeded", message="600 tokens, 512 fit")
        elif mode == "refuses":
            return self.say(event="error", id=name, code="invalid_request", message="no")
        elif mode == "fails":
            return self.say(event="error", id=name, code="failed", message="out of memory")
        elif mode == "length":
            say("cut of")
            return self.done(name, "length")
        else:
            for piece in ("You ", "said: ", text):
                say(piece)
        self.done(name)


# --- llama-completion -------------------------------------------------------------------------------------------

FLAGS = """-m, --model FNAME\n-c, --ctx-size N\n-f, --file FNAME\n-n, --predict, --n-predict N\n-i, --interactive
--in-prefix STRING\n-cnv, -no-cnv, --no-conversation\n--no-display-prompt, --display-prompt\n--simple-io
-e, --escape, --no-escape\n-t, --threads N\n-tb, --threads-batch N\n--temp, --temperature N\n--top-k N\n--top-p N
--min-p N\n-s, --seed SEED\n--presence-penalty N\n--frequency-penalty N\n"""


class Completion:
    def __init__(self, mode, arguments):
        self.mode = mode
        self.arguments = arguments

    def value(self, flag):
        return self.arguments[self.arguments.index(flag) + 1]

    def write(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        while data:
            data = data[os.write(1, data):]

    def pieces(self, data, size=1):
        for start in range(0, len(data), size):
            self.write(data[start:start + size])
            time.sleep(0.001)

    def prompt(self):
        with open(self.value("-f"), "rb") as file:
            data = file.read()
        return data[:-1] if data.endswith(b"\n") else data

    def perf(self, prompt, written):
        sys.stderr.write(
            f"0.00.1 I common_perf_print: prompt eval time =  14.02 ms /  {prompt} tokens (0.1 ms per token)\n"
            f"0.00.1 I common_perf_print:        eval time =   8.92 ms /  {written - 1} runs   (0.5 ms per token)\n")
        sys.stderr.flush()

    def marker(self, newline=True):
        self.write(("\n" if newline else "") + self.value("--in-prefix"))

    def rest(self):
        """Waits for the end of the input, as the real program does after its marker."""
        sys.stdin.buffer.read()
        self.write("EOF by user\n\n\n")
        self.perf(95, 19)

    def run(self):
        mode = self.mode
        if "--version" in self.arguments:
            if mode == "version-old":
                print("version: 10235 (221f0f635)\nbuilt with cc for x86_64")
            else:
                print("version: 0.7.0 (build 11669, commit Debian)\nbuilt with GNU", file=sys.stderr)
            return
        if "--help" in self.arguments:
            print(FLAGS.replace("--in-prefix", "--gone") if mode == "lacks-flag" else FLAGS)
            return
        start = count_start()
        if mode == "exit1":
            print("0.00.1 E main: error: failed to load model 'x'", file=sys.stderr)
            sys.exit(1)
        if mode == "slow-start":
            time.sleep(0.3)
        if mode == "stderr-flood":
            for _ in range(64):
                os.write(2, b"e" * 16_384)
        if mode == "never-reads":
            sys.exit(1)
        prompt = self.prompt()
        if mode == "too-long":
            print("0.00.1 E llama_completion: prompt is too long (9000 tokens, max 2044)", file=sys.stderr)
            sys.exit(1)
        if mode == "echo":
            self.write(prompt)
        elif mode == "surroundings":
            self.write(surroundings())
        elif mode == "split-utf8":
            self.pieces("Zürich ✓ 🙂".encode())
        elif mode == "split-marker":
            self.write("Hello")
            self.pieces(b"\n" + self.value("--in-prefix").encode())
            return self.rest()
        elif mode == "split-stop":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for piece in ("one S", "T", "OP two"):
                self.write(piece)
                time.sleep(0.01)
        elif mode == "false-stop":
            self.write("one ST")
            time.sleep(0.01)
            self.write("AR two")
        elif mode == "quote":
            self.write("He wrote:\n> so it is\n\n> indeed")
        elif mode == "endless":
            while True:
                self.write("> " * 8_192)
        elif mode in ("ticking", "deaf"):
            if mode == "ticking":
                def interrupted(*_):
                    self.write("\nInterrupted by user\n")
                    os._exit(130)
                signal.signal(signal.SIGINT, interrupted)
            else:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            while True:
                self.write("tick ")
                time.sleep(0.005)
        elif mode == "marker-once-missing" and start == 1:
            return
        elif mode == "no-marker":
            return
        elif mode == "truncated":
            self.write("Your nam")
            return
        elif mode == "hang":
            time.sleep(60)
        elif mode == "crash":
            self.write("Hal")
            os.kill(os.getpid(), signal.SIGABRT)
        elif mode == "invalid-utf8":
            self.write(b"ok \xff\xfe\xc3( end \xe2\x82")
        elif mode == "full-context":
            self.write("to the brim\n\n")
            print("0.00.1 W main: context full and context shift is disabled => stopping", file=sys.stderr)
            return
        elif mode == "length":
            self.write("cut of")
            self.marker(newline=False)
            return self.rest()
        elif mode == "empty":
            pass
        elif mode == "leading-space":
            self.write(" ")
            time.sleep(0.01)
            self.write(" Hello there")
        elif mode == "no-perf":
            self.write("Hello")
            self.marker()
            sys.stdin.buffer.read()
            return
        elif mode == "stays":
            self.write("Hello")
            self.marker()
            time.sleep(60)
        else:
            self.write("Hello there")
        self.marker()
        self.rest()


# --- llama-server -----------------------------------------------------------------------------------------------

class Server(http.server.BaseHTTPRequestHandler):
    """One connection. `mode` and `started` are set on the class."""

    protocol_version = "HTTP/1.1"
    mode = ""
    start = 1
    loaded_at = 0.0
    inherited = ""

    @classmethod
    def run(cls, mode, arguments):
        if "--version" in arguments:
            return print("version: 0.7.0 (build 11669, commit Debian)", file=sys.stderr)
        if "--help" in arguments:
            return print("-m, --model F\n--host H\n-c, --ctx-size N\n-np, --parallel N\n-t, --threads N\n--metrics\n--no-slots")
        cls.mode, cls.start, cls.inherited = mode, count_start(), surroundings()
        if mode == "unloadable":
            print("0.1 E llama_model_load: failed to load model", file=sys.stderr)
            sys.exit(1)
        if mode == "deaf":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        else:
            signal.signal(signal.SIGINT, lambda *_: os._exit(0))
        cls.loaded_at = time.monotonic() + (0.6 if mode == "slow-load" else 0)
        path = arguments[arguments.index("--host") + 1]

        class Threaded(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        with Threaded(path, cls) as server:
            server.serve_forever()

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def json(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def event(self, delta, finish=None):
        self.chunk("data: %s\n\n" % json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))

    def do_GET(self):
        if self.path != "/health" and self.headers["authorization"] != "Bearer " + os.environ["LLAMA_API_KEY"]:
            return self.json(401, {"error": {"message": "Invalid API Key"}})
        if self.path == "/health" and (time.monotonic() < self.loaded_at or self.mode == "never-ready"):
            return self.json(503, {"error": {"message": "Loading model", "code": 503}})
        if self.path == "/metrics" and self.mode == "hang":
            time.sleep(60)
        self.json(200, {"status": "ok", "default_generation_settings": {"n_ctx": 512}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers["authorization"] != "Bearer " + os.environ["LLAMA_API_KEY"]:
            return self.json(401, {"error": {"message": "Invalid API Key"}})
        if not self.path.endswith("/completions"):
            return self.json(404, {"error": {"message": "no"}})
        mode = self.mode
        if mode == "hang":
            time.sleep(60)
        if mode == "dies" or (mode == "dies-once" and self.start == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "loading":
            return self.json(503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if mode == "garbage":
            return self.chunk("data: {\n\n")
        if mode == "surroundings":
            body["surroundings"] = self.inherited
            self.event({"content": json.dumps(body)})
        else:
            self.event({"content": "Hello"})
        if mode == "dies-mid":
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "stuck":
            time.sleep(60)
        self.event({}, "stop")
        self.chunk('data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: [DONE]\n\n')
        self.chunk("")


def main():
    kind, _, mode = sys.argv[1].partition(":")
    if kind == "lines":
        Lines(mode).run()
    elif kind == "server":
        Server.run(mode, sys.argv[2:])
    else:
        Completion(mode, sys.argv[2:]).run()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(1)
