"""Many turns, quickly, from one thread: the client must not be what is measured."""

import json
import re
import selectors
import socket
import time

TEXT = "x" * 200


def chat_bytes(**fields) -> bytes:
    body = json.dumps(fields).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def append_part(
    port: int, prefix: str, count: int, clients: int, per_conversation: int = 5, text: str = TEXT,
) -> list[float]:
    """Sends `count` requests over `clients` connections; seconds that each took."""
    selector = selectors.DefaultSelector()
    sent, taken = 0, []

    def send(connection: socket.socket, state: list) -> None:
        connection.sendall(chat_bytes(
            model="phi3", conversation=f"{prefix}-{state[0]}-{state[1] // per_conversation}",
            messages=[{"role": "user", "content": text}]))
        state[3] = time.perf_counter()

    for client in range(min(clients, count)):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Client, its request's number, what came of the answer, when it was sent.
        state = [client, 0, b"", 0.0]
        send(connection, state)
        sent += 1
        selector.register(connection, selectors.EVENT_READ, state)
    while len(selector.get_map()):
        events = selector.select(60)
        assert events, "no answer within 60 s"
        for key, _ in events:
            state = key.data
            data = key.fileobj.recv(65536)
            assert data, "the daemon closed the connection"
            state[2] += data
            head, separator, body = state[2].partition(b"\r\n\r\n")
            if not separator or len(body) < int(re.search(rb"content-length: *(\d+)", head, re.I)[1]):
                continue
            assert head.startswith(b"HTTP/1.1 200"), state[2][:2000]
            taken.append(time.perf_counter() - state[3])
            if sent == count:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                continue
            state[1:3] = [state[1] + 1, b""]
            send(key.fileobj, state)
            sent += 1
    return taken
