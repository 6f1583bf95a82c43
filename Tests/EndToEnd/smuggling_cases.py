"""Requests that two servers in a row might cut at different places, or that would put a line of their own into an
answer: each as its bytes, and the answers that they may get. `refused` closes the connection, so that nothing behind
it is ever read."""

from dataclasses import dataclass

BODY = b'{"model":"phi3"}'
SIZE = len(BODY)
# Behind a request that is refused or has a body, this must never be answered.
HIDDEN = b"GET /v1/hidden HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: hidden\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, BODY)


@dataclass(frozen=True)
class Case:
    name: str
    sent: bytes
    # The answers' statuses, in their order; a refusal may have any of those of its kind.
    answers: tuple[int, ...]
    # The last is our last word on the connection.
    closes: bool = False


CASES: list[Case] = []
REFUSAL = 0


def refused(name: str, sent: bytes) -> None:
    CASES.append(Case(name, sent, (REFUSAL,), closes=True))


def last(name: str, sent: bytes, answer: int) -> None:
    CASES.append(Case(name, sent, (answer,), closes=True))


def answered(name: str, sent: bytes, *answers: int) -> None:
    CASES.append(Case(name, sent, answers))


def post(*lines: bytes, body: bytes = BODY, version: bytes = b"1.1", host: bytes = b"Host: localhost\r\n") -> bytes:
    """A request for a page that takes a body, and exactly these lines."""
    return b"POST /api/show HTTP/%s\r\n%s%s\r\n%s" % (version, host, b"".join(line + b"\r\n" for line in lines), body)


def get(*lines: bytes, line: bytes = b"GET /livez HTTP/1.1", host: bytes = b"Host: localhost\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


# What is as it should be: otherwise all the refusals would prove nothing.

answered("a body with its length", post(b"Content-Length: %d" % SIZE), 200)
answered("a body in chunks", post(b"Transfer-Encoding: chunked", body=CHUNKED), 200)
answered("two requests in one piece", get() + get(), 200, 200)
answered("a body, and a request behind it", post(b"Content-Length: %d" % SIZE) + get(), 200, 200)
answered("chunks, and a request behind them", post(b"Transfer-Encoding: chunked", body=CHUNKED) + get(), 200, 200)
answered("a request that hides in a body", post(b"Content-Length: %d" % len(HIDDEN), body=HIDDEN), 400)
answered("a request that hides in a chunk", post(
    b"Transfer-Encoding: chunked", body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)), 400)
answered("an empty line before the request", b"\r\n" + get(), 200)
answered("chunked in capitals", post(b"Transfer-Encoding: CHUNKED", body=CHUNKED), 200)
answered("trailers", post(b"Transfer-Encoding: chunked", body=CHUNKED[:-2] + b"X-Sum: 1\r\n\r\n"), 200)
answered("an extension of a chunk", post(b"Transfer-Encoding: chunked", body=CHUNKED.replace(b"\r\n", b";a=b\r\n", 1)), 200)
answered("a name that only looks like a length", post(b"Content-Length: %d" % SIZE, b"Content_Length: 0"), 200)
answered("other names of the length", get(b"X-Content-Length: 99", b"Length: 9"), 200)
answered("what a coding's client would take", post(b"TE: trailers, chunked", b"Content-Length: %d" % SIZE), 200)

# The length.

