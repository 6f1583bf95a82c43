"""A program that holds the swarm's key and is no honest host: it gets in, and says what no host says."""

import base64
import contextlib
import hashlib
import hmac
import os
import ssl
import subprocess
import time
from pathlib import Path

from swarm import Host
from websocket import WebSocket

# RFC 8410: an Ed25519 private key is this and its 32 bytes.
ED25519 = bytes.fromhex("302e020100300506032b657004220420")


def derived(key: bytes, label: str) -> bytes:
    """HKDF with SHA-256, no salt, 32 bytes."""
    extracted = hmac.digest(b"", key, hashlib.sha256)
    return hmac.digest(extracted, label.encode() + b"\x01", hashlib.sha256)


def varint(value: int) -> bytes:
    """LEB128."""
    head = b""
    while value > 0x7F:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


def text(value: str) -> bytes:
    return varint(len(value)) + value.encode()


def pem(der: bytes) -> str:
    return f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(der).decode()}\n-----END PRIVATE KEY-----\n"


class Impostor:
    """One identity, its certificate issued by the authority that follows from the swarm's key."""

    def __init__(self, key: str, folder: Path):
        folder.mkdir(parents=True)
        self.certificate, self.key = folder / "leaf.pem", folder / "leaf.key"
        authority, authority_key = folder / "authority.pem", folder / "authority.key"
        authority_key.write_text(pem(ED25519 + derived(bytes.fromhex(key), "igris-swarm-authority-1")))
        self.key.write_text(pem(ED25519 + os.urandom(32)))
        request, extensions = folder / "leaf.csr", folder / "leaf.ext"
        extensions.write_text(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:localhost\n")
        for command in (
            f"req -x509 -new -key {authority_key} -out {authority} -days 3650 -subj /CN=igris-runtime\\ swarm",
            f"req -new -key {self.key} -out {request} -subj /CN=impostor",
            f"x509 -req -in {request} -CA {authority} -CAkey {authority_key} -set_serial 7 -days 3650 "
            f"-extfile {extensions} -out {self.certificate}",
        ):
            subprocess.run(f"openssl {command}", shell=True, check=True, capture_output=True)
        public = subprocess.run(
            ["openssl", "pkey", "-in", str(self.key), "-pubout", "-outform", "DER"], check=True, capture_output=True)
        self.run, self.started = os.urandom(16), time.time_ns() // 1_000_000
        self.attempt = self.started
        self.public = public.stdout[-32:]
        self.id = hashlib.sha256(self.public).hexdigest()[:32]

    def greeting(self) -> bytes:
        """What a host says first: channel, kind, protocol, this run of it, and what it is called."""
        self.attempt += 1
        return (
            b"\x01\x01\x01" + self.run + varint(self.started) + varint(time.time_ns() // 1_000_000) + text("impostor")
            + text("0.1.0") + b"\x00" + varint(9) + varint(0) + varint(self.attempt) + varint(0))

    @contextlib.contextmanager
    def link(self, host: Host):
        """A link as another host would open it. Raises OSError where none is let in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.certificate, self.key)
        with host.socket() as raw, context.wrap_socket(raw) as connection:
            yield WebSocket(connection, "/v1/swarm/ws")

    def signed(self, message: bytes) -> bytes:
        """Ed25519 by its own key."""
        path = self.key.with_suffix(".message")
        path.write_bytes(message)
        return subprocess.run(
            ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(self.key), "-in", str(path)], check=True,
            capture_output=True).stdout

    def push(self, words: str, epoch: int = 1, stream: bytes = b"a stream of its.") -> bytes:
        """The first operation of a stream of its own, as it is pushed: a client's turn that nobody can read, rightly
        signed. (ReplicationCodec, OperationCodec, BatchSeal.)"""
        body, now = words.encode(), time.time_ns() // 1_000_000
        node = bytes.fromhex(self.id)
        origin = node + epoch.to_bytes(4)
        operation = (
            b"\x01\x01\x00" + origin + varint(1) + (now << 16).to_bytes(8) + stream + varint(0) + varint(len(body))
            + body)
        chain = hashlib.sha256(bytes(32) + hashlib.sha256(operation).digest()).digest()
        seal = self.signed(b"igris-op-1" + origin + (1).to_bytes(8) + chain)
        return (
            b"\x03\x01" + varint(0) + node + varint(epoch) + varint(1 << 1 | 1) + varint(0) + self.public + seal
            + b"\x01" + varint(now << 1) + varint(0) + stream + varint(0) + varint(len(body)) + body)
