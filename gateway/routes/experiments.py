"""`GET /api/experiments`, `GET` and `PATCH /api/experiments/{name}`: how traffic is divided, and dividing it anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from gateway.catalogue import Experiment
from gateway.errors import BadRequest, NotFound
from gateway.experiments.allocation import Allocations
from gateway.routes.client import read_body
from gateway.routes.schema import gives, takes
from gateway.wire.fields import number
from gateway.wire.request import body_of

MAX_BODY_BYTES = 64 * 1024


def router(experiments: Mapping[str, Experiment], allocations: Allocations) -> APIRouter:
    """The routes over the experiments of one catalogue."""
    routes = APIRouter()

    @routes.get("/api/experiments", responses=gives("Experiments", "All experiments"))
    def list_experiments() -> dict[str, Any]:
        """All experiments with the shares that are in force."""
        data = [_described(one, allocations) for one in experiments.values()]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, **ends, "has_more": False}

    @routes.get("/api/experiments/{name}", responses=gives("Experiment", "The experiment"))
    def get_experiment(name: str) -> dict[str, Any]:
        """One of them."""
        return _described(_named(name), allocations)

    @routes.patch(
        "/api/experiments/{name}",
        openapi_extra=takes("ExperimentChange"),
        responses=gives("Experiment", "The experiment as it is from now on"),
    )
    async def change_experiment(request: Request, name: str) -> dict[str, Any]:
        """New `weights` (of every arm) or a new `coverage` for new conversations; running ones keep their arm."""
        experiment = _named(name)
        body = body_of(await read_body(request.receive, MAX_BODY_BYTES))
        unknown = sorted(set(body) - {"weights", "coverage"})
        if unknown or not body:
            raise BadRequest("Give 'weights', 'coverage' or both, and nothing else.", param=(unknown or ["weights"])[0])
        weights = body.get("weights")
        if weights is not None and not isinstance(weights, dict):
            raise BadRequest("'weights' must be an object: arm → weight.", param="weights")
        for arm, weight in (weights or {}).items():
            number(0, float("inf"))(f"weights.{arm[:64]}", weight)
        if body.get("coverage") is not None:
            number(0, 1)("coverage", body["coverage"])
        await allocations.change(name, weights, body.get("coverage"))
        return _described(experiment, allocations)

    def _named(name: str) -> Experiment:
        if name not in experiments:
            known = ", ".join(experiments) or "none"
            raise NotFound(f"There is no experiment '{name[:128]}'. The experiments are: {known}.", param="experiment")
        return experiments[name]

    return routes


def _described(experiment: Experiment, allocations: Allocations) -> dict[str, Any]:
    split, now = experiment.split, allocations.of(experiment.split)
    arms = {
        name: {"strategy": arm.strategy.name, "model": arm.model.name, "weight": arm.weight, "share": now.shares[name]}
        for name, arm in experiment.arms.items()
    }
    return {
        "id": experiment.name,
        "object": "experiment",
        "arms": arms,
        "coverage": now.coverage,
        "outside": split.outside,
        "audience": {"keys": sorted(split.audience.keys), "headers": dict(split.audience.headers)},
        "allocation": split.policy,
        "shadow": experiment.shadow,
    }
