"""All other `/v1/…` routes of a named model: embeddings, completions, audio, images, moderations, rerank and the like.

They hold no conversation, so nothing is placed and no arm is dealt: the request goes to the model's upstream, and the
answer comes back as it is. Keys, limits, bounds, retries and errors are those of chat completions, and so is the row:
`auxiliary` says `relay:` and the route.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from gateway.access.gate import Gate
from gateway.access.keys import Key
from gateway.answering.arrival import Arrival
from gateway.answering.draining import Draining
from gateway.answering.ending import Means
from gateway.answering.other_answer import OtherAnswer
from gateway.catalogue import Catalogue, Model
from gateway.errors import BadRequest, NotFound
from gateway.identity import given_id
from gateway.ids import timed
from gateway.ledger.records import Turn
from gateway.sections.relay import RelaySettings
from gateway.wire.named_body import NamedBody, read_named

KNOWN = (
    *("audio/speech", "audio/transcriptions", "audio/translations", "classify", "completions", "embeddings"),
    *("images/edits", "images/generations", "images/variations", "moderations", "pooling", "rerank", "score"),
    *("tokenize", "videos"),
)
"""Routes that the books know by name; the name of any other comes from the client and would make labels without end."""

_PATH = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_:-][A-Za-z0-9._:-]*)*")
"""No segment begins with a dot and nothing is escaped, so that no path leads out of the upstream's `/v1`."""


class OtherRoutes:
    """Relays requests that are no chat."""

    def __init__(
        self,
        catalogue: Catalogue,
        gate: Gate,
        draining: Draining,
        means: Means,
        settings: RelaySettings,
        id_headers: Sequence[str],
        max_id_chars: int,
    ) -> None:
        self._catalogue = catalogue
        self._gate = gate
        self._draining = draining
        self._means = means
        self._settings = settings
        self._id_headers = id_headers
        self._max_id_chars = max_id_chars

    def check(self, route: str) -> None:
        """Raise NotFound for a route (what stands behind `/v1/`) that is not relayed."""
        allowed = any(fnmatchcase(route, pattern) for pattern in self._settings.routes)
        if not allowed or any(fnmatchcase(route, pattern) for pattern in self._settings.refused):
            raise NotFound(
                f"Unknown request URL: POST /v1/{route[:128]}. This gateway does not relay that route "
                "(relay.routes and relay.refused say which).",
                code="unknown_url",
            )
        if not _PATH.fullmatch(route):
            raise NotFound(f"Unknown request URL: POST /v1/{route[:128]}.", code="unknown_url")

    async def post(self, route: str, query: str, raw: bytes, content_type: str, arrival: Arrival) -> OtherAnswer:
        """Have a request answered; returns when the answer has begun.

        Raises:
            GatewayError: the request cannot be answered; one that got as far as the model is recorded.
        """
        self._draining.refuse()
        asked = read_named(raw, content_type)
        model = self._model(asked.model, route, arrival.key)
        await self._gate.admit_fields(asked.fields, arrival.key, arrival.request_id, stream=asked.stream)
        row = self._begun(route, model, asked, arrival)
        answer = OtherAnswer(model, asked, row, arrival, self._means)
        await answer.begin(f"{route}?{query}" if query else route)
        return answer

    def _model(self, name: str, route: str, key: Key) -> Model:
        target = self._catalogue.resolve(name, key)
        if target.experiment is None:
            assert target.arm is not None
            return target.arm.model
        models = [model for model in self._catalogue.direct if key.may_use(model)]
        raise BadRequest(
            f"'{name}' is an experiment, and /v1/{route} has no turns for its arms to differ in. Name a model instead: "
            f"{', '.join(models) or 'this key may use none'}.",
            param="model",
            code="experiment_not_supported",
        )

    def _begun(self, route: str, model: Model, asked: NamedBody, arrival: Arrival) -> Turn:
        given = given_id(arrival.headers, asked.fields, self._id_headers, self._max_id_chars)
        conversation_id, source = given or (f"conv_{timed()}", "new")
        return Turn(
            request_id=arrival.request_id,
            conversation_id=conversation_id,
            identity_source=source,
            parent_request_id=None,
            experiment=None,
            arm=None,
            forced=False,
            strategy="pass-through",
            model=model.name,
            upstream=model.upstream_name,
            turn=0,
            started_at=datetime.now(UTC).isoformat(timespec="microseconds"),
            context_window=model.window,
            key_name=arrival.key.name,
            auxiliary=f"relay:{route if route in KNOWN else 'other'}",
            excluded="auxiliary",
        )
