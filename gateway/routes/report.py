"""`GET /api/report`: what `gattway report --json` prints."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from gateway.errors import BadRequest, ConfigError
from gateway.experiments.report import make
from gateway.ledger.books import Books


def router(books: Books) -> APIRouter:
    """The route over one ledger."""
    routes = APIRouter()

    @routes.get("/api/report")
    def get_report(experiment: str | None = None, baseline: str | None = None) -> dict[str, Any]:
        """The comparison of an experiment's arms."""
        try:
            return make(books.store.engine, experiment, baseline)
        except ConfigError as error:
            raise BadRequest(f"This gateway cannot make reports: {error.message}.", code="missing_extra") from None

    return routes
