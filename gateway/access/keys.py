"""Who asks: bearer keys, known by their hashes.

A key is 256 random bits, so its plain SHA-256 gives nothing away and needs no salt and no slow hash. It is looked
up by that hash: the time a look-up takes depends on the hash alone, from which no key can be worked out.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import InvalidKey
from gateway.sections.access import KeySettings

PREFIX = "gw-"


@dataclass(frozen=True, slots=True)
class Key:
    """Someone who may use the gateway, without the secret. None as a limit is no limit.

    `name` is None for everybody, where the gateway has no keys.
    """

    name: str | None
    admin: bool
    models: frozenset[str] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    usd_per_day: float | None = None
    max_concurrent_streams: int | None = None

    def may_use(self, model: str) -> bool:
        """Whether the key may send `model` as the model's name."""
        return self.models is None or model in self.models


ANYONE = Key(name=None, admin=True)
"""Who asks where the gateway has no keys."""


class Keyring:
    """All keys."""

    def __init__(self, settings: Mapping[str, KeySettings]) -> None:
        self._by_hash = {one.hash.get_secret_value(): _key(name, one) for name, one in settings.items()}
        self._by_name = {key.name: key for key in self._by_hash.values()}

    def __bool__(self) -> bool:
        return bool(self._by_hash)

    def owner(self, authorization: str | None) -> Key:
        """Whose key an Authorization header holds; anyone's where there are no keys.

        Raises:
            InvalidKey: there is no key in it, or one that nobody has.
        """
        if not self:
            return ANYONE
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise InvalidKey(
                "You didn't provide an API key. Send yours in an Authorization header, as in "
                "'Authorization: Bearer YOUR_KEY'."
            )
        key = self._by_hash.get(hash_of(secret.strip()))
        if key is None:
            raise InvalidKey("Incorrect API key provided. Ask whoever runs this gateway for one.")
        return key

    def with_budget(self) -> list[Key]:
        """The keys that have a limit in US dollars."""
        return [key for key in self._by_hash.values() if key.usd_per_day is not None]

    def named(self, name: str | None) -> Key:
        """The key of that name; anyone's when it is unknown."""
        return self._by_name.get(name, ANYONE)


def new() -> str:
    """A fresh key."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """What the config holds of a key."""
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _key(name: str, settings: KeySettings) -> Key:
    return Key(
        name=name,
        admin=settings.admin,
        models=None if settings.models is None else frozenset(settings.models),
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
        usd_per_day=settings.usd_per_day,
        max_concurrent_streams=settings.max_concurrent_streams,
    )
