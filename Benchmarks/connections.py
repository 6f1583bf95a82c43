"""connections.py: 10,000 idle connections and 2,000 streams at one host (figures.md RF-08): its memory, and no error.

The streams come from one upstream, a server of the OpenAI API that writes a frame a second into each. While they run,
the idle connections are there, and at the end each of them still answers.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from daemon import Daemon, free_port  # noqa: E402
from figures import Table, machine  # noqa: E402

BODY = json.dumps({"model": "slow", "messages": [{"role": "user", "content": "go"}], "stream": True, "store": False})


def upstream(port: int, frames: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
                length = re.search(r"content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                if head.startswith("get"):
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    continue
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
                for number in range(frames):
                    piece = {"choices": [{"index": 0, "delta": {"content": f"{number} "}, "finish_reason": None}]}
                    line = f"data: {json.dumps(piece)}\n\n".encode()
                    writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                    await writer.drain()
                    await asyncio.sleep(1)
                end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
                line = f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode()
                writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096)
        await server.serve_forever()

    asyncio.run(run())


class Idle:
    """A connection that has asked once and is kept."""

    async def open(self, port: int, number: int) -> None:
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=(f"127.0.1.{1 + number // 4000}", 0))
        await self.ask()

    async def ask(self) -> None:
        self.writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 "), head
        await self.reader.readexactly(int(re.search(r"(?i)content-length: (\d+)", head)[1]))


async def stream(port: int, number: int) -> list[int]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, local_addr=(f"127.0.2.{1 + number // 4000}", 0))
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n"
        f"Connection: close\r\n\r\n{BODY}".encode())
    text = (await reader.read(-1)).decode()
    writer.close()
    assert text.startswith("HTTP/1.1 200 ") and text.count("data: [DONE]") == 1, text[:300]
    return [int(word) for word in "".join(re.findall(r'"content":"([\d ]*)"', text)).split()]


def resident(process: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


async def run(one: Daemon, options: argparse.Namespace, table: Table) -> None:
    calm = resident(one.process.pid)
    idle = [Idle() for _ in range(options.idle)]
    for begin in range(0, len(idle), 200):
        await asyncio.gather(*(it.open(one.port, begin + at) for at, it in enumerate(idle[begin:begin + 200])))
    held = resident(one.process.pid)
    table.note(
        f"memory with nothing connected {calm:.0f} MiB, with {options.idle:,} idle connections {held:.0f} MiB: "
        f"{(held - calm) * 1024 / options.idle:.1f} KiB for each")
    streams = [asyncio.create_task(stream(one.port, number)) for number in range(options.streams)]
    most = held
    while not all(task.done() for task in streams):
        await asyncio.sleep(0.5)
        most = max(most, resident(one.process.pid))
    frames = await asyncio.gather(*streams, return_exceptions=True)
    faults = sum(numbers != list(range(options.frames)) for numbers in frames)
    lost = 0
    for begin in range(0, len(idle), 200):
        done = await asyncio.gather(*(it.ask() for it in idle[begin:begin + 200]), return_exceptions=True)
        lost += sum(isinstance(end, BaseException) for end in done)
    table.add(f"memory, and {options.streams:,} streams, at most", most, "MiB", 1024)
    table.add("streams that failed, or with a frame missing, twice or out of order", faults, "streams", 0.5)
    table.add("idle connections that do not answer at the end", lost, "connections", 0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=ROOT / ".build/release/igris-runtime")
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=2_000)
    parser.add_argument("--frames", type=int, default=20)
    options = parser.parse_args()
    table = Table()
    print(f"Connections: {machine()}, load average {os.getloadavg()[0]:.1f}")
    port = free_port()
    server = multiprocessing.Process(target=upstream, args=(port, options.frames), daemon=True)
    server.start()
    with tempfile.TemporaryDirectory() as home:
        model = {"name": "slow", "engine": "remote", "url": f"http://127.0.0.1:{port}/v1", "slots": 4096,
                 "context": 4096}
        one = Daemon(
            options.binary, Path(home) / "home",
            {"models": [model], "mcp": {"enabled": False}, "log": {"level": "error"}}, [], {})
        one.start()
        try:
            asyncio.run(run(one, options, table))
        finally:
            one.close()
            server.terminate()
    return 0 if all(row["met"] for row in table.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
