"""Certificates for tests, made by the openssl program."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


def openssl(*arguments: str, text: str = "") -> str:
    return subprocess.run(
        ["openssl", *arguments], input=text, capture_output=True, text=True, check=True, timeout=60).stdout


@dataclass
class Pair:
    certificate: Path
    key: Path

    def facts(self, what: str) -> str:
        return openssl("x509", "-in", str(self.certificate), "-noout", *what.split()).strip().partition("=")[2].strip()

    @property
    def fingerprint(self) -> str:
        return self.facts("-fingerprint -sha256")


class Authority:
    """Signs the certificates of servers and clients."""

    def __init__(self, folder: Path, name: str = "Test Authority"):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.pair = Pair(folder / "ca.pem", folder / "ca.key")
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-keyout", str(self.pair.key), "-out", str(self.pair.certificate),
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")

    @property
    def file(self) -> str:
        return str(self.pair.certificate)

    def issue(self, subject: str, name: str, usage: str = "serverAuth", key: str = "ec") -> Pair:
        """`subject` as /CN=…; a server's is good for localhost and 127.0.0.1."""
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        algorithm = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else ["rsa:2048"]
        request = openssl(
            "req", "-newkey", *algorithm, "-nodes", "-subj", subject, "-keyout", str(pair.key))
        extensions = self.folder / f"{name}.cnf"
        extensions.write_text(
            f"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\n"
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        pair.certificate.write_text(openssl(
            "x509", "-req", "-CA", self.file, "-CAkey", str(self.pair.key), "-days", "20",
            "-set_serial", str(abs(hash(name)) + 1), "-extfile", str(extensions), text=request))
        return pair
