"""Servers of others before the daemon, as people run them: nginx and HAProxy (scripts/get-fronts)."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from daemon import eventually, free_port

NGINX = """
daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/error.log; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  upstream daemon {{ server 127.0.0.1:{daemon}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://daemon; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;
      proxy_set_header Host $http_host; proxy_set_header X-Request-Id front-$request_id;
    }}
  }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 5s
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  http-request set-header X-Request-Id front-%[uuid()]
  default_backend daemon
backend daemon
  server one 127.0.0.1:{daemon}
"""


def tool(root: Path, name: str) -> list[str]:
    """The command that starts one of these programs: the installed one, or the unpacked one with its libraries."""
    if found := shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin"):
        return [found]
    folder = Path(os.environ.get("FRONTS_DIR", root / ".tools/fronts")) / "root/usr"
    for place in (folder / "sbin" / name, folder / "bin" / name):
        if place.is_file():
            return ["env", f"LD_LIBRARY_PATH={folder}/lib/x86_64-linux-gnu", str(place)]
    pytest.skip(f"{name} is not there (scripts/get-fronts .tools/fronts)")


class Front:
    """One of them, which names every request that it hands on `front-…` and lets nobody else do so."""

    def __init__(self, root: Path, home: Path, name: str, daemon: int):
        self.port = free_port()
        home.mkdir(parents=True, exist_ok=True)
        config = home / f"{name}.conf"
        text = NGINX if name == "nginx" else HAPROXY
        config.write_text(text.format(home=home, port=self.port, daemon=daemon))
        options = ["-p", str(home), "-e", str(home / "error.log"), "-c", str(config)]
        with (home / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*tool(root, name), *(options if name == "nginx" else ["-db", "-f", str(config)])], stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        eventually(f"{name} listens", self.listens)

    def listens(self) -> bool:
        assert self.process.poll() is None, "the server has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
