"""The use case: identify, assign, place, send; `gateway.exchange` then relays and records."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from gateway.accounting.placement import count_placement
from gateway.attempts import Attempts
from gateway.auxiliary import Auxiliary
from gateway.catalogue import Arm, Catalogue, Target
from gateway.draining import Draining
from gateway.errors import BadRequest, LedgerError, ShuttingDown
from gateway.exchange import Exchange
from gateway.experiments.assigner import Assigner
from gateway.gate import Gate
from gateway.identity import Identifier, Identity
from gateway.keys import Key
from gateway.ledger.records import Assignment, Turn
from gateway.recorder import Recorder
from gateway.settings import TimeoutSettings
from gateway.wire.request import ChatRequest
from strategies import Message


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a request besides its body: its own id, its headers, whose it is, and when it came
    (perf_counter s)."""

    request_id: str
    headers: Mapping[str, str]
    key: Key
    at: float


class Chat:
    """Answers chat completions."""

    def __init__(
        self,
        catalogue: Catalogue,
        identifier: Identifier,
        assigner: Assigner,
        recorder: Recorder,
        gate: Gate,
        auxiliary: Auxiliary,
        draining: Draining,
        attempts: Attempts,
        limits: TimeoutSettings,
    ) -> None:
        self._catalogue = catalogue
        self._identifier = identifier
        self._assigner = assigner
        self._recorder = recorder
        self._gate = gate
        self._auxiliary = auxiliary
        self._draining = draining
        self._attempts = attempts
        self._limits = limits

    async def complete(self, request: ChatRequest, arrival: Arrival) -> Exchange:
        """Have a request answered; returns when the answer has begun.

        Raises:
            GatewayError: the request cannot be answered; a turn that got as far as the model is recorded.
        """
        if self._draining.begun:
            raise ShuttingDown()
        if self._recorder.problem:
            raise LedgerError(self._recorder.problem)
        target = self._catalogue.resolve(request.model, arrival.key)
        await self._gate.admit(request, arrival.key, arrival.request_id)
        identity = await self._identifier.identify(arrival.headers, request.body, request.messages, arrival.key.name)
        auxiliary = self._auxiliary.rule(request.body, request.messages)
        if auxiliary is not None:
            target = Target(None, await self._bystander(target, identity, arrival.key))
            identity = replace(identity, turn=0)
        arm, assignment = await self._arm(target, identity, arrival.key)
        placed = _placed(arm, request.messages)
        exchange = Exchange(
            request=request,
            arm=arm,
            identity=identity,
            row=_begun(arrival, target, arm, identity, auxiliary),
            assignment=assignment,
            counts=asyncio.ensure_future(
                asyncio.to_thread(count_placement, arm.model.counter, request.messages, placed, arm.instruction)
            ),
            arrived_at=arrival.at,
            recorder=self._recorder,
            limits=self._limits,
            attempts=self._attempts,
        )
        await exchange.begin(_upstream_body(request, placed), arrival.headers)
        return exchange

    async def _arm(self, target: Target, identity: Identity, key: Key) -> tuple[Arm, Assignment | None]:
        if target.arm is not None:
            return target.arm, None
        experiment = target.experiment
        assert experiment is not None
        weights = {name: arm.weight for name, arm in experiment.arms.items()}
        name, assignment = await self._assigner.arm(
            experiment.name,
            experiment.salt,
            weights,
            identity.conversation_id,
            key_name=key.name,
            is_new=identity.source == "new",
        )
        return experiment.arms[name], assignment

    async def _bystander(self, target: Target, identity: Identity, key: Key) -> Arm:
        """The arm's model without its strategy, for what is no turn of the conversation; nothing is dealt."""
        arm, experiment = target.arm, target.experiment
        if arm is None:
            assert experiment is not None
            weights = {name: arm.weight for name, arm in experiment.arms.items()}
            expected = await self._assigner.expected(
                experiment.name, experiment.salt, weights, identity.conversation_id, key.name
            )
            arm = experiment.arms[expected]
        return self._catalogue.direct[arm.model.name]


def _placed(arm: Arm, messages: list[Message]) -> list[Message]:
    placed = arm.strategy.place(messages, arm.instruction)
    if not placed:
        raise BadRequest("'messages' holds nothing but an instruction without words.", param="messages")
    return placed


def _begun(arrival: Arrival, target: Target, arm: Arm, identity: Identity, auxiliary: str | None) -> Turn:
    return Turn(
        request_id=arrival.request_id,
        conversation_id=identity.conversation_id,
        identity_source=identity.source,
        parent_request_id=identity.parent.request_id if identity.parent else None,
        experiment=target.experiment.name if target.experiment else None,
        arm=arm.name or None,
        forced=target.forced,
        strategy=arm.strategy.name,
        model=arm.model.name,
        upstream=arm.model.upstream_name,
        turn=identity.turn,
        started_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        context_window=arm.model.window,
        key_name=arrival.key.name,
        auxiliary=auxiliary,
        history_hash=identity.history_hash,
    )


def _upstream_body(request: ChatRequest, placed: list[Message]) -> dict[str, Any]:
    sent = {name: value for name, value in request.body.items() if name not in request.kept_here}
    body = {**sent, "messages": placed}
    if request.stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return body
