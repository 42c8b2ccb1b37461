"""Who is measured, each in its usual set-up: how it is had, started and asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.load import bare as bare_relay
from benchmarks.load import installed
from benchmarks.load.processes import Command
from benchmarks.load.request import Request, chat
from benchmarks.load.upstreams import COMPLETIONS, KINDS, Upstreams

CACHE = Path(".cache/benchmarks")


@dataclass(frozen=True, slots=True)
class Launch:
    """What a candidate needs to know to start."""

    folder: Path
    """Its own, for configs and ledgers."""
    port: int
    upstreams: Upstreams
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Ready:
    """A candidate that can be measured. Without a `command` there is no server: the upstream itself is asked."""

    name: str
    version: str
    command: Callable[[Launch], Command] | None
    headers: Callable[[str, Upstreams], Mapping[str, str]]
    prefix: Callable[[str], str]

    def request(
        self, kind: str, port: int, upstreams: Upstreams, *, history: int = 0, tokens: int | None = None
    ) -> Request:
        """A chat completion of this kind through the candidate that listens on `port`."""
        if self.command is None:
            port = upstreams.ports[kind]
        before, after = chat(kind, history=history, stream=kind != "whole", tokens=tokens)
        return Request(port, f"{self.prefix(kind)}{COMPLETIONS}", before, after, self.headers(kind, upstreams))


def _no_headers(kind: str, upstreams: Upstreams) -> Mapping[str, str]:
    return {}


def _no_prefix(kind: str) -> str:
    return ""


def _kind_first(kind: str) -> str:
    return f"/{kind}"


def gattway() -> Ready:
    """The gateway with everything on: durable ledger, metrics, identity, counting, an instruction in every turn."""

    def command(launch: Launch) -> Command:
        config = launch.folder / "gattway.toml"
        text = f'[ledger]\npath = "{launch.folder / "ledger.db"}"\n'
        text += "".join(_GATTWAY.format(kind=kind, base=launch.upstreams.base(kind)) for kind in KINDS)
        config.write_text(text, encoding="utf-8")
        argv = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", str(launch.port)]
        return Command([*argv, "--workers", str(launch.workers)], {})

    return Ready("gattway", version("gattway"), command, _no_headers, _no_prefix)


_GATTWAY = """
[upstreams.{kind}]
kind = "openai"
base_url = "{base}/v1"
[models.{kind}-model]
upstream = "{kind}"
name = "gpt-4o"
[experiments.{kind}.arms.repeat]
strategy = "every-turn"
model = "{kind}-model"
[experiments.{kind}.arms.once]
strategy = "once"
model = "{kind}-model"
weight = 0
"""


def litellm() -> Ready:
    """LiteLLM's proxy, one worker, without a database."""
    program = installed.litellm((CACHE / "litellm").resolve())

    def command(launch: Launch) -> Command:
        config = launch.folder / "litellm.yaml"
        config.write_text(json.dumps({"model_list": [_litellm_model(kind, launch) for kind in KINDS]}), "utf-8")
        argv = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(launch.port)]
        env = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
        }
        return Command([*argv, "--num_workers", str(launch.workers), "--telemetry", "False"], env)

    return Ready("litellm", installed.LITELLM, command, _no_headers, _no_prefix)


def _litellm_model(kind: str, launch: Launch) -> dict[str, object]:
    parameters = {"model": "openai/gpt-4o", "api_base": f"{launch.upstreams.base(kind)}/v1", "api_key": "none"}
    return {"model_name": kind, "litellm_params": parameters}


def portkey() -> Ready:
    """Portkey's gateway on Node."""
    program = installed.portkey((CACHE / "portkey").resolve())

    def command(launch: Launch) -> Command:
        return Command([*program, f"--port={launch.port}", "--headless"], {"NODE_ENV": "production"})

    def headers(kind: str, upstreams: Upstreams) -> Mapping[str, str]:
        return {
            "authorization": "Bearer none",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"{upstreams.base(kind)}/v1",
        }

    return Ready("portkey", installed.PORTKEY, command, headers, _no_prefix)


def bare() -> Ready:
    """The relay that does nothing, on the gateway's stack."""

    def command(launch: Launch) -> Command:
        argv = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.load.bare:create_app"]
        argv += ["--host", "127.0.0.1", "--port", str(launch.port), "--log-level", "warning", "--no-access-log"]
        argv += ["--loop", "uvloop", "--http", "httptools"]
        return Command(argv, {bare_relay.UPSTREAMS: json.dumps({kind: launch.upstreams.base(kind) for kind in KINDS})})

    return Ready(
        "bare", f"uvicorn {version('uvicorn')}, aiohttp {version('aiohttp')}", command, _no_headers, _kind_first
    )


def direct() -> Ready:
    """The upstream itself."""
    return Ready("direct", "the upstream itself", None, _no_headers, _kind_first)


CANDIDATES: dict[str, Callable[[], Ready]] = {
    "gattway": gattway,
    "litellm": litellm,
    "portkey": portkey,
    "bare": bare,
    "direct": direct,
}
"""Name → makes it ready; raises `Unavailable` where it cannot be had."""
