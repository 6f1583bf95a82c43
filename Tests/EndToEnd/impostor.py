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
        self.id = hashlib.sha256(public.stdout[-32:]).hexdigest()[:32]

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
