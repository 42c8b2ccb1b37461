"""The application: routes over the parts that `gateway.parts` puts together, and what stands before them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from gateway import __version__
from gateway.access.hosts import Hosts
from gateway.access.middleware import Access, allow_origins
from gateway.access.request_id import RequestId
from gateway.catalogue import Catalogue
from gateway.parts import Parts, assemble
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
from gateway.routes.errors import answer_errors
from gateway.routes.schema import describe
from gateway.settings import Settings
from gateway.stored_responses import StoredResponses
from gateway.ui.page import Absent, create_page


def create_app(settings: Settings, catalogue: Catalogue) -> FastAPI:
    """The gateway as an ASGI application.

    Args:
        catalogue: what clients may name, from `gateway.build.build`; closed when the application stops.

    Raises:
        ConfigError: the ledger cannot be opened.
    """
    parts = assemble(settings, catalogue)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with parts.running():
            yield

    app = FastAPI(
        title="gattway",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # gateway.telemetry has its own
    )
    app.state.draining = parts.draining
    app.state.metrics = parts.metrics
    chat = completions.Completions(parts.chat, settings.server.max_body_bytes)
    for router in _routers(settings, parts, chat):
        app.include_router(router)
    app.mount("/ui", _page(settings, app))
    answer_errors(app, parts.metrics)
    describe(app, with_keys=bool(settings.keys))
    app.add_middleware(completions.Shortcut, chat=chat, metrics=parts.metrics)
    _guard(app, settings, parts)
    return app


def _routers(settings: Settings, parts: Parts, chat: completions.Completions) -> list[APIRouter]:
    max_body_bytes, books = settings.server.max_body_bytes, parts.books
    routers = [
        chat.described(),
        responses.router(parts.chat, StoredResponses(books.lookup, books.content), max_body_bytes),
        models.router(parts.catalogue, int(time.time())),
        content.router(books, is_kept=settings.ledger.store_content),
        conversations.router(books),
        experiments.router(parts.catalogue.experiments, parts.allocations),
        feedback.router(books, parts.metrics),
        report.router(books),
        operations.router(parts.metrics, books, parts.draining),
    ]
    return [*routers, other.router(parts.others, max_body_bytes, beside=routers)]


def _guard(app: FastAPI, settings: Settings, parts: Parts) -> None:
    """What every request passes before it comes to a route, the last added first."""
    app.add_middleware(
        Access,
        keyring=parts.keyring,
        limiter=parts.limiter,
        hosts=Hosts.of(settings),
        origins=settings.server.cors_origins,
        max_header_bytes=settings.bounds.max_header_bytes,
    )
    allow_origins(app, settings.server.cors_origins)
    app.add_middleware(RequestId, is_traced=parts.otlp is not None)


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
