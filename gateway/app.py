"""The only place where parts are put together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp

from gateway import __version__
from gateway.access.gate import Gate
from gateway.access.hosts import Hosts
from gateway.access.keys import Keyring
from gateway.access.leased_meters import LeasedMeters, over_database, over_file
from gateway.access.limits import DAY_S, Limiter
from gateway.access.middleware import Access, allow_origins
from gateway.access.request_id import RequestId
from gateway.answering.aftermath import Aftermath
from gateway.answering.asking import Asker
from gateway.answering.attempts import Attempts
from gateway.answering.breaker import Breaker
from gateway.answering.counting import Counting
from gateway.answering.draining import Draining
from gateway.answering.recorder import Recorder
from gateway.answering.shadows import Shadows
from gateway.auxiliary import Auxiliary
from gateway.catalogue import Catalogue
from gateway.chat import Chat
from gateway.errors import BadRequest, ClientLeft, GatewayError, error_body, http_status
from gateway.experiments.allocation import Allocations
from gateway.experiments.assigner import Assigner
from gateway.experiments.examiner import Examiner
from gateway.experiments.split import Split
from gateway.identity import Identifier
from gateway.ledger.books import Books, open_books
from gateway.metrics import Metrics
from gateway.other_routes import OtherRoutes
from gateway.routes import (
    completions,
    content,
    conversations,
    experiments,
    feedback,
    models,
    operations,
    other,
    report,
    responses,
)
from gateway.routes.schema import describe
from gateway.settings import Settings
from gateway.stored_responses import StoredResponses
from gateway.telemetry.otlp import Otlp
from gateway.telemetry.request_log import log_refusal, log_request
from gateway.ui.page import Absent, create_page


def create_app(settings: Settings, catalogue: Catalogue) -> FastAPI:
    """The gateway as an ASGI application.

    Args:
        catalogue: what clients may name, from `gateway.build.build`; closed when the application stops.

    Raises:
        ConfigError: the ledger cannot be opened.
    """
    books, metrics = open_books(settings.ledger), Metrics()
    metrics.expect(catalogue)
    keyring = Keyring(settings.keys)
    alone = settings.server.workers == 1 and settings.ledger.url is None
    meters = None if alone else _shared_meters(settings, books, metrics)
    limiter = Limiter(keyring, meters)
    identifier = Identifier(books.lookup, settings.identity.headers, settings.bounds.max_id_chars, alone=alone)
    otlp = Otlp(settings) if settings.telemetry.otlp_endpoint else None
    observers = [log_request, otlp.observe] if otlp else [log_request]
    recorder = Recorder(books, metrics, identifier, limiter, observers)
    draining = Draining(recorder)
    attempts = Attempts(settings.retries, Breaker(settings.breaker))
    gate = Gate(limiter, settings.bounds)
    asker = Asker(settings.timeouts, metrics)
    plans = {name: experiment.examination for name, experiment in catalogue.experiments.items()}
    examiner = Examiner(plans, asker.judge, books.writer.amend, metrics)
    counting = Counting(settings.accounting.compare)
    shadows = Shadows(catalogue.experiments, asker, examiner, books.writer, metrics, counting)
    splits = {name: experiment.split for name, experiment in catalogue.experiments.items()}
    allocations = Allocations(splits, books.local.allocations, books.local.tallies, books.writer.amend)
    _watch(metrics, books, allocations, splits)
    chat = Chat(
        catalogue,
        identifier,
        Assigner(books.lookup, allocations),
        recorder,
        gate,
        Auxiliary(settings.auxiliary),
        draining,
        attempts,
        settings.timeouts,
        settings.streaming,
        counting,
        Aftermath(examiner, shadows),
    )
    others = OtherRoutes(
        catalogue,
        recorder,
        gate,
        draining,
        attempts,
        settings.timeouts,
        settings.relay,
        settings.streaming,
        settings.identity.headers,
        settings.bounds.max_id_chars,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(books.start)
        await limiter.restore(await asyncio.to_thread(books.local.spent, DAY_S))
        await allocations.refresh(bandit=True)
        keeping_up = asyncio.create_task(allocations.run())
        examiner.start()
        async with meters.kept() if meters else nullcontext():
            async with metrics.kept_fresh():
                yield
            keeping_up.cancel()
            await recorder.settle()
        await shadows.stop()
        await examiner.stop()
        for upstream in {id(arm.model.upstream): arm.model.upstream for arm in catalogue.direct.values()}.values():
            await upstream.close()
        await asyncio.to_thread(books.close)
        if otlp is not None:
            await asyncio.to_thread(otlp.close)

    app = FastAPI(title="gattway", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.draining = draining
    routers = [
        completions.router(chat, settings.server.max_body_bytes),
        responses.router(chat, StoredResponses(books.lookup, books.content), settings.server.max_body_bytes),
        models.router(catalogue, int(time.time())),
        content.router(books, is_kept=settings.ledger.store_content),
        conversations.router(books),
        experiments.router(catalogue.experiments, allocations),
        feedback.router(books, metrics),
        report.router(books),
        operations.router(metrics, books, draining),
    ]
    for router in (*routers, other.router(others, settings.server.max_body_bytes, beside=routers)):
        app.include_router(router)
    app.state.metrics = metrics
    app.mount("/ui", _page(settings, app))
    app.add_exception_handler(GatewayError, _on_gateway_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_query)
    app.add_exception_handler(Exception, _on_bug)
    app.add_middleware(
        Access,
        keyring=keyring,
        limiter=limiter,
        hosts=Hosts.of(settings),
        origins=settings.server.cors_origins,
        max_header_bytes=settings.bounds.max_header_bytes,
    )
    describe(app, with_keys=bool(settings.keys))
    allow_origins(app, settings.server.cors_origins)
    app.add_middleware(RequestId, is_traced=otlp is not None)
    return app


def _page(settings: Settings, app: FastAPI) -> ASGIApp:
    """The web page, or what says why there is none. Its sessions live in one process, and so only one may serve it."""
    if not settings.ui.enabled:
        return Absent(
            "This gateway serves no web page. Set ui.enabled = true, or run it by itself: gattway ui --gateway URL."
        )
    if settings.keys and settings.server.workers > 1:
        return Absent(
            "With keys and several workers the web page runs in a process of its own, which remembers who logged in: "
            "gattway ui --gateway URL."
        )
    return create_page(app)


def _shared_meters(settings: Settings, books: Books, metrics: Metrics) -> LeasedMeters:
    """Limits over all gateways of a database, or all workers of a file."""
    run = over_database(books.shared) if books.shared else over_file(settings.ledger.path)
    meters = LeasedMeters(run, at_least=settings.server.workers)
    metrics.read(metrics.limits_degraded, lambda: meters.degraded)
    return meters


def _watch(metrics: Metrics, books: Books, allocations: Allocations, splits: Mapping[str, Split]) -> None:
    """What the metrics read when they are asked, rather than being told."""
    metrics.read(metrics.ledger_pending, lambda: books.pending)
    metrics.read(metrics.ledger_lag, lambda: books.lag_s)
    for split in splits.values():
        for arm in split.weights:
            metrics.read(metrics.arm_share.labels(split.name, arm), partial(_share, allocations, split, arm))


def _share(allocations: Allocations, split: Split, arm: str) -> float:
    return allocations.of(split).shares.get(arm, 0.0)


async def _on_gateway_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GatewayError)
    request.app.state.metrics.count_refusal(error)
    if not isinstance(error, ClientLeft):
        log_refusal(error)
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
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 405 and not path.startswith("/v1/"):  # there, routes.other has said it
        headers["allow"] = _allowed(request)
    return JSONResponse(body, error.status_code, headers)


def _allowed(request: Request) -> str:
    """All methods of a path whose routes have one each; Starlette names those of the first alone."""
    methods = ("DELETE", "GET", "PATCH", "POST", "PUT")
    scopes = {method: {**request.scope, "method": method} for method in methods}
    return ", ".join(
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    )


async def _on_invalid_query(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    refused = BadRequest(f"Invalid value for '{name}': {first['input']!r}. {first['msg']}.", param=name)
    return JSONResponse(refused.body(), refused.status)


async def _on_bug(_request: Request, error: Exception) -> JSONResponse:
    """What nobody foresaw; Starlette has the traceback logged, the client gets no inside."""
    return JSONResponse(error_body("The gateway had an internal error.", "server_error", None, "internal_error"), 500)
