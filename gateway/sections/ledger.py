"""The part of the settings that says where and how the books are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from gateway.sections.base import Section

MIN_KEY_CHARS = 32


def _url(value: Any) -> Any:
    """Refuses without repeating the value, which may hold a password."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    example = "write it as 'postgresql://user:password@host:5432/database'"
    if not isinstance(text, str) or not text.startswith(("postgresql://", "postgres://")):
        raise ValueError(f"must be the URL of a PostgreSQL database; {example}")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(f"is no URL that can be read; {example}, with %40 for an @ in the password") from None
    if not url.host and "host" not in url.query:
        raise ValueError(f"names no host; {example}")
    return value


class LedgerSettings(Section):
    """Where the books are kept."""

    path: Path = Field(
        default=Path("gattway.db"),
        description="SQLite file of the ledger, made when missing; with `url`, the outbox on this machine.",
    )
    durability: Literal["full", "relaxed"] = Field(
        default="full",
        description="`full`: an answer ends when the disk has its row. `relaxed`: when the operating system has it, "
        "which outlives a crash of the gateway, not one of the machine.",
    )
    url: Annotated[SecretStr, BeforeValidator(_url)] | None = Field(
        default=None,
        description="PostgreSQL that several gateways share, `postgresql://…`; best given as `GATTWAY_LEDGER__URL`.",
    )
    keep_local_days: float = Field(
        default=7.0, gt=0, description="With `url`: days that rows stay in the local file once PostgreSQL has them."
    )
    lookup_timeout_s: float = Field(
        default=0.25,
        gt=0,
        description="With `url`: seconds for which a turn waits at most to be told which conversation it goes on with; "
        "limits wait four times as long.",
    )
    store_content: bool = Field(
        default=False, description="Whether messages and answers are kept too, encrypted; needs the ledger's key."
    )
    key_env: str = Field(
        default="GATTWAY_LEDGER_KEY",
        description="Environment variable with the ledger's key: 32 or more random characters that encrypt content "
        "and hash user identifiers. Former keys may follow, after white space.",
    )
    key_file: Path | None = Field(default=None, description="File with the ledger's key, in place of the variable.")

    def keys(self) -> list[str]:
        """The ledger's keys, the one in use first; empty without any.

        Raises:
            ValueError: the file cannot be read, or a key is too short; never with the key in it.
        """
        where = f"ledger.key_file: {self.key_file}" if self.key_file else f"environment variable {self.key_env}"
        try:
            text = self.key_file.read_text(encoding="utf-8") if self.key_file else os.environ.get(self.key_env, "")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{where} cannot be read ({getattr(error, 'strerror', None) or 'no text'})") from None
        keys = text.split()
        if any(len(key) < MIN_KEY_CHARS for key in keys):
            raise ValueError(
                f"{where} holds a key of fewer than {MIN_KEY_CHARS} characters; "
                "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        return keys

    @model_validator(mode="after")
    def _content_has_its_key(self) -> LedgerSettings:
        if not self.keys() and (self.store_content or self.key_file):
            raise ValueError(
                "store_content needs the ledger's key, for content is kept encrypted only; put 32 or more random "
                f"characters into the environment variable {self.key_env} or into the file that key_file names"
            )
        return self
