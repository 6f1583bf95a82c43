"""HTTP by hand: what no client library would send, and answers byte by byte."""

import socket
from dataclasses import dataclass, field


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    # Whether the other side closed the connection afterwards.
    closed: bool = False


class Connection:
    def __init__(self, port: int, timeout: float = 10, address: str = "127.0.0.1"):
        self.socket = socket.create_connection((address, port), timeout=timeout)
        self.buffer = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends what the other side still takes: it may refuse and close in the middle."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def fill(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def until(self, end: bytes) -> bytes:
        """Everything up to and with `end`."""
        while end not in self.buffer:
            assert self.fill(), f"closed before {end!r}: {self.buffer!r}"
        head, _, self.buffer = self.buffer.partition(end)
        return head + end

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            assert self.fill(), "closed in the middle of a body"
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def head(self) -> Answer:
        """Status and headers of the next answer."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        assert version == "HTTP/1.1"
        headers = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return Answer(int(status), headers)

    def chunks(self):
        """The chunks of a chunked body, as they were sent."""
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            data = self.exactly(size + 2)
            assert data.endswith(b"\r\n")
            yield data[:-2]
        self.until(b"\r\n")

    def answer(self) -> Answer:
        answer = self.head()
        if answer.headers.get("transfer-encoding") == "chunked":
            answer.body = b"".join(self.chunks())
        else:
            answer.body = self.exactly(int(answer.headers.get("content-length", "0")))
        return answer

    def is_closed(self, within: float = 5) -> bool:
        """Whether the other side closes without sending more."""
        self.socket.settimeout(within)
        try:
            return not self.buffer and not self.fill()
        except TimeoutError:
            return False


def exchange(port: int, request: bytes, timeout: float = 10) -> Answer:
    """One raw request on a connection of its own; status 0 where the other side closed without an answer."""
    with Connection(port, timeout) as connection:
        connection.send(request)
        while b"\r\n\r\n" not in connection.buffer:
            if not connection.fill():
                return Answer(0, closed=True)
        answer = connection.answer()
        answer.closed = connection.is_closed(within=1)
        return answer