for name, lines in {
    "two different": (b"Content-Length: %d" % SIZE, b"Content-Length: 0"),
    "two different, the smaller first": (b"Content-Length: 0", b"Content-Length: %d" % SIZE),
    "two different in other capitals": (b"Content-Length: %d" % SIZE, b"CONTENT-LENGTH: 3"),
    "two alike": (b"Content-Length: %d" % SIZE, b"Content-Length: %d" % SIZE),
    "a list of different": (b"Content-Length: %d, 0" % SIZE,),
    "a list of two alike": (b"Content-Length: %d, %d" % (SIZE, SIZE),),
    "a list of one": (b"Content-Length: %d," % SIZE,),
    "a plus": (b"Content-Length: +%d" % SIZE,),
    "a minus": (b"Content-Length: -%d" % SIZE,),
    "minus nought": (b"Content-Length: -0",),
    "hexadecimal": (b"Content-Length: 0x%x" % SIZE,),
    "with an exponent": (b"Content-Length: 1e1",),
    "with a point": (b"Content-Length: %d.0" % SIZE,),
    "with an underscore": (b"Content-Length: 1_6",),
    "two numbers": (b"Content-Length: 1 6",),
    "empty": (b"Content-Length:",),
    "blank": (b"Content-Length:   ",),
    "a word": (b"Content-Length: many",),
    "with a semicolon": (b"Content-Length: %d;" % SIZE,),
    "in quotes": (b'Content-Length: "%d"' % SIZE,),
    "past 64 bits": (b"Content-Length: 18446744073709551632",),
    "past 63 bits": (b"Content-Length: 9223372036854775824",),
    "of many digits": (b"Content-Length: " + b"9" * 60,),
    "with a vertical tab": (b"Content-Length: \x0b%d" % SIZE,),
    "with a form feed": (b"Content-Length: %d\x0c" % SIZE,),
    "with a NUL": (b"Content-Length: %d\x00" % SIZE,),
    "of wide digits": ("Content-Length: １６".encode(),),
    "with a space before the colon": (b"Content-Length : %d" % SIZE,),
    "with a tab before the colon": (b"Content-Length\t: %d" % SIZE,),
    "with a NUL in its name": (b"Content-Length\x00: %d" % SIZE,),
    "with a colon before it": (b": Content-Length: %d" % SIZE,),
    "with tabs around it": (b"Content-Length:\t%d\t" % SIZE,),
    "folded": (b"Content-Length:", b" %d" % SIZE),
    "folded before it": (b"X-A: b", b" Content-Length: %d" % SIZE),
}.items():
    refused(f"length: {name}", post(*lines, body=BODY + HIDDEN))

answered("length: with leading noughts", post(b"Content-Length: 00%d" % SIZE), 200)
answered("length: with spaces around it", post(b"Content-Length:   %d  " % SIZE), 200)
# What is left behind a whole request is no request: the answer is the last.
last("length: none, and a body", post(body=BODY + b"\r\n\r\n" + HIDDEN), 400)
last("length: too short", post(b"Content-Length: %d" % (SIZE - 1)) + b"\r\n\r\n" + HIDDEN, 400)

# The coding.

