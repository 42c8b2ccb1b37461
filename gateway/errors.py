"""Every error that the gateway raises, and its one way into OpenAI's error body.

    GatewayError
    ├── ConfigError              a mistake in the configuration; the command ends with exit code 2
    ├── LedgerError              the ledger cannot be written or read            503
    │   ├── SharedAway           the database that gateways share does not answer 503
    │   └── ContentLocked        no key that the gateway has opens what was said  409
    ├── ShuttingDown             the gateway is about to stop                    503
    ├── RequestError             the client can mend it
    │   ├── BadRequest           a field is missing, mistyped or unsupported     400
    │   │   └── ContextLengthExceeded  the prompt does not fit the model         400
    │   ├── BodyTooLarge         more bytes than the gateway takes               413
    │   ├── HeadersTooLarge      more bytes of headers than the gateway takes    431
    │   ├── ClientLeft           the client closed the connection                499
    │   ├── InvalidKey           no key, or one that nobody has                  401
    │   ├── Forbidden            not with this key, or not from this web page    403
    │   ├── RateLimited          a limit of the key is reached                   429
    │   │   └── QuotaUsedUp      its money for the day is spent                  429
    │   ├── ModelNotFound        no such model, experiment or arm                404
    │   └── NotFound             no such conversation or route                   404
    └── UpstreamError            the model's server refused or failed
        ├── UpstreamStatus       it answered with an HTTP error: passed on as it is
        ├── UpstreamUnavailable  it could not be reached, or broke off           502
        ├── UpstreamTimeout      it did not answer in time                       504
        └── UpstreamResting      it has failed too often and is not asked        503

OpenAI's body: `{"error": {"message", "type", "param", "code"}}`
(https://platform.openai.com/docs/guides/error-codes).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar


class GatewayError(Exception):
    """Base of all; carries what an OpenAI client expects to read."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers: dict[str, str] = {}
        """Response headers that go with the error, such as `retry-after`."""
        self.code = code if code is not None else self.default_code
        self.recorded = False
        """Whether the request that it ended is in the ledger."""

    def body(self) -> dict[str, Any]:
        """OpenAI's error body."""
        return error_body(self.message, self.type, self.param, self.code)


class ConfigError(GatewayError):
    """A mistake in the configuration, named by file, key, value and remedy."""


class LedgerError(GatewayError):
    """The ledger cannot take or give rows."""

    status = 503
    default_code = "ledger_unavailable"


class SharedAway(LedgerError):
    """The database that several gateways share does not answer, or not in time; this gateway goes on without it."""


class ContentLocked(LedgerError):
    """What was said is kept, and no key that the gateway was given opens it."""

    status = 409
    type = "invalid_request_error"
    default_code = "content_key_missing"


class ShuttingDown(GatewayError):
    """The gateway answers what it has begun, and takes nothing new."""

    status = 503
    default_code = "shutting_down"

    def __init__(self, retry_after_s: int = 5) -> None:
        super().__init__("The gateway is shutting down. Please retry your request shortly.")
        self.headers["retry-after"] = str(retry_after_s)


class RequestError(GatewayError):
    """What the client can mend."""

    status = 400
    type = "invalid_request_error"


class BadRequest(RequestError):
    """A field is missing, mistyped, out of range, or beyond what the model can do."""


class ContextLengthExceeded(BadRequest):
    """The prompt, with the completion that was asked for, does not fit the window.

    Args:
        window: the model's context window in tokens.
        requested: tokens of prompt plus completion asked for.
        completion: the completion's share of `requested`.
    """

    default_code = "context_length_exceeded"

    def __init__(self, window: int, requested: int, completion: int = 0) -> None:
        detail = f" ({requested - completion} in the messages, {completion} in the completion)" if completion else ""
        super().__init__(
            f"This model's maximum context length is {window} tokens. However, you requested {requested} tokens"
            f"{detail}. Please reduce the length of the messages or completion.",
            param="messages",
        )
        self.window = window
        self.requested = requested


