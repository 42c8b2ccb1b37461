"""The only place where parts are put together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway import __version__
from gateway.access import Access, allow_origins
from gateway.attempts import Attempts
from gateway.auxiliary import Auxiliary
from gateway.breaker import Breaker
from gateway.catalogue import Catalogue
from gateway.chat import Chat
from gateway.draining import Draining
from gateway.errors import BadRequest, ClientLeft, GatewayError, error_body, http_status
from gateway.experiments.assigner import Assigner
from gateway.gate import Gate
from gateway.identity import Identifier
from gateway.keys import Keyring
from gateway.ledger.database import open_database
from gateway.ledger.store import Store
from gateway.ledger.writer import Writer
from gateway.limits import DAY_S, Limiter
from gateway.metrics import Metrics
from gateway.recorder import Recorder
from gateway.request_id import RequestId
from gateway.routes import completions, conversations, models, operations, responses
from gateway.settings import Settings

log = logging.getLogger(__name__)


def create_app(settings: Settings, catalogue: Catalogue) -> FastAPI:
    """The gateway as an ASGI application.

    Args:
        catalogue: what clients may name, from `gateway.build.build`; closed when the application stops.

    Raises:
        ConfigError: the ledger cannot be opened.
    """
    engine = open_database(settings.ledger.path)
    store, writer, metrics = Store(engine), Writer(engine), Metrics()
    keyring = Keyring(settings.keys)
    limiter = Limiter(keyring)
    identifier = Identifier(store, settings.identity.headers, settings.bounds.max_id_chars)
    recorder = Recorder(writer, metrics, identifier, limiter)
    draining = Draining(recorder)
    attempts = Attempts(settings.retries, Breaker(settings.breaker))
    chat = Chat(
        catalogue,
        identifier,
        Assigner(store),
        recorder,
        Gate(limiter, settings.bounds),
        Auxiliary(settings.auxiliary),
        draining,
        attempts,
        settings.timeouts,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await limiter.restore(await asyncio.to_thread(store.spent, DAY_S))
        yield
        await recorder.settle()
        for upstream in {id(arm.model.upstream): arm.model.upstream for arm in catalogue.direct.values()}.values():
            await upstream.close()
        await asyncio.to_thread(writer.close)

    app = FastAPI(title="gattway", version=__version__, lifespan=lifespan)
    app.state.draining = draining
    app.include_router(completions.router(chat, settings.server.max_body_bytes))
    app.include_router(responses.router(chat, settings.server.max_body_bytes))
    app.include_router(models.router(catalogue, int(time.time())))
    app.include_router(conversations.router(store))
    app.include_router(operations.router(metrics, writer, draining))
    app.add_exception_handler(GatewayError, _on_gateway_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_query)
    app.add_exception_handler(Exception, _on_bug)
    app.add_middleware(
        Access,
        keyring=keyring,
        limiter=limiter,
        origins=settings.server.cors_origins,
        max_header_bytes=settings.bounds.max_header_bytes,
    )
    allow_origins(app, settings.server.cors_origins)
    app.add_middleware(RequestId)
    return app


async def _on_gateway_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GatewayError)
    if not isinstance(error, ClientLeft):
        log.info("%s: %s", type(error).__name__, error.message)
    return JSONResponse(error.body(), http_status(error), error.headers)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Starlette's own refusals: no such route, wrong method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    messages = {
        404: f"Unknown request URL: {request.method} {path}. Please check the URL for typos.",
        405: f"Not allowed to {request.method} on {path}.",
    }
    message = messages.get(error.status_code, str(error.detail))
    codes = {404: "unknown_url", 405: "method_not_allowed"}
    body = error_body(message, BadRequest.type, None, codes.get(error.status_code))
    return JSONResponse(body, error.status_code, error.headers)


async def _on_invalid_query(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    refused = BadRequest(f"Invalid value for '{name}': {first['input']!r}. {first['msg']}.", param=name)
    return JSONResponse(refused.body(), refused.status)


async def _on_bug(_request: Request, error: Exception) -> JSONResponse:
    """What nobody foresaw; Starlette has the traceback logged, the client gets no inside."""
    return JSONResponse(error_body("The gateway had an internal error.", "server_error", None, "internal_error"), 500)
