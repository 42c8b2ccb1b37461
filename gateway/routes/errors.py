"""Errors as OpenAI's bodies: the gateway's own, Starlette's refusals, and what nobody foresaw."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from gateway.errors import BadRequest, ClientLeft, GatewayError, error_body, http_status
from gateway.metrics import Metrics
from gateway.telemetry.request_log import log_refusal

_CODES = {404: "unknown_url", 405: "method_not_allowed"}


def answer_errors(app: FastAPI, metrics: Metrics) -> None:
    """Have every error of the application's routes answered as OpenAI answers it, and refusals counted."""

    async def on_refusal(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, GatewayError)
        return refused(error, metrics)

    app.add_exception_handler(GatewayError, on_refusal)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_query)
    app.add_exception_handler(Exception, _on_bug)


def refused(error: GatewayError, metrics: Metrics) -> JSONResponse:
    """The answer to a request that cannot be answered; counted and logged."""
    metrics.count_refusal(error)
    if not isinstance(error, ClientLeft):
        log_refusal(error)
    return JSONResponse(error.body(), http_status(error), error.headers)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Starlette's own refusals: no such route, wrong method."""
    assert isinstance(error, HTTPException)
    status, path = error.status_code, request.url.path
    message = _message(error, request.method, path)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if status == 405 and not path.startswith("/v1/"):  # there, routes.other has said it
        headers["allow"] = _allowed(request)
    return JSONResponse(error_body(message, BadRequest.type, None, _CODES.get(status)), status, headers)


def _message(error: HTTPException, method: str, path: str) -> str:
    if error.status_code == 404:
        return f"Unknown request URL: {method} {path}. Please check the URL for typos."
    if error.status_code == 405:
        return f"Not allowed to {method} on {path}."
    return str(error.detail)


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
