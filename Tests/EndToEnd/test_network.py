"""What the daemon does on the network: it listens on its one port, discovers by UDP where that is on, nothing else."""

import os
from pathlib import Path

import pytest

from swarm import free_udp_port


def sockets_of(pid: int) -> list[tuple[str, str, str]]:
    """Protocol, local address and state of every internet socket of a process."""
    own = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            own.add(os.readlink(entry))
        except OSError:
            pass
    found = []
    for protocol in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        lines = Path(f"/proc/{pid}/net/{protocol}")
        for line in lines.read_text().splitlines()[1:] if lines.exists() else []:
            fields = line.split()
            if f"socket:[{fields[9]}]" in own:
                found.append((protocol, fields[1], fields[3]))
    return found


@pytest.mark.parametrize("mcp", [{"mdns": False, "multicast": False}, {"enabled": False}], ids=["no discovery", "no mcp"])
def test_without_discovery_the_daemon_listens_on_its_port_and_opens_nothing_else(daemon, mcp):
    one = daemon(config={"mcp": mcp})
    one.ask("Remember: my name is Alice")
    listening = [(protocol, address) for protocol, address, state in sockets_of(one.pid) if state == "0A"]
    assert listening == [("tcp", f"0100007F:{one.port:04X}")]
    # Nothing but connections that clients opened to that port.
    others = [address for protocol, address, state in sockets_of(one.pid) if not address.endswith(f":{one.port:04X}")]
    assert not others
    for child in one.children():
        assert not sockets_of(child)


def test_multicast_listens_on_its_port_alone(daemon):
    port = free_udp_port()
    one = daemon(config={"mcp": {"mdns": False, "multicast": True, "multicast_port": port}})
    sockets = sockets_of(one.pid)
    assert [protocol for protocol, _, state in sockets if state == "0A"] == ["tcp"]
    bound = {int(address.rpartition(":")[2], 16) for protocol, address, _ in sockets if protocol.startswith("udp")}
    assert port in bound
