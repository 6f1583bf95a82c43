"""Hosts of the network lab (`lab/netlab`): each in a network namespace of its own, on one switch."""

import concurrent.futures
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarm import KEY, MODEL, Host, Swarm

NETLAB = Path(__file__).resolve().parent / "lab" / "netlab"
# CLONE_NEWNET of sched.h.
NEW_NETWORK = 0x40000000


def why_not(avahi: bool) -> str | None:
    """Why the lab cannot run here; None where it can."""
    if os.getuid() != 0:
        return "the network lab needs root"
    for program in ["ip", "nft", *(["avahi-daemon", "dbus-daemon"] if avahi else [])]:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            return f"the network lab needs {program}, which is not installed"
    probe = f"igris-probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True).returncode:
        return "the network lab needs network namespaces (`ip netns add` fails)"
    subprocess.run(["ip", "netns", "delete", probe], capture_output=True)
    return None


class LabHost(Host):
    """A host at 10.77.0.NUMBER:PORT of a lab."""

    def __init__(self, lab: "Lab", number: int, binary: Path, home: Path, environment: dict[str, str], port: int):
        super().__init__(binary, home, {}, ["--host", "0.0.0.0"], {"NETLAB_NAME": lab.name, **environment})
        self.lab, self.number, self.port = lab, number, port
        self.launcher = [str(NETLAB), "exec", str(number)]
        self.endpoint = f"10.77.0.{number}:{port}"

    def is_at(self, address: str) -> bool:
        return address == self.endpoint

    def socket(self) -> socket.socket:
        return self.lab.inside(self.number, lambda: socket.create_connection(("127.0.0.1", self.port), timeout=30))


class Lab(Swarm):
    """A LAN with a swarm on it. `found_by` names the ways of discovery, "mdns multicast seeds" for all of them."""

    def __init__(
        self, binary: Path, folder: Path, count: int, found_by: str = "multicast", per_node: int = 1,
        config: dict[str, Any] | None = None,
    ):
        self.name = f"t{os.getpid()}"
        self.per_node = per_node
        self.threads: dict[int, concurrent.futures.ThreadPoolExecutor] = {}
        self.nodes = -(-count // per_node)
        self("up", str(self.nodes), *(["--avahi"] if "mdns" in found_by else []))
        super().__init__(binary, folder, count, found_by, KEY, config, [MODEL])

    def __call__(self, *words: str) -> str:
        """`netlab WORDS`."""
        done = subprocess.run(
            [str(NETLAB), *words], capture_output=True, text=True, timeout=60,
            env={**os.environ, "NETLAB_NAME": self.name, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
        assert done.returncode == 0, f"netlab {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def host(self, name: str | None = None, **mcp: Any) -> LabHost:
        index = len(self.hosts)
        number, port = index // self.per_node + 1, 8080 + index % self.per_node
        path = os.environ["PATH"] + ":/usr/sbin:/sbin"
        environment = {"MCP_ENCRYPTION_KEY": KEY, "PATH": path}
        one = LabHost(self, number, self.binary, self.folder / (name or f"host{index + 1}"), environment, port)
        self.hosts.append(one)
        self.configure(one, **mcp)
        return one

    def configure(self, host: Host, **mcp: Any) -> None:
        seeds = [other.endpoint for other in self.hosts if other is not host] if "seeds" in self.found_by else []
        ways = {"mdns": "mdns" in self.found_by, "multicast": "multicast" in self.found_by, "multicast_port": 5354}
        super().configure(host, **{**ways, "seeds": seeds, **mcp})

    def inside(self, number: int, work: Any) -> Any:
        """Does something in the network of one node; a socket that it makes stays there."""
        if number not in self.threads:
            namespace = f"/run/netns/{self.name}-{number}"
            self.threads[number] = concurrent.futures.ThreadPoolExecutor(
                1, initializer=enter, initargs=(namespace,))
        return self.threads[number].submit(work).result(60)

    def close(self) -> None:
        super().close()
        for thread in self.threads.values():
            thread.shutdown(wait=False, cancel_futures=True)
        self("down")


def enter(namespace: str) -> None:
    """The calling thread's network is that of `namespace` from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        if libc.setns(descriptor, NEW_NETWORK):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lab(binary: Path, folder: Path, count: int, start: bool = True, **options: Any) -> Iterator[Lab]:
    """A lab that is torn down whatever happens; skips the test, saying why, where there can be none."""
    if reason := why_not("mdns" in options.get("found_by", "multicast")):
        pytest.skip(reason)
    one = None
    try:
        one = Lab(binary, folder, count, **options)
        yield one.start() if start else one
    finally:
        if one:
            one.close()
        else:
            subprocess.run([str(NETLAB), "down"], env={**os.environ, "NETLAB_NAME": f"t{os.getpid()}"}, check=False)
