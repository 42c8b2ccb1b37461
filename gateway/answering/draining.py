"""Stopping without cutting anybody off: what has begun is answered, what is new is turned away."""

from __future__ import annotations

import time

from gateway.answering.recorder import Recorder
from gateway.errors import LedgerError, ShuttingDown


class Draining:
    """Whether the gateway is about to stop."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._since: float | None = None

    @property
    def announced(self) -> bool:
        """Whether the gateway has been asked to stop, and says so to balancers."""
        return self._since is not None

    @property
    def begun(self) -> bool:
        """Whether new requests are turned away."""
        return self._since is not None and time.monotonic() >= self._since

    def refuse(self) -> None:
        """Turn a new request away where it cannot be taken.

        Raises:
            ShuttingDown: the gateway is about to stop.
            LedgerError: what is answered could not be recorded.
        """
        if self.begun:
            raise ShuttingDown()
        if self._recorder.problem:
            raise LedgerError(self._recorder.problem)

    def begin(self, notice_s: float = 0.0) -> None:
        """Say that it is over now, and take nothing new after `notice_s` seconds."""
        self._since = time.monotonic() + notice_s

    def over(self, limit_s: float) -> bool:
        """Whether nothing is being answered any more, or has been for longer than `limit_s` seconds."""
        if self._since is None or not self.begun:
            return False
        return self._recorder.in_flight == 0 or time.monotonic() - self._since > limit_s
