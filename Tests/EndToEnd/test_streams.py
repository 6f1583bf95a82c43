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


async def read(port: int, number: int) -> tuple[str, list[int], int]:
    """One stream: its id, its numbers, and how often it ended."""
    address = f"127.0.0.{2 + number // CONNECTIONS}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    body = json.dumps({
        "model": f"frames{number // SLOTS}", "messages": [{"role": "user", "content": "go"}], "stream": True,
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