for name, lines in {
    "with a length": (b"Transfer-Encoding: chunked", b"Content-Length: 4"),
    "behind a length": (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
    "with a length of nought": (b"Transfer-Encoding: chunked", b"Content-Length: 0"),
    "with the right length": (b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(CHUNKED)),
    "unknown, with a length": (b"Transfer-Encoding: x", b"Content-Length: %d" % len(CHUNKED)),
    "unknown": (b"Transfer-Encoding: xchunked",),
    "unknown at the end": (b"Transfer-Encoding: chunkedx",),
    "identity": (b"Transfer-Encoding: identity",),
    "identity behind it": (b"Transfer-Encoding: chunked, identity",),
    "identity before it": (b"Transfer-Encoding: identity, chunked",),
    "gzip before it": (b"Transfer-Encoding: gzip, chunked",),
    "gzip alone": (b"Transfer-Encoding: gzip",),
    "twice": (b"Transfer-Encoding: chunked, chunked",),
    "in two lines": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "another in a second line": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"),
    "another in the first line": (b"Transfer-Encoding: x", b"Transfer-Encoding: chunked"),
    "with a comma": (b"Transfer-Encoding: chunked,",),
    "with a comma before it": (b"Transfer-Encoding: ,chunked",),
    "with a parameter": (b"Transfer-Encoding: chunked;q=1",),
    "in quotes": (b'Transfer-Encoding: "chunked"',),
    "with a vertical tab": (b"Transfer-Encoding: \x0bchunked",),
    "with a vertical tab behind": (b"Transfer-Encoding: chunked\x0b",),
    "with a NUL": (b"Transfer-Encoding: chunked\x00",),
    "with a no-break space": (b"Transfer-Encoding: chunked\xa0",),
    "empty": (b"Transfer-Encoding:",),
    "cut": (b"Transfer-Encoding: chunke",),
    "with a space before the colon": (b"Transfer-Encoding : chunked",),
    "with a tab before the colon": (b"Transfer-Encoding\t: chunked",),
    "folded": (b"Transfer-Encoding:", b" chunked"),
    "folded before it": (b"X-A: b", b" Transfer-Encoding: chunked"),
    "behind a bare CR": (b"X-A: b\rTransfer-Encoding: chunked",),
    "behind a bare LF": (b"X-A: b\nTransfer-Encoding: chunked", b"Content-Length: 4"),
    "with a space before it": (b" Transfer-Encoding: chunked",),
}.items():
    refused(f"coding: {name}", post(*lines, body=CHUNKED + HIDDEN))

refused("coding: of HTTP/1.0", post(b"Transfer-Encoding: chunked", body=CHUNKED + HIDDEN, version=b"1.0"))
last("coding: a name that only looks like it", post(b"Transfer_Encoding: chunked", body=CHUNKED + HIDDEN), 400)

# Chunks.

CHUNK = b"%x\r\n%s\r\n" % (SIZE, BODY)
for name, body in {
    "0x before the size": b"0x" + CHUNK + b"0\r\n\r\n",
    "a plus before the size": b"+" + CHUNK + b"0\r\n\r\n",
    "a minus before the size": b"-" + CHUNK + b"0\r\n\r\n",
    "a space before the size": b" " + CHUNK + b"0\r\n\r\n",
    "no size": b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size that is none": b"g\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size with an underscore": b"1_0\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size past 64 bits": b"10000000000000010\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size of 63 bits": b"7fffffffffffffff\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size of 64 bits": b"ffffffffffffffff\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a long extension": b"%x;%s\r\n%s\r\n0\r\n\r\n" % (SIZE, b"a" * 400, BODY),
    "a bare LF behind the size": b"%x\n%s\r\n0\r\n\r\n" % (SIZE, BODY),
    "a bare CR behind the size": b"%x\r%s\r\n0\r\n\r\n" % (SIZE, BODY),
    "a bare LF in an extension": b"%x;a\nb\r\n%s\r\n0\r\n\r\n" % (SIZE, BODY),
    "a bare CR in an extension": b"%x;a\rb\r\n%s\r\n0\r\n\r\n" % (SIZE, BODY),
    "a NUL in an extension": b"%x;a\x00b\r\n%s\r\n0\r\n\r\n" % (SIZE, BODY),
    "longer than it says": b"2\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a bare LF behind the data": b"%x\r\n%s\n0\r\n\r\n" % (SIZE, BODY),
    "no line end behind the data": b"%x\r\n%s0\r\n\r\n" % (SIZE, BODY),
    "two letters behind the data": b"%x\r\n%sXX0\r\n\r\n" % (SIZE, BODY),
    "a bare LF behind the last": CHUNK + b"0\n\r\n",
    "a request as a trailer": CHUNK + b"0\r\n",
    "a trailer without a colon": CHUNK + b"0\r\nnonsense\r\n\r\n",
    "a trailer with a NUL": CHUNK + b"0\r\nX-A: \x00\r\n\r\n",
    "a folded trailer": CHUNK + b"0\r\nX-A: b\r\n c\r\n\r\n",
    "a trailer that names a length": CHUNK + b"0\r\nContent-Length: 99\r\n\r\n",
    "a trailer with a bare LF": CHUNK + b"0\r\nX-A: b\nX-C: d\r\n\r\n",
    "long trailers": CHUNK + b"0\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 4_000) for n in range(12)) + b"\r\n",
}.items():
    refused(f"chunk: {name}", post(b"Transfer-Encoding: chunked", body=body + HIDDEN))

answered("chunk: a size of many digits", post(
    b"Transfer-Encoding: chunked", body=b"0" * 40 + CHUNKED) + get(), 200, 200)
answered("chunk: a trailer that names a host", post(
    b"Transfer-Encoding: chunked", body=CHUNK + b"0\r\nHost: evil.example\r\n\r\n") + get(), 200, 200)
answered("chunk: the last of many noughts", post(
    b"Transfer-Encoding: chunked", body=CHUNK + b"0000\r\n\r\n") + get(), 200, 200)

# The first line.

for name, line in {
    "a tab for a space": b"GET\t/livez HTTP/1.1",
    "two spaces": b"GET  /livez HTTP/1.1",
    "a vertical tab for a space": b"GET\x0b/livez HTTP/1.1",
    "a space before it": b" GET /livez HTTP/1.1",
    "a space in the path": b"GET /livez x HTTP/1.1",
    "a tab behind the path": b"GET /livez\tHTTP/1.1",
    "a bare CR in the path": b"GET /livez\rX HTTP/1.1",
    "a bare LF in the path": b"GET /livez\nX-A: b HTTP/1.1",
    "a NUL in the path": b"GET /livez\x00 HTTP/1.1",
    "a DEL in the path": b"GET /livez\x7f HTTP/1.1",
    "no path": b"GET HTTP/1.1",
    "no version": b"GET /livez",
    "version 0.9": b"GET /livez HTTP/0.9",
    "version 1.2": b"GET /livez HTTP/1.2",
    "version 2.0": b"GET /livez HTTP/2.0",
    "version 1.10": b"GET /livez HTTP/1.10",
    "version 01.1": b"GET /livez HTTP/01.1",
    "a version in small letters": b"GET /livez http/1.1",
    "a version behind which something stands": b"GET /livez HTTP/1.1x",
    "another protocol": b"GET /livez RTSP/1.0",
    "a method with a colon": b"GE:T /livez HTTP/1.1",
    "a method with a NUL": b"GE\x00T /livez HTTP/1.1",
    "a target of another host": b"GET http://evil.example/livez HTTP/1.1",
    "a target of this host": b"GET http://localhost/livez HTTP/1.1",
    "a target that is an authority": b"GET localhost:80 HTTP/1.1",
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1",
    "a star that is no OPTIONS": b"GET * HTTP/1.1",
    "a path without a slash": b"GET livez HTTP/1.1",
}.items():
    refused(f"line: {name}", get(line=line) + HIDDEN)

last("line: another protocol behind a request", get() + b"GET /livez RTSP/1.0\r\nHost: localhost\r\n\r\n", 200)
last("line: another protocol behind a body", post(
    b"Content-Length: %d" % SIZE) + b"GET /livez RTSP/1.0\r\nHost: localhost\r\n\r\n", 200)
last("line: another protocol behind chunks", post(
    b"Transfer-Encoding: chunked", body=CHUNKED) + b"GET /livez RTSP/1.0\r\nHost: localhost\r\n\r\n", 200)
refused("line: the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN)
answered("line: a line end in the path, escaped", get(line=b"GET /livez%0d%0aX-Evil:%20yes HTTP/1.1"), 404)
answered("line: a line end in the query, escaped", get(line=b"GET /livez?a=%0d%0aX-Evil:%20yes HTTP/1.1"), 200)
answered("line: two slashes", get(line=b"GET //evil.example/livez HTTP/1.1"), 404)
answered("line: a path upwards", get(line=b"GET /v1/../livez HTTP/1.1"), 404)

# Other lines of the head.

for name, lines in {
    "a line without a colon": (b"nonsense",),
    "a line without a name": (b": x",),
    "a space in a name": (b"X A: b",),
    "a bracket in a name": (b"X(A): b",),
    "a letter past ASCII in a name": (b"X-\xe9: b",),
    "a NUL in a value": (b"X-A: b\x00c",),
    "a bare CR in a value": (b"X-A: b\rX-Evil: yes",),
    "a bare CR at the end of a value": (b"X-A: b\r",),
    "a folded value": (b"X-A: b", b"\tc"),
    "a second host": (b"Host: evil.example",),
    "a second host, the same": (b"Host: localhost",),
    "a second host in capitals": (b"HOST: evil.example",),
}.items():
    refused(f"head: {name}", get(*lines) + HIDDEN)

refused("head: lines that end with a bare LF", b"GET /livez HTTP/1.1\nHost: localhost\n\n" + HIDDEN)
refused("head: one line that ends with a bare LF", b"GET /livez HTTP/1.1\r\nHost: localhost\nX-A: b\r\n\r\n" + HIDDEN)
refused("head: a bare LF as the empty line", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\n" + HIDDEN)
refused("head: lines that end with a bare CR", b"GET /livez HTTP/1.1\rHost: localhost\r\r" + HIDDEN)

for name, host in {
    "none": b"",
    "empty": b"Host:\r\n",
    "a list": b"Host: localhost, evil.example\r\n",
    "with a user": b"Host: evil@localhost\r\n",
    "with a path": b"Host: localhost/evil\r\n",
    "with a NUL": b"Host: localhost\x00.evil.example\r\n",
    "with two ports": b"Host: localhost:80:80\r\n",
    "with a space": b"Host: localhost evil.example\r\n",
    "with a space before the colon": b"Host : localhost\r\n",
}.items():
    if name in ("none", "with a NUL", "with a space before the colon"):
        refused(f"host: {name}", get(host=host) + HIDDEN)
    else:
        answered(f"host: {name}", get(host=host), 400)
answered("host: of somebody else", get(host=b"Host: evil.example\r\n"), 403)
answered("host: forwarded", get(b"X-Forwarded-Host: evil.example", b"Forwarded: host=evil.example"), 200)
answered("host: rewritten", get(b"X-Original-URL: /v1/models", b"X-Rewrite-URL: /v1/models"), 200)

# Bodies where none is expected, and connections that are to become another thing.

answered("body: of a GET", get(b"Content-Length: %d" % len(HIDDEN)) + HIDDEN, 200)
answered("body: of a HEAD", get(b"Content-Length: 4", line=b"HEAD /livez HTTP/1.1") + b"abcd", 200)
answered("body: of a DELETE", get(
    b"Content-Length: %d" % len(HIDDEN), line=b"DELETE /v1/mcp/contexts/x HTTP/1.1") + HIDDEN, 404)
answered("method: another in a line", get(b"X-HTTP-Method-Override: DELETE"), 200)
answered("connection: names the length", post(b"Connection: Content-Length", b"Content-Length: %d" % SIZE), 200)
answered("connection: names the coding", post(
    b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked", body=CHUNKED), 200)
answered("connection: close, and a request behind it", get(b"Connection: close") + HIDDEN, 200)
answered("connection: HTTP/1.0, and a request behind it", get(line=b"GET /livez HTTP/1.0") + HIDDEN, 200)
answered("upgrade: h2c", get(
    b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__") + HIDDEN, 200)
answered("upgrade: a WebSocket where there is none", get(
    b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==") + HIDDEN, 200)
answered("upgrade: TLS", get(b"Connection: Upgrade", b"Upgrade: TLS/1.0") + HIDDEN, 200)
answered("expect: something else", post(b"Expect: 200-maybe", b"Content-Length: %d" % SIZE), 200)

# What an answer may quote.

answered("quoted: an id with a line end", get(b"X-Request-Id: a%0d%0aX-Evil: yes"), 200)
EVIL = b'{"model":"a\\r\\nX-Evil: yes\\r\\n\\r\\n"}'
answered("quoted: a model with a line end", post(b"Content-Length: %d" % len(EVIL), body=EVIL), 404)
answered("quoted: an origin with a line end", get(b"Origin: http://localhost%0d%0aX-Evil: yes"), 403)
answered("quoted: headers that are asked for", get(
    b"Origin: http://localhost", b"Access-Control-Request-Method: GET",
    b"Access-Control-Request-Headers: x-stainless-a%0d%0aX-Evil: yes", line=b"OPTIONS /livez HTTP/1.1"), 204)
