"""`GET /metrics`, `/health/live`, `/health/ready`: for those who run the gateway."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from gateway.answering.draining import Draining
from gateway.ledger.books import Books
from gateway.metrics import Metrics
from gateway.routes.schema import gives


def router(metrics: Metrics, books: Books, draining: Draining) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses={200: {"content": {"application/openmetrics-text": {"schema": {"type": "string"}}}}},
    )
    async def get_metrics(request: Request) -> Response:
        """All series in Prometheus's text format, or as OpenMetrics, with exemplars, where `Accept` asks for it."""
        metrics.refresh()
        text, content_type = await asyncio.to_thread(metrics.rendered, request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    @routes.get("/health/live", responses=gives("Health", "It answers"))
    def live() -> dict[str, str]:
        """Whether the process answers at all."""
        return {"status": "ok"}

    @routes.get(
        "/health/ready",
        responses={**gives("Health", "It takes requests"), 503: {**gives("Health", "It does not, and why")[200]}},
    )
    def ready() -> Response:
        """Whether it can take requests; 503 with the reason when it cannot."""
        reason = "the gateway is shutting down" if draining.announced else books.writer.problem
        if reason:
            return JSONResponse({"status": "unavailable", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ok"})

    return routes
