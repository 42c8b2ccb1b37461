"""Who has opened the page with a key: the browser holds a random token, the key stays here."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

LIFETIME_S = 12 * 3600
MAX_SESSIONS = 1000


@dataclass(frozen=True, slots=True, repr=False)
class _Session:
    key: str
    ends_at: float


class Sessions:
    """Sessions of one process, in memory; `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_hash: dict[bytes, _Session] = {}

    def begin(self, key: str) -> str:
        """The token of a new session, which ends after `LIFETIME_S`; beyond `MAX_SESSIONS` the oldest ends."""
        now = self._clock()
        for ended in [one for one, session in self._by_hash.items() if session.ends_at <= now]:
            del self._by_hash[ended]
        while len(self._by_hash) >= MAX_SESSIONS:
            del self._by_hash[next(iter(self._by_hash))]
        token = secrets.token_urlsafe(32)
        self._by_hash[_hash(token)] = _Session(key, now + LIFETIME_S)
        return token

    def key(self, token: str | None) -> str | None:
        """The key that the session was begun with; None when there is no such session, or it has ended."""
        session = self._by_hash.get(_hash(token)) if token else None
        return session.key if session and session.ends_at > self._clock() else None

    def end(self, token: str | None) -> None:
        """Forget a session."""
        if token:
            self._by_hash.pop(_hash(token), None)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
