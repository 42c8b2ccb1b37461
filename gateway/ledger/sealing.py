"""Content sealed for the disk, and user identifiers made unrecognisable: both under the ledger's key.

AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D); the keys for each purpose are derived from the ledger's by
HKDF-SHA256 (RFC 5869). The request id is authenticated with the content, so a row's content cannot be given to another.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import zlib
from collections.abc import Sequence
from typing import Any

import orjson

from gateway.errors import ContentLocked

_FORMAT = b"\x01"
_NONCE_BYTES = 12


class Vault:
    """Seals and opens with the ledger's keys: the first seals, every one of them opens.

    Args:
        keys: `LedgerSettings.keys()`, at least one.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._content = [AESGCM(_derived(key, b"gattway content")) for key in keys]
        self._users = [_derived(key, b"gattway users") for key in keys]

    def seal(self, request_id: str, value: Any) -> bytes:
        """JSON-like `value` as compressed and encrypted bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        packed = zlib.compress(orjson.dumps(value), level=1)
        return _FORMAT + nonce + self._content[0].encrypt(nonce, packed, request_id.encode())

    def open(self, request_id: str, sealed: bytes) -> Any:
        """What was sealed. Raises ContentLocked when none of the keys fits."""
        from cryptography.exceptions import InvalidTag

        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        for key in self._content:
            try:
                return orjson.loads(zlib.decompress(key.decrypt(nonce, body, request_id.encode())))
            except InvalidTag:
                continue
        raise ContentLocked("Stored content cannot be opened with the ledger's key; put the former key behind it.")

    def user_hash(self, user: str) -> str:
        """The name under which the ledger knows a user."""
        return self.user_hashes(user)[0]

    def user_hashes(self, user: str) -> list[str]:
        """The same under each of the keys, the one in use first."""
        return [hmac.new(key, user.encode(), hashlib.sha256).hexdigest()[:32] for key in self._users]


def _derived(key: str, purpose: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(key.encode())
