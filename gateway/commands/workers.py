"""`gattway serve --workers N`: processes that share one listening socket, and the one that looks after them.

    supervisor ── binds, makes the metrics' folder, starts N workers, starts another when one dies
      ├─ worker   a whole gateway: its own event loop, models, connections; the same ledger file, the same metrics
      └─ worker

Asked to stop, the supervisor asks every worker and waits until they have answered what they had begun; asked twice,
they stop at once. A worker whose supervisor has died stops by itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import click
from prometheus_client.multiprocess import mark_process_dead

from gateway.errors import ConfigError, GatewayError
from gateway.settings import Settings
from gateway.telemetry.exposition import MULTIPROCESS_FOLDER

STARTS = 3
"""Workers in a row that may die before they serve; one more try would end the same way."""
LAST_WORDS_S = 10
"""Seconds beyond the grace period after which a worker is killed."""

log = logging.getLogger(__name__)


class WorkersFailed(GatewayError):
    """Workers die as soon as they are started."""


class _Worker:
    """One process; `serves` once it has said so."""

    def __init__(self, number: int, settings: Settings, listening: socket.socket) -> None:
        self.number = number
        self.said, told = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("spawn")
        self.process: SpawnProcess = context.Process(
            target=_work, args=(settings, listening, told), name=f"gattway-worker-{number}"
        )
        self.process.start()
        told.close()
        self.serves = False

    def ask_to_stop(self) -> None:
        if self.process.is_alive():
            self.process.terminate()


class Supervisor:
    """Keeps `settings.server.workers` workers serving on one socket."""

    def __init__(self, settings: Settings, listening: socket.socket, greeting: str) -> None:
        self._settings = settings
        self._listening = listening
        self._greeting = greeting
        self._signals = 0
        self._stopping_since: float | None = None
        self._failed_starts = 0
        self._greeted = False
        self._workers: list[_Worker] = []

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises:
            ConfigError: a worker found a mistake in the config.
            WorkersFailed: workers die before they serve.
        """
        woken, waking = socket.socketpair()
        waking.setblocking(False)
        with woken, waking, _waking_on_signals(waking, self._on_signal):
            try:
                self._workers = [self._start(number) for number in range(self._settings.server.workers)]
                while self._workers:
                    self._wait(woken)
                    self._look_after()
            finally:
                for worker in self._workers:
                    worker.process.kill()
                    worker.process.join()

    def _start(self, number: int) -> _Worker:
        return _Worker(number, self._settings, self._listening)

    def _on_signal(self, *_: object) -> None:
        self._signals += 1

    def _wait(self, woken: socket.socket) -> None:
        """Until a worker says something or dies, or a signal comes; a second at most while stopping."""
        sources: list[Any] = [woken, *(worker.process.sentinel for worker in self._workers)]
        sources += [worker.said for worker in self._workers if not worker.serves]
        if woken in wait(sources, None if self._stopping_since is None else 1.0):
            woken.recv(4096)

    def _look_after(self) -> None:
        for worker in list(self._workers):
            self._hear(worker)
            if not worker.process.is_alive():
                self._bury(worker)
        if not self._greeted and self._workers and all(worker.serves for worker in self._workers):
            self._greeted = True
            click.echo(self._greeting, err=True)
        while self._signals:
            self._signals -= 1
            self._stopping_since = self._stopping_since or time.monotonic()
            for worker in self._workers:
                worker.ask_to_stop()
        limit_s = self._settings.server.grace_s + LAST_WORDS_S
        if self._stopping_since is not None and time.monotonic() - self._stopping_since > limit_s:
            for worker in self._workers:
                log.warning("worker %d did not stop in time and is killed", worker.number)
                worker.process.kill()

    def _hear(self, worker: _Worker) -> None:
        if worker.serves or not worker.said.poll():
            return
        try:
            mistake = worker.said.recv()
        except EOFError:
            return  # it died before it served
        if mistake is None:
            worker.serves = True
            self._failed_starts = 0
        elif self._greeted:
            log.error("worker %d cannot start again: %s", worker.number, mistake)
        else:
            raise ConfigError(mistake)

    def _bury(self, worker: _Worker) -> None:
        """Take note of a worker's end, and start another unless it is time to stop."""
        worker.process.join()
        worker.said.close()
        self._workers.remove(worker)
        code = worker.process.exitcode
        assert worker.process.pid is not None
        mark_process_dead(worker.process.pid, os.environ[MULTIPROCESS_FOLDER])  # type: ignore[no-untyped-call]
        if self._stopping_since is not None:
            return
        if not worker.serves:
            self._failed_starts += 1
        end = f"exit code {code}" if code is not None and code >= 0 else f"signal {-(code or 0)}"
        if self._failed_starts >= STARTS:
            raise WorkersFailed(f"workers die before they serve, the last one with {end}; this gateway stops")
        log.warning("worker %d (process %d) died with %s; another starts", worker.number, worker.process.pid, end)
        self._workers.append(self._start(worker.number))


@contextmanager
def metrics_folder(settings: Settings, port: int) -> Iterator[Path]:
    """An empty folder in which the workers keep their metrics together; gone afterwards.

    It lies beside the ledger, under a name that holds address and port, so that no two gateways on a machine share it.

    Raises:
        ConfigError: it cannot be made.
    """
    ledger = settings.ledger.path.absolute()
    place = f"{settings.server.host}-{port}".replace(":", "_")
    folder = ledger.with_name(f"{ledger.name}.metrics") / place
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"{folder}: the workers' metrics cannot be kept there ({error.strerror})") from None
    os.environ[MULTIPROCESS_FOLDER] = str(folder)
    try:
        yield folder
    finally:
        del os.environ[MULTIPROCESS_FOLDER]
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _waking_on_signals(waking: socket.socket, handler: Any) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    fd = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(fd)
        for number, former in before.items():
            signal.signal(number, former)


def _work(settings: Settings, listening: socket.socket, told: Connection) -> None:
    """A worker's life; runs in a process of its own. Tells None once it serves, or what keeps it from it."""
    from gateway.commands.serve import answer

    threading.Thread(target=_stop_with_the_supervisor, name="gattway-supervisor", daemon=True).start()
    try:
        # Ctrl-C reaches all processes of a terminal; the supervisor hears it and asks its workers to stop.
        answer(settings, listening, deaf_to=signal.SIGINT, on_start=lambda: told.send(None))
    except ConfigError as error:
        told.send(error.message)
        sys.exit(1)


def _stop_with_the_supervisor() -> None:
    supervisor = multiprocessing.parent_process()
    assert supervisor is not None, "a worker has a supervisor"
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)
