"""What `/openapi.json` says: the shapes of requests and answers, written down beside the code that checks them.

The hot routes read bytes and no pydantic models, so FastAPI cannot know their shapes. They are given here as JSON
schemas that say what the gateway itself relies on or promises; every object may hold more, which travels on untouched.
A test sends what these schemas allow, and what they do not, to a running gateway and holds the answers against them.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gateway import __version__
from gateway.routes.shapes import Schema, components, ref, shape

DESCRIPTION = (
    "OpenAI's API before any model, with an instruction kept alive in one of several ways and books on what that "
    "costs. Errors have OpenAI's shape and status on every route; every answer carries `x-request-id`."
)
COMPLETION_HEADERS = {
    "x-request-id": "This request's id, as in the ledger",
    "x-gattway-conversation-id": "The conversation that the request was taken for; percent-encoded beyond ASCII",
    "x-gattway-experiment": "The experiment; empty when a model was named directly",
    "x-gattway-arm": "The arm that answered; empty when a model was named directly",
    "x-gattway-turn": "The turn of the conversation, from 1; 0 for an auxiliary request",
    "x-gattway-overhead-ms": "Milliseconds that the gateway itself took before it asked the model",
}


def takes(name: str) -> Schema:
    """`openapi_extra` for a route that reads a JSON body by itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": ref(name)}}}}


def gives(name: str, description: str) -> dict[int | str, Schema]:
    """`responses` for a route that answers with JSON of a named schema."""
    return {200: {"description": description, "content": {"application/json": {"schema": ref(name)}}}}


def completes(name: str, events: str) -> dict[int | str, Schema]:
    """`responses` for a route that answers with JSON or, when `stream` is true, with server-sent events."""
    return {
        200: {
            "description": f"The answer; when `stream` is true, server-sent events whose `data` is {events}",
            "headers": {
                header: {"description": text, "required": True, "schema": {"type": "string"}}
                for header, text in COMPLETION_HEADERS.items()
            },
            "content": {
                "application/json": {"schema": ref(name)},
                "text/event-stream": {"schema": shape({"data": {"type": "string"}}, description="One event")},
            },
        }
    }


def describe(app: FastAPI, *, with_keys: bool) -> None:
    """Have `app` give a truthful `/openapi.json`, made when it is first asked for."""

    def openapi() -> Schema:
        if app.openapi_schema is None:
            app.openapi_schema = _openapi(app, with_keys)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the schema


def _openapi(app: FastAPI, with_keys: bool) -> Schema:
    described = get_openapi(title="gattway", version=__version__, description=DESCRIPTION, routes=app.routes)
    schemas = described.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas.update(components())
    if with_keys:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, item in described["paths"].items():
        for operation in item.values():
            _complete(operation)
            if with_keys and not path.startswith("/health/"):
                operation["security"] = [{"key": []}]
    return described


def _complete(operation: Schema) -> None:
    """What holds of every route: a bad request is 400, never 422, and all errors look alike."""
    responses = operation["responses"]
    responses.pop("422", None)
    error = {"application/json": {"schema": ref("Error")}}
    responses.setdefault("4XX", {"description": "The request cannot be answered as it is", "content": error})
    responses.setdefault("5XX", {"description": "The model's server or the gateway cannot answer", "content": error})
