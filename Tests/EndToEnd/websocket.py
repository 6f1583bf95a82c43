"""As much of RFC 6455 as a client of this daemon needs."""

import base64
import hashlib
import json
import os
import socket
import struct
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocket:
    """The client's side, on a connection that is open already."""

    def __init__(self, connection: socket.socket, path: str, headers: dict[str, str] | None = None):
        self.connection = connection
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self._fill()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1")
        self.status = int(self.head.split(" ")[1])
        if self.status != 101:
            raise ConnectionError(self.head)
        accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert base64.b64encode(accept).decode() in self.head, self.head

    def _fill(self) -> None:
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionError("closed")
        self.buffer += data

    def _take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self._fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def send(self, content: bytes, opcode: int = BINARY) -> None:
        mask = os.urandom(4)
        size = len(content)
        length = bytes([0x80 | size]) if size < 126 else struct.pack(">BH", 0x80 | 126, size)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(content))
        self.connection.sendall(bytes([0x80 | opcode]) + length + mask + masked)

    def receive(self) -> tuple[int, bytes]:
        """The next frame: its opcode and content."""
        first, second = self._take(2)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._take(8))[0]
        return first & 0x0F, self._take(size)

    def event(self) -> dict[str, Any]:
        """The next text, as JSON; what comes between is answered."""
        while True:
            opcode, content = self.receive()
            if opcode == TEXT:
                return json.loads(content)
            if opcode == PING:
                self.send(content, PONG)
            elif opcode == CLOSE:
                raise ConnectionError("closed")
