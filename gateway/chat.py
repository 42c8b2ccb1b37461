"""The use case: identify, assign, place, send; `gateway.answering.exchange` then relays and records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.access.gate import Gate
from gateway.answering.aftermath import Aftermath
from gateway.answering.arrival import Arrival
from gateway.answering.counting import Counting
from gateway.answering.draining import Draining
from gateway.answering.ending import Means
from gateway.answering.exchange import Exchange
from gateway.auxiliary import Auxiliary
from gateway.catalogue import Arm, Catalogue, Target
from gateway.errors import BadRequest
from gateway.experiments.assigner import Assigner, Dealt
from gateway.experiments.budgets import Budgets
from gateway.experiments.split import Exposure
from gateway.identity import Continued, Identifier, Identity
from gateway.ledger.records import Turn
from gateway.wire.request import ChatRequest
from strategies import Message, instruction_of
from strategies.instruction import text_of


class Chat:
    """Answers chat completions."""

    def __init__(
        self,
        catalogue: Catalogue,
        identifier: Identifier,
        assigner: Assigner,
        budgets: Budgets,
        gate: Gate,
        auxiliary: Auxiliary,
        draining: Draining,
        means: Means,
        counting: Counting,
        aftermath: Aftermath,
    ) -> None:
        self._catalogue = catalogue
        self._identifier = identifier
        self._assigner = assigner
        self._budgets = budgets
        self._gate = gate
        self._auxiliary = auxiliary
        self._draining = draining
        self._means = means
        self._counting = counting
        self._aftermath = aftermath

    async def complete(self, request: ChatRequest, arrival: Arrival, continued: Continued | None = None) -> Exchange:
        """Have a request answered; returns when the answer has begun.

        Args:
            continued: the turn that the request goes on from, where the client names it.

        Raises:
            GatewayError: the request cannot be answered; a turn that got as far as the model is recorded.
        """
        self._draining.refuse()
        target = self._catalogue.resolve(request.model, arrival.key)
        await self._gate.admit(request, arrival.key, arrival.request_id)
        identity = await self._identifier.identify(
            arrival.headers, request.body, request.messages, arrival.key.name, continued
        )
        auxiliary = self._auxiliary.rule(request.body, request.messages)
        if auxiliary is not None:
            target = Target(None, await self._bystander(target, identity, request, arrival))
            identity = identity._replace(turn=0)
        arm, dealt = await self._arm(target, identity, request, arrival)
        arm = await self._budgets.settled(target.experiment, arm, identity, arrival.key.name)
        placed = _placed(arm, request.messages)
        user_hash = self._means.recorder.user_hash(arrival.headers, request.body)
        exchange = Exchange(
            request=request,
            placed=placed,
            arm=arm,
            identity=identity,
            row=_begun(arrival, target, arm, identity, auxiliary, dealt.excluded if dealt else None, user_hash),
            assignment=dealt.assignment if dealt else None,
            counts=self._counting.start(
                arm, request.body, request.messages, placed, continues=identity.parent is not None
            ),
            arrived_at=arrival.at,
            means=self._means,
            aftermath=self._aftermath,
        )
        await exchange.begin(_upstream_body(request, placed), arrival.headers)
        return exchange

    async def _arm(
        self, target: Target, identity: Identity, request: ChatRequest, arrival: Arrival
    ) -> tuple[Arm, Dealt | None]:
        if target.arm is not None:
            return target.arm, None
        experiment = target.experiment
        assert experiment is not None
        dealt = await self._assigner.arm(
            experiment.split,
            identity.conversation_id,
            _exposure(request, identity, arrival),
            is_new=identity.source == "new",
        )
        return experiment.arms[dealt.arm], dealt

    async def _bystander(self, target: Target, identity: Identity, request: ChatRequest, arrival: Arrival) -> Arm:
        """The arm's model without its strategy, for what is no turn of the conversation; nothing is dealt."""
        arm, experiment = target.arm, target.experiment
        if arm is None:
            assert experiment is not None
            expected = await self._assigner.expected(
                experiment.split, identity.conversation_id, _exposure(request, identity, arrival)
            )
            arm = experiment.arms[expected]
        return self._catalogue.direct[arm.model.name]


def _exposure(request: ChatRequest, identity: Identity, arrival: Arrival) -> Exposure:
    return Exposure(
        turn=identity.turn,
        instruction_chars=len(instruction_of(request.messages) or ""),
        prompt_chars=sum(len(text_of(message.get("content"))) for message in request.messages),
        key_name=arrival.key.name,
        headers=arrival.headers,
    )


def _placed(arm: Arm, messages: list[Message]) -> list[Message]:
    placed = arm.strategy.place(messages, arm.instruction)
    if not placed:
        raise BadRequest("'messages' holds nothing but an instruction without words.", param="messages")
    return placed


def _begun(
    arrival: Arrival,
    target: Target,
    arm: Arm,
    identity: Identity,
    auxiliary: str | None,
    excluded: str | None,
    user_hash: str | None,
) -> Turn:
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
        excluded="auxiliary" if auxiliary else "forced" if target.forced else excluded,
        history_hash=identity.history_hash,
        user_hash=user_hash,
    )


def _upstream_body(request: ChatRequest, placed: list[Message]) -> dict[str, Any]:
    sent = {name: value for name, value in request.body.items() if name not in request.kept_here}
    body = {**sent, "messages": placed}
    if request.stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return body
