"""What a measurement works with: the effort, the upstreams, wrk, and the candidates' servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.load.candidates import Launch, Ready
from benchmarks.load.effort import Effort
from benchmarks.load.processes import Cores, Process, running, wait_until_answering
from benchmarks.load.request import Request
from benchmarks.load.upstreams import Upstreams
from benchmarks.load.wrk import Wrk
from benchmarks.server import free_port


@dataclass(frozen=True, slots=True)
class Serving:
    """A candidate that answers."""

    ready: Ready
    upstreams: Upstreams
    port: int
    process: Process | None
    """None where the upstream itself is asked."""
    start_s: float

    def request(self, kind: str, *, history: int = 0, tokens: int | None = None) -> Request:
        """A chat completion of this kind through it."""
        return self.ready.request(kind, self.port, self.upstreams, history=history, tokens=tokens)

    def settle(self) -> None:
        """Wait until it has nothing left to do."""
        if self.process is not None:
            self.process.settle()


@dataclass(slots=True)
class Bench:
    """Servers that are kept from figure to figure, and those started for one. Use as a context manager."""

    effort: Effort
    folder: Path
    upstreams: Upstreams
    cores: Cores | None
    wrk: Wrk
    _kept: dict[str, tuple[Serving, ExitStack]] = field(default_factory=dict)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._kept):
            self.drop(name)

    @property
    def load_cores(self) -> set[int] | None:
        """Where the load runs."""
        return None if self.cores is None else {self.cores.load}

    def serving(self, ready: Ready) -> Serving:
        """The candidate's server, started at its first use.

        Raises:
            ServerFailed: it does not start, or has stopped.
        """
        if ready.name not in self._kept:
            with ExitStack() as stack:
                serving = stack.enter_context(self.fresh(ready))
                self._kept[ready.name] = (serving, stack.pop_all())
        return self._kept[ready.name][0]

    def drop(self, name: str) -> None:
        """Stop a kept server; its next use starts another."""
        if name in self._kept:
            self._kept.pop(name)[1].close()

    @contextmanager
    def fresh(self, ready: Ready, workers: int = 1) -> Iterator[Serving]:
        """A server of its own; several workers also get the load's core.

        Raises:
            ServerFailed: it does not start.
        """
        if ready.command is None:
            yield Serving(ready, self.upstreams, 0, None, 0.0)
            return
        folder = Path(mkdtemp(prefix=f"{ready.name}-", dir=self.folder))
        port = free_port()
        command = ready.command(Launch(folder, port, self.upstreams, workers))
        with running(command, folder, ready.name, self._server_cores(workers)) as process:
            start_s = wait_until_answering(process, ready.request("whole", port, self.upstreams))
            yield Serving(ready, self.upstreams, port, process, start_s)

    def _server_cores(self, workers: int) -> set[int] | None:
        if self.cores is None:
            return None
        return {self.cores.server} if workers == 1 else {self.cores.server, self.cores.second}