class BodyTooLarge(RequestError):
    """The body is beyond the limit of the settings."""

    status = 413
    default_code = "request_too_large"


class HeadersTooLarge(RequestError):
    """The headers are beyond the limit of the settings."""

    status = 431
    default_code = "request_headers_too_large"


class ClientLeft(RequestError):
    """The client closed the connection before its answer began; nobody sees this error."""

    status = 499
    default_code = "client_closed_request"


class InvalidKey(RequestError):
    """There is no key in the request, or one that nobody has."""

    status = 401
    default_code = "invalid_api_key"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["www-authenticate"] = "Bearer"


class Forbidden(RequestError):
    """The key does not open this, or the web page that asks may not."""

    status = 403


class RateLimited(RequestError):
    """A limit of the key is reached.

    Args:
        kind: what ran out, which OpenAI gives as the error's type: `requests`, `tokens` or `insufficient_quota`.
        retry_after_s: seconds until it is worth trying again.
    """

    status = 429
    default_code = "rate_limit_exceeded"

    def __init__(self, message: str, *, kind: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.kind = kind
        self.headers["retry-after"] = str(math.ceil(retry_after_s))
        self.headers["retry-after-ms"] = str(math.ceil(retry_after_s * 1000))

    def body(self) -> dict[str, Any]:
        """OpenAI's error body, whose type says what ran out."""
        return error_body(self.message, self.kind, self.param, self.code)


class QuotaUsedUp(RateLimited):
    """The key's money for the day is spent; trying again at once is no use, and the client's own retries hear so."""

    default_code = "insufficient_quota"

    def __init__(self, message: str, *, kind: str, retry_after_s: float) -> None:
        super().__init__(message, kind=kind, retry_after_s=retry_after_s)
        self.headers["x-should-retry"] = "false"


class ModelNotFound(RequestError):
    """No model, experiment or arm has that name."""

    status = 404
    default_code = "model_not_found"


class NotFound(RequestError):
    """Nothing lies at that address."""

    status = 404
    default_code = "not_found"


class UpstreamError(GatewayError):
    """The model's server did not do its part.

    `kind` is the label of `gattway_upstream_errors_total`.
    """

    status = 502
    type = "upstream_error"
    kind: ClassVar[str] = "error"


class UpstreamStatus(UpstreamError):
    """The upstream answered with an HTTP error, which the client gets with the upstream's own words."""

    kind = "status"

    def __init__(self, upstream_status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        error = body.get("error")
        details: dict[str, Any] = error if isinstance(error, dict) else {}
        super().__init__(
            str(details.get("message") or error or f"The upstream answered with status {upstream_status}."),
            param=_text(details.get("param")),
            code=_text(details.get("code")),
        )
        self.upstream_status = upstream_status
        self.upstream_type = _text(details.get("type"))
        self.headers.update(headers or {})

    def body(self) -> dict[str, Any]:
        """OpenAI's error body with the upstream's own fields."""
        return error_body(self.message, self.upstream_type or self.type, self.param, self.code)


class UpstreamUnavailable(UpstreamError):
    """The upstream could not be reached, or broke off."""

    kind = "unavailable"
    default_code = "upstream_unavailable"


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer in time."""

    status = 504
    kind = "timeout"
    default_code = "upstream_timeout"


class UpstreamResting(UpstreamError):
    """The model has failed too often of late and is left alone for a while."""

    status = 503
    kind = "resting"
    default_code = "model_resting"

    def __init__(self, model: str, rest_s: float) -> None:
        super().__init__(f"The model '{model}' has failed repeatedly and is resting. Please retry shortly.")
        self.headers["retry-after"] = str(math.ceil(rest_s))


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """OpenAI's error body from its four fields."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def http_status(error: GatewayError) -> int:
    """The status that a client gets for `error`: an upstream's own 4xx and 5xx are passed on."""
    if isinstance(error, UpstreamStatus):
        return error.upstream_status
    return error.status


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
