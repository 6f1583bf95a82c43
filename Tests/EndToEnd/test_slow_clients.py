"""slowhttptest against the daemon: heads, bodies, ranges and readers without end, while ordinary clients go on."""

import subprocess
import threading

import pytest

from daemon import recall
from fronts import tool

# Connections of each attack. All four run at once; each of them lasts so many seconds.
COUNT, LENGTH = 150, 14
ATTACKS = {
    "slowloris, heads without end": ["-H", "-i", "2"],
    "bodies without end": ["-B", "-i", "2", "-s", "8192", "-t", "POST", "-f", "application/json"],
    "ranges without end": ["-R", "-a", "5", "-b", "3000"],
    "readers that do not read": ["-X", "-k", "3", "-n", "5", "-w", "10", "-y", "20", "-z", "5"],
}


def test_slow_clients_hinder_nobody(daemon, root):
    program = tool(root, "slowhttptest")
    one = daemon(models=[recall()])
    one.ask("Remember: my name is Alice", conversation="c")
    url = {"bodies without end": "/v1/chat/completions", "readers that do not read": "/openapi.yaml"}
    attacks = {
        name: subprocess.Popen(
            [*program, "-c", str(COUNT), "-r", "100", "-l", str(LENGTH), "-p", "3", *options,
             "-u", one.url + url.get(name, "/v1/models")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=one.home)
        for name, options in ATTACKS.items()
    }
    outputs: dict[str, str] = {}
    readers = [
        threading.Thread(target=lambda name=name, process=process: outputs.update({name: process.communicate()[0]}))
        for name, process in attacks.items()
    ]
    for reader in readers:
        reader.start()
    answered = 0
    while any(process.poll() is None for process in attacks.values()):
        assert one.get("/livez").status_code == 200
        assert one.ask("What is my name?", conversation="c") == "Your name is Alice"
        answered += 1
    for reader in readers:
        reader.join(30)
    assert answered >= 5
    for name, output in outputs.items():
        # It asks by itself, too, whether an ordinary client is answered within three seconds.
        assert "service available" in output and "YES" in output.rpartition("service available")[2][:40], (name, output)
    assert one.process.poll() is None
    # Nothing of theirs is kept: as many connections as before, once all of them are gone.
    assert one.get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/openapi.yaml"])
def test_a_range_of_many_parts_is_answered_at_most_once(daemon, path):
    one = daemon()
    whole = one.get(path)
    many = one.get(path, headers={"Range": "bytes=" + ",".join(f"{n}-" for n in range(1_000))})
    assert many.status_code in (200, 206, 416)
    assert len(many.content) <= len(whole.content)
