"""`GET /v1/models` and `GET /v1/models/{id}`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from gateway.access.keys import Key
from gateway.catalogue import Arm, Catalogue
from gateway.routes.schema import gives


def router(catalogue: Catalogue, started_at: int) -> APIRouter:
    """The routes over one catalogue; `started_at` (Unix seconds) stands for the models' `created`."""
    routes = APIRouter()

    def described(name: str, key: Key) -> dict[str, Any]:
        target = catalogue.resolve(name, key)
        arms = [target.arm] if target.arm else list(target.experiment.arms.values() if target.experiment else ())
        kind = "model" if target.experiment is None else "arm" if target.arm else "experiment"
        described = {"id": name, "object": "model", "created": started_at, "owned_by": "gattway", "kind": kind}
        return {**described, "context_window": _window(arms), "price": _price(arms[0]) if len(arms) == 1 else None}

    @routes.get("/v1/models", responses=gives("Models", "The models, experiments and arms"))
    def list_models(request: Request) -> dict[str, Any]:
        """All that the client may name."""
        key: Key = request.state.key
        data = [described(name, key) for name in catalogue.names(key)]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, **ends, "has_more": False}

    @routes.get("/v1/models/{name:path}", responses=gives("Model", "The model, experiment or arm"))
    def get_model(request: Request, name: str) -> dict[str, Any]:
        """One of them."""
        return described(name, request.state.key)

    return routes


def _window(arms: list[Arm]) -> int | None:
    """Tokens that fit every arm."""
    windows = [arm.model.window for arm in arms]
    return min((window for window in windows if window is not None), default=None) if None not in windows else None


def _price(arm: Arm) -> dict[str, Any] | None:
    """USD per million tokens."""
    price = arm.model.price
    if price is None:
        return None
    kinds = {"input": price.rates.input, "cached": price.rates.cached, "output": price.rates.output}
    return {**{kind: round(value, 6) for kind, value in kinds.items()}, "source": price.source}
