"""The upstreams behind every candidate: nginx for answers at once, and the paced one for tokens one by one."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import events
from benchmarks.load.effort import PACE_PER_S
from benchmarks.load.processes import Command, Process, running
from benchmarks.load.request import Request, chat
from benchmarks.server import ServerFailed, free_port

KINDS = ("whole", "streamed", "paced")
"""A completion; a stream sent at once; a stream whose tokens come at a pace."""
COMPLETIONS = "/v1/chat/completions"


class MissingTool(Exception):
    """A program that the load cannot be made without; the message says where it is to be had."""


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Where each kind of answer comes from."""

    ports: dict[str, int]

    def base(self, kind: str) -> str:
        """The address up to, and without, `/v1`."""
        return f"http://127.0.0.1:{self.ports[kind]}/{kind}"


def tool(name: str) -> str:
    """The path of nginx or wrk.

    Raises:
        MissingTool: it is not on this machine.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise MissingTool(f"{name} is missing (Debian and Ubuntu: apt-get install {name})")
    return found


@contextmanager
def serving(folder: Path, cores: set[int] | None) -> Iterator[Upstreams]:
    """Run both while the block lasts.

    Raises:
        MissingTool: there is no nginx.
        ServerFailed: one of them did not start.
    """
    at_once, one_by_one = free_port(), free_port()
    nginx = Command([tool("nginx"), "-e", str(folder / "nginx-error.log"), "-c", str(_config(folder, at_once))], {})
    pace = ["--port", str(one_by_one), "--per-second", str(PACE_PER_S)]
    paced = Command([sys.executable, "-m", "benchmarks.load.paced", *pace], {})
    upstreams = Upstreams({"whole": at_once, "streamed": at_once, "paced": one_by_one})
    with running(nginx, folder, "nginx", cores) as first, running(paced, folder, "paced", cores) as second:
        for process, kind in ((first, "whole"), (second, "paced")):
            _wait(process, Request(upstreams.ports[kind], f"/{kind}{COMPLETIONS}", *chat("m", tokens=1)))
        yield upstreams


def _wait(process: Process, request: Request, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while True:
        process.check()
        try:
            status, _ = request.ask(timeout_s=5)
        except OSError:
            status = 0
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise ServerFailed(f"an upstream did not answer (status {status}): {process.log_tail()}")
        time.sleep(0.02)


def _config(folder: Path, port: int) -> Path:
    (folder / "whole.json").write_bytes(events.completion())
    (folder / "streamed.sse").write_bytes(events.stream())
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port), encoding="utf-8")
    return config


# nginx answers POST on a file with 405, so that status is turned into the file. `ssi` has nothing to do in it; it makes
# nginx send the stream in chunks, as a server does that does not know its length.
_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    client_max_body_size 64m;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    open_file_cache max=10;
    tcp_nodelay on;
    etag off;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder};
        location = /whole/v1/chat/completions {{ error_page 405 =200 /whole.json; return 405; }}
        location = /streamed/v1/chat/completions {{ error_page 405 =200 /streamed.sse; return 405; }}
        location = /whole.json {{ internal; types {{}} default_type application/json; }}
        location = /streamed.sse {{
            internal; types {{}} default_type text/event-stream; ssi on; ssi_types text/event-stream;
        }}
    }}
}}
"""
