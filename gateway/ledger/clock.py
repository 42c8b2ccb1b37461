"""A clock that goes backwards: ages, limits and the order of turns go by it, so somebody should hear of it."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from sqlalchemy import Engine, func, select

from gateway.ledger.schema import turns

NOTICED_S = 5.0

log = logging.getLogger(__name__)


class ClockWatch:
    """Notices when the clock is set back while the gateway runs."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def look(self) -> None:
        """Warn once for each time that it was set back."""
        offset_s = time.time() - time.monotonic()
        if offset_s < self._offset_s - NOTICED_S:
            log.warning(
                "the clock went back by %.0f s; rows from before that are listed after newer ones",
                self._offset_s - offset_s,
            )
        self._offset_s = offset_s


def warn_of_later_rows(engine: Engine) -> None:
    """Warn when the ledger holds rows of a time to come."""
    with engine.connect() as connection:
        newest = connection.execute(select(func.max(turns.c.started_at))).scalar_one_or_none()
    ahead_s = (datetime.fromisoformat(newest) - datetime.now(UTC)).total_seconds() if newest else 0
    if ahead_s > NOTICED_S:
        log.warning(
            "the clock is behind: the newest row of the ledger is of %s, %.0f s from now; set the clock, or new rows "
            "are listed before older ones",
            newest,
            ahead_s,
        )
