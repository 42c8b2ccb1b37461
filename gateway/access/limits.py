"""What each key may still do: requests and tokens a minute, money a day, streams at the same time.

Requests are counted when they come. Tokens and money are known only when an answer has ended, so before it the gateway
asks whether anything is left, and after it charges what was really used, broken-off answers too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.access.keys import Key, Keyring
from gateway.access.meters import InMemoryMeters, Meters, Standing, Window
from gateway.errors import QuotaUsedUp, RateLimited
from gateway.ledger.records import Spent, Turn

MINUTE_S = 60.0
DAY_S = 86400.0
STREAM_WAIT_S = 1.0
"""What a client is told to wait when it has too many streams: nobody knows when one ends."""


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit of a key. `least` is the smallest amount worth letting a request in for."""

    kind: str
    meter: str
    window: Window
    least: float


class Limiter:
    """Admits requests and charges their keys."""

    def __init__(self, keyring: Keyring, meters: Meters | None = None) -> None:
        self._keyring = keyring
        self._meters = meters or InMemoryMeters()
        self._streams: dict[str, str] = {}

    async def admit(self, key: Key, request_id: str, *, stream: bool) -> None:
        """Count a request in. A stream is under way until `leave`.

        Raises:
            RateLimited: a limit per minute is reached, or there are too many streams.
            QuotaUsedUp: the day's money is spent.
        """
        limits = _limits(key)
        for limit in limits:
            if limit.kind != "requests" and not await self._meters.ready(limit.meter, limit.window, limit.least):
                raise _refusal(limit, await self._meters.standing(limit.meter, limit.window, limit.least))
        if stream:
            await self._enter(key, request_id)
        for limit in limits:
            if limit.kind == "requests" and not await self._meters.take(limit.meter, limit.window, 1):
                await self.leave(request_id)
                raise _refusal(limit, await self._meters.standing(limit.meter, limit.window, 1))

    async def leave(self, request_id: str) -> None:
        """A request is over, whichever way; does nothing the second time."""
        meter = self._streams.pop(request_id, None)
        if meter is not None:
            await self._meters.leave(meter)

    async def charge(self, row: Turn) -> None:
        """Book what an answer used on its key. A row without usage never reached a model and costs nothing."""
        if row.usage_source is None:
            return
        used = {"tokens": (row.prompt_tokens or 0) + (row.completion_tokens or 0), "usd": row.cost_usd or 0}
        for limit in _limits(self._keyring.named(row.key_name)):
            if used.get(limit.kind):
                await self._meters.charge(limit.meter, limit.window, used[limit.kind])

    async def restore(self, spent: Iterable[Spent]) -> None:
        """Book what the ledger knows of the last day, so that a restart hands out no fresh money."""
        for one in spent:
            for limit in _limits(self._keyring.named(one.key_name)):
                if limit.kind == "usd":
                    await self._meters.charge(limit.meter, limit.window, one.cost_usd, one.ago_s)

    async def headers(self, key: Key) -> dict[str, str]:
        """OpenAI's `x-ratelimit-*` headers for the limits that the key has."""
        found = {}
        for limit in _limits(key):
            if limit.kind == "usd":
                continue
            standing = await self._meters.standing(limit.meter, limit.window, limit.least)
            found[f"x-ratelimit-limit-{limit.kind}"] = f"{limit.window.limit:.0f}"
            found[f"x-ratelimit-remaining-{limit.kind}"] = f"{math.floor(standing.left)}"
            found[f"x-ratelimit-reset-{limit.kind}"] = _span(standing.reset_s)
        return found

    async def _enter(self, key: Key, request_id: str) -> None:
        if key.max_concurrent_streams is None:
            return
        meter = f"{key.name}:streams"
        if not await self._meters.enter(meter, key.max_concurrent_streams):
            raise RateLimited(
                f"Too many streams at the same time: this key may have {key.max_concurrent_streams}. "
                "Wait for one to end, or close one.",
                kind="requests",
                retry_after_s=STREAM_WAIT_S,
            )
        self._streams[request_id] = meter


def _limits(key: Key) -> list[_Limit]:
    stated = (
        ("requests", key.requests_per_minute, MINUTE_S, 1.0, 1.0),
        ("tokens", key.tokens_per_minute, MINUTE_S, 1.0, 1.0),
        ("usd", key.usd_per_day, DAY_S, 1e-6, 0.0),
    )
    return [
        _Limit(kind, f"{key.name}:{kind}", Window(limit, period_s, unit), least)
        for kind, limit, period_s, least, unit in stated
        if limit is not None
    ]


def _refusal(limit: _Limit, standing: Standing) -> RateLimited:
    if limit.kind == "usd":
        return QuotaUsedUp(
            f"This key's {limit.window.limit:g} US dollars for 24 hours are spent. "
            f"Some of it is free again in {_span(standing.wait_s)}.",
            kind="insufficient_quota",
            retry_after_s=standing.wait_s,
        )
    return RateLimited(
        f"Rate limit reached: this key may have {limit.window.limit:g} {limit.kind} per minute. "
        f"Please try again in {_span(standing.wait_s)}.",
        kind=limit.kind,
        retry_after_s=standing.wait_s,
    )


def _span(seconds: float) -> str:
    """A span of time as OpenAI writes it: `6m0s`, `1s`, `20ms`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"
