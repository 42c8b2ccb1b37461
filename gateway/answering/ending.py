"""How every answer begins and ends, whatever its bytes are: whole, failed, or left by its client, and booked once."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.answering.attempts import Attempts
from gateway.answering.drain import Drain
from gateway.answering.recorder import Recorder
from gateway.answering.response_headers import contract_headers
from gateway.catalogue import Model
from gateway.errors import ClientLeft, GatewayError, UpstreamError, http_status
from gateway.ledger.records import Turn
from gateway.sections.relay import StreamingSettings
from gateway.settings import TimeoutSettings

log = logging.getLogger(__name__)
INTERNAL = GatewayError("The gateway had an internal error.", code="internal_error")


@dataclass(frozen=True, slots=True)
class Means:
    """What all answers of a gateway are made with."""

    recorder: Recorder
    attempts: Attempts
    limits: TimeoutSettings
    streaming: StreamingSettings


class Ending(ABC):
    """One answer's row, from its first attempt to the books.

    Args:
        row: the request so far.
        arrived_at: when the request came (perf_counter s).
    """

    def __init__(self, row: Turn, arrived_at: float, means: Means) -> None:
        self._row = row
        self._arrived_at = arrived_at
        self._recorder = means.recorder
        self._attempts = means.attempts
        self._limits = means.limits
        self._drain = Drain(means.streaming, means.recorder.closing)
        self._ended = False

    @property
    def headers(self) -> dict[str, str]:
        """The contract's response headers."""
        return contract_headers(self._row)

    @property
    @abstractmethod
    def _speaker(self) -> Model | None:
        """The model whose answer has begun to come; None as long as there is none."""

    @abstractmethod
    async def _read_on(self) -> None:
        """Read the rest of the answer, for nobody."""

    @abstractmethod
    async def _let_go(self) -> None:
        """Let the upstream go."""

    @abstractmethod
    async def _book(self) -> None:
        """Fill the row in, and write it."""

    def _note_what_was_seen(self) -> None:  # noqa: B027 - most have nothing to note
        """The client has just left; the answer may be read on."""

    async def _begin(self, asking: Coroutine[Any, Any, None]) -> None:
        """Ask the model, up to what a status can be sent on.

        Raises:
            GatewayError: nothing that the client could use came back; the row is written.
        """
        self._row.overhead_ms = self._since_arrival()
        self._recorder.begin(self._row)
        try:
            await asking
        except GatewayError as error:
            await self._fail(error)
            raise
        except asyncio.CancelledError:
            self._recorder.spawn(self._abandon(ClientLeft.status))
            raise
        except Exception:
            await self._fail(INTERNAL)
            raise

    async def _fail(self, error: GatewayError) -> None:
        if isinstance(error, UpstreamError):
            self._recorder.count_failure(self._row.model, error)
            if (speaker := self._speaker) is not None:
                self._recorder.count_abort("upstream")
                self._attempts.ended_badly(speaker, error)
        self._row.error_code = error.code or error.type
        error.recorded = True
        await self._end("error", http_status(error))

    async def _abandon(self, status: int) -> None:
        """The client has left."""
        if self._ended:
            return
        self._recorder.count_abort("client")
        self._note_what_was_seen()
        try:
            await self._drain.finish(self._read_on)
        except GatewayError as error:
            log.info("an answer broke off that was read on for its bill: %s", error.code)
        await self._end("aborted", status)

    async def _end(self, status: str, http: int) -> None:
        """Let the upstream go and write the row; does nothing the second time."""
        if self._ended:
            return
        self._ended = True
        await self._let_go()
        self._row.status, self._row.http_status = status, http
        self._row.duration_ms = self._since_arrival()
        await self._book()

    def _since_arrival(self) -> float:
        """Milliseconds."""
        return (time.perf_counter() - self._arrived_at) * 1e3
