"""How a request gets to a model that answers: retries, fallbacks, and no requests to a model that rests.

All of it before the first byte: once a client has seen a part of an answer, there is no second try.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import tenacity

from gateway.answering.breaker import Breaker
from gateway.catalogue import Model
from gateway.errors import UpstreamError, UpstreamResting, UpstreamStatus, UpstreamTimeout
from gateway.settings import RetrySettings

T = TypeVar("T")
RETRIED_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})
CLIENT_RETRIES = "x-stainless-retry-count"
"""A header of OpenAI's own clients: who sends it tries again by itself, and retries multiply."""


class Attempts:
    """The rules, shared by all requests."""

    def __init__(self, settings: RetrySettings, breaker: Breaker) -> None:
        self._settings = settings
        self._breaker = breaker

    async def first_answer(
        self, models: Sequence[Model], ask: Callable[[Model], Awaitable[T]], headers: Mapping[str, str]
    ) -> T:
        """The answer of the first of `models` that gives one.

        Args:
            models: the arm's model, then its fallbacks.
            ask: asks one model, up to its first byte; called once for each attempt.
            headers: the client's request headers.

        Raises:
            UpstreamError: the last model's error when none gave an answer.
        """
        tries = 1 if CLIENT_RETRIES in headers else self._settings.attempts
        error: UpstreamError | None = None
        for model in models:
            try:
                return await self._ask(model, ask, tries)
            except UpstreamError as failure:
                if not _worth_another(failure):
                    raise
                error = failure
        assert error is not None, "an arm has a model"
        raise error

    def ended_badly(self, model: Model, error: UpstreamError) -> None:
        """An answer of the model broke off after its first byte."""
        if _is_its_fault(error):
            self._breaker.failed(model.name)

    async def _ask(self, model: Model, ask: Callable[[Model], Awaitable[T]], tries: int) -> T:
        """Tenacity begins with the first failure: its machinery would cost a request that needs none a fifth of its
        time (docs/performance.md)."""
        try:
            return await self._ask_once(model, ask)
        except UpstreamError as error:
            if tries == 1 or not self._is_retried(error):
                raise
            failed = [error]

        async def again() -> T:
            if failed:
                raise failed.pop()
            return await self._ask_once(model, ask)

        return await tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(tries),
            retry=tenacity.retry_if_exception(self._is_retried),
            wait=self._wait_s,
            reraise=True,
        )(again)

    async def _ask_once(self, model: Model, ask: Callable[[Model], Awaitable[T]]) -> T:
        rest = self._breaker.rests_for(model.name)
        if rest > 0:
            raise UpstreamResting(model.name, rest)
        try:
            answer = await ask(model)
        except UpstreamError as error:
            if _is_its_fault(error):
                self._breaker.failed(model.name)
            else:
                self._breaker.succeeded(model.name)
            raise
        except BaseException:
            self._breaker.given_up(model.name)
            raise
        self._breaker.succeeded(model.name)
        return answer

    def _is_retried(self, error: BaseException) -> bool:
        if isinstance(error, UpstreamResting | UpstreamTimeout):
            return False  # the client has waited long enough
        if isinstance(error, UpstreamStatus):
            wait = retry_after_s(error.headers)
            return error.upstream_status in RETRIED_STATUSES and (wait is None or wait <= self._settings.max_wait_s)
        return isinstance(error, UpstreamError)

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        """Seconds to the next attempt: what the upstream asked for, else exponential with full jitter
        (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)."""
        error = state.outcome.exception() if state.outcome else None
        asked = retry_after_s(error.headers) if isinstance(error, UpstreamStatus) else None
        if asked is not None:
            return asked
        longest = min(self._settings.max_wait_s, self._settings.first_wait_s * 2 ** (state.attempt_number - 1))
        return random.uniform(0, longest)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that an upstream asks to wait: `retry-after-ms`, else `retry-after` in seconds; None when neither is."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * scale)
        except (KeyError, ValueError):
            continue
    return None


def _worth_another(error: UpstreamError) -> bool:
    """Whether another model might answer what this one did not: not when the request itself was refused."""
    return not isinstance(error, UpstreamStatus) or error.upstream_status in RETRIED_STATUSES | {401, 403, 404}


def _is_its_fault(error: UpstreamError) -> bool:
    """Whether a failure says that the model is not well; a refusal says that it is."""
    return not isinstance(error, UpstreamStatus) or error.upstream_status >= 500
