"""Many streams at once: every frame reaches its client once and in order. IGRIS_STREAMS=1000 asks for a thousand."""

import asyncio
import json
import os
import re

from daemon import eventually, scripted_engine

STREAMS = int(os.environ.get("IGRIS_STREAMS", "192"))
FRAMES = 40
# What one engine writes at once, and how many connections one address may have.
SLOTS, CONNECTIONS = 64, 250


async def read(port: int, number: int, model: str | None = None) -> tuple[str, list[int], int]:
    """One stream: its id, its numbers, and how often it ended."""
    address = f"127.0.0.{2 + number // CONNECTIONS}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    body = json.dumps({
        "model": model or f"frames{number // SLOTS}", "messages": [{"role": "user", "content": "go"}], "stream": True,
        "store": False,
    })
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {'k' * 32}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
    text = (await reader.read(-1)).decode()
    writer.close()
    assert text.startswith("HTTP/1.1 200 "), text[:300]
    ids = set(re.findall(r'"id":"([^"]+)"', text))
    assert len(ids) == 1
    # Pieces for which a client is too slow come together.
    pieces = "".join(re.findall(r'"content":"([\d ]*)"', text))
    return ids.pop(), [int(frame) for frame in pieces.split()], text.count("data: [DONE]")


def test_every_frame_of_many_streams_is_delivered_once(daemon, tmp_path):
    gate = tmp_path / "gate"
    models = [scripted_engine(f"frames{number}", "frames.py") for number in range(-(-STREAMS // SLOTS))]
    for model in models:
        model["command"] += ["--gate", str(gate), "--frames", str(FRAMES)]
    one = daemon(models=models, config={"auth": {"keys": [{"name": "ann", "key": "k" * 32}]}})

    def open_gate():
        eventually("all are being written at once", lambda: one.running() == STREAMS)
        gate.touch()

    async def run():
        *streams, _ = await asyncio.gather(
            *(read(one.port, number) for number in range(STREAMS)), asyncio.to_thread(open_gate))
        return streams

    streams = asyncio.run(run())
    assert all(frames == list(range(FRAMES)) for _, frames, _ in streams)
    assert {ends for _, _, ends in streams} == {1}
    assert len({identifier for identifier, _, _ in streams}) == STREAMS
    assert one.running() == 0


class Upstream:
    """Any other server of the OpenAI API: it writes when as many requests as are expected are there at once."""

    def __init__(self) -> None:
        self.open = 0
        self.complete = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
                length = re.search(r"content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                if head.startswith("get"):
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    continue
                self.open += 1
                if self.open == STREAMS:
                    self.complete.set()
                await self.complete.wait()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
                for frame in range(FRAMES):
                    self.event(writer, {"delta": {"content": f"{frame} "}})
                    await writer.drain()
                    await asyncio.sleep(0)
                self.event(writer, {"delta": {}, "finish_reason": "stop"})
                writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @staticmethod
    def event(writer: asyncio.StreamWriter, choice: dict) -> None:
        text = f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n"
        writer.write(f"{len(text):x}\r\n{text}\r\n".encode())


def test_one_upstream_is_asked_for_many_streams_at_once(daemon):
    async def run():
        upstream = Upstream()
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, backlog=STREAMS)
        port = server.sockets[0].getsockname()[1]
        remote = {"name": "far", "engine": "remote", "url": f"http://127.0.0.1:{port}/v1", "slots": STREAMS}
        one = await asyncio.to_thread(
            daemon, models=[remote], config={"auth": {"keys": [{"name": "ann", "key": "k" * 32}]}})
        async with server:
            return one, await asyncio.gather(*(read(one.port, number, "far") for number in range(STREAMS)))

    one, streams = asyncio.run(run())
    assert all(frames == list(range(FRAMES)) for _, frames, _ in streams)
    assert {ends for _, _, ends in streams} == {1}
    assert one.running() == 0
