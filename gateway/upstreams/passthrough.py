"""Any server that speaks OpenAI's chat completions, relayed byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar

import aiohttp
import orjson
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from gateway.errors import UpstreamError, UpstreamStatus, UpstreamTimeout, UpstreamUnavailable
from gateway.sections.upstreams import OpenAIUpstreamSettings
from gateway.upstreams.base import Reply

HANDED_BACK = ("retry-after", "retry-after-ms", "x-should-retry")
"""Headers of an error that the client's own retries go by."""

_CONNECTED: ContextVar[bool] = ContextVar("connected")
"""Whether the request that is being sent got a connection of its own, rather than an idle one."""

OVERFLOW_WORDS = ("maximum context length", "context window", "context_length_exceeded")


class PassthroughUpstream:
    """One OpenAI-compatible server."""

    kind: ClassVar[str] = "openai"

    def __init__(self, settings: OpenAIUpstreamSettings) -> None:
        self._base_url = settings.base_url.rstrip("/")
        self._completions = self._url("chat/completions")
        key = settings.api_key()
        self._authorization = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_s)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, body: dict[str, Any], *, stream: bool, headers: Mapping[str, str]) -> Reply:
        """See `Upstream.send`."""
        response = await self._post(self._completions, orjson.dumps(body), headers)
        try:
            await _check(response)
            if stream:
                _check_is_stream(response)
        except BaseException:
            response.close()
            raise
        return _reply(response)

    async def relay(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """See `Upstream.relay`."""
        response = await self._post(self._url(path), body, headers)
        try:
            await _check(response)
        except BaseException:
            response.close()
            raise
        return _reply(response)

    def _url(self, path: str) -> URL:
        return URL(f"{self._base_url}/{path}", encoded=True)

    async def _post(self, url: URL, data: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Post, once more where the server had closed an idle connection at the very moment it was used again."""
        for_it = {"content-type": "application/json", **headers, **self._authorization}
        post = partial(self._open().post, url, data=data, headers=for_it, allow_redirects=False)
        _CONNECTED.set(False)
        try:
            try:
                return await post()
            except aiohttp.ServerDisconnectedError:
                if _CONNECTED.get():
                    raise
            return await post()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _translated(error) from None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                connector=_Connector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),  # what one client's answer sets is no other client's
            )
        return self._session


class _Connector(aiohttp.TCPConnector):
    """Notes who gets a new connection. aiohttp's tracing would tell too, at a fifth of what a request costs here."""

    async def _create_connection(self, *args: Any) -> ResponseHandler:
        _CONNECTED.set(True)
        return await super()._create_connection(*args)


async def _check(response: aiohttp.ClientResponse) -> None:
    """Raise for an answer that is a refusal."""
    if response.status >= 300:
        try:
            raw = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _translated(error) from None
        if response.status < 400:
            raise UpstreamUnavailable(f"The upstream answered with a redirect ({response.status}); mend its base_url.")
        headers = {name: response.headers[name] for name in HANDED_BACK if name in response.headers}
        raise UpstreamStatus(response.status, _error_of(raw, response.status), headers)


def _check_is_stream(response: aiohttp.ClientResponse) -> None:
    if not response.content_type.startswith("text/event-stream"):
        raise UpstreamUnavailable(
            f"The upstream answered a streaming request with {response.content_type}.", code="bad_upstream_answer"
        )


def _error_of(raw: bytes, status: int) -> dict[str, Any]:
    """An upstream's error as OpenAI's body, whatever shape it came in."""
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        parsed = None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        error = {"message": f"The upstream answered with status {status}."}
    error.setdefault("message", parsed.get("detail") if isinstance(parsed, dict) else None)
    if any(words in str(error.get("message")) for words in OVERFLOW_WORDS):
        error["code"] = "context_length_exceeded"
    return {"error": error}


def _reply(response: aiohttp.ClientResponse) -> Reply:
    return Reply(response.status, response.headers, _reads(response), _closer(response))


async def _reads(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for read in response.content.iter_any():
            yield read
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _translated(error) from None


def _closer(response: aiohttp.ClientResponse) -> Any:
    async def close() -> None:
        if response.content.is_eof():
            response.release()
        else:
            response.close()

    return close


def _translated(error: Exception) -> UpstreamError:
    """aiohttp's failures in the gateway's words; an address may be said, a key never is."""
    if isinstance(error, asyncio.TimeoutError | aiohttp.ServerTimeoutError):
        return UpstreamTimeout("The upstream did not answer in time.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return UpstreamUnavailable(f"The upstream could not be reached ({error.os_error.strerror or error.os_error}).")
    return UpstreamUnavailable(f"The upstream broke off ({type(error).__name__}).", code="stream_interrupted")
