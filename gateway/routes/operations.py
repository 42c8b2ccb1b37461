"""`GET /metrics`, `/health/live`, `/health/ready`: for those who run the gateway."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from gateway.draining import Draining
from gateway.ledger.writer import Writer
from gateway.metrics import Metrics


def router(metrics: Metrics, writer: Writer, draining: Draining) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get("/metrics")
    def get_metrics() -> Response:
        """All series in Prometheus's text format."""
        metrics.ledger_pending.set(writer.pending)
        return Response(metrics.exposition(), media_type=metrics.content_type)

    @routes.get("/health/live")
    def live() -> dict[str, str]:
        """Whether the process answers at all."""
        return {"status": "ok"}

    @routes.get("/health/ready")
    def ready() -> Response:
        """Whether it can take requests; 503 with the reason when it cannot."""
        reason = "the gateway is shutting down" if draining.begun else writer.problem
        if reason:
            return JSONResponse({"status": "unavailable", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ok"})

    return routes
