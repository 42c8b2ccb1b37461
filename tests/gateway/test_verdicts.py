"""Answers are examined beside the traffic, and verdicts land in the row, the metrics and the ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adherence import Finder
from gateway.catalogue import Examination
from gateway.experiments.examiner import Ended, Examiner
from gateway.ledger.amendments import Amendment
from gateway.ledger.records import Turn
from gateway.metrics import Metrics
from tests.gateway.experiment_config import Running, running, until
from tests.gateway.servers import FakeUpstream

ARM = """
[experiments.e.arms.a]
strategy = "once"
model = "echo"
"""
SAID = '[[experiments.e.checks]]\nkind = "starts_with"\ntext = "{text}"\n'
INSTRUCTED = [{"role": "system", "content": "Be odd."}, {"role": "user", "content": "Hi"}]


class WithJudge(FakeUpstream):
    """`judge` says that the reply is adherent."""

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        if body["model"] != "judge":
            return await super()._complete(request)
        self.bodies.append(body)
        message = {"role": "assistant", "content": '{"adherent": true, "reason": "odd enough"}'}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 50, "completion_tokens": 9, "total_tokens": 59}
        return JSONResponse({"id": "j", "object": "chat.completion", "choices": [choice], "usage": usage})


def judged(gateway: Running, conversation_id: str) -> dict[str, Any]:
    def row() -> dict[str, Any] | None:
        first = gateway.rows(conversation_id)[0]
        return first if first["adherence_source"] else None

    return until(row)


@pytest.mark.parametrize(("text", "adherent"), [("You said", True), ("I said", False)])
def test_checks_decide_after_the_answer_has_gone_out(tmp_path: Path, text: str, adherent: bool) -> None:
    with running(tmp_path, ARM + SAID.format(text=text)) as gateway:
        gateway.ask(INSTRUCTED, x_conversation_id="c")
        row = judged(gateway, "c")
        assert (row["adherent"], row["adherence_source"]) == (adherent, "checks")
        verdict = "adherent" if adherent else "drifted"
        wanted = f'gattway_adherence_total{{arm="a",experiment="e",turn_bucket="1",verdict="{verdict}"}}'
        assert gateway.metric(wanted) == 1


def test_a_judge_decides_what_no_check_can_and_its_tokens_are_counted_apart(tmp_path: Path) -> None:
    judge = '[experiments.e.adherence]\njudge = "judge"\njudge_sample = 1\n'
    with running(tmp_path, ARM + judge, WithJudge()) as gateway:
        gateway.ask(INSTRUCTED, x_conversation_id="c")
        row = judged(gateway, "c")
        assert (row["adherent"], row["adherence_source"]) == (True, "judge:judge")
        assert gateway.metric('gattway_judge_tokens_total{kind="prompt",model="judge"}') == 50
        assert len(gateway.rows("c")) == 1


def test_checks_overrule_the_judge_whose_verdict_is_kept_beside_theirs(tmp_path: Path) -> None:
    judge = '[experiments.e.adherence]\njudge = "judge"\njudge_sample = 1\n'
    with running(tmp_path, ARM + SAID.format(text="I said") + judge, WithJudge()) as gateway:
        gateway.ask(INSTRUCTED, x_conversation_id="c")
        row = judged(gateway, "c")
        assert (row["adherent"], row["adherence_source"]) == (False, "checks")


@pytest.mark.parametrize("model", ["rubbish-judge", "down"])
def test_a_judge_that_talks_rubbish_or_fails_leaves_the_verdict_unknown(tmp_path: Path, model: str) -> None:
    judge = f'[experiments.e.adherence]\njudge = "{model}"\njudge_sample = 1\n'
    with running(tmp_path, ARM + judge) as gateway:
        gateway.ask(INSTRUCTED, x_conversation_id="c")
        unknown = 'gattway_adherence_total{arm="a",experiment="e",turn_bucket="1",verdict="unknown"}'
        until(lambda: gateway.metric(unknown) == 1)
        assert gateway.rows("c")[0]["adherent"] is None


def test_conversations_outside_the_sample_are_not_examined(tmp_path: Path) -> None:
    sample = "[experiments.e.adherence]\nsample = 0\n"
    with running(tmp_path, ARM + SAID.format(text="You said") + sample) as gateway:
        gateway.ask(INSTRUCTED, x_conversation_id="c")
    with running(tmp_path, ARM) as gateway:
        assert gateway.rows("c")[0]["adherence_source"] is None


async def test_a_full_queue_drops_and_counts_and_never_waits() -> None:
    written: list[Amendment] = []

    async def ask(*_: Any) -> str:
        return ""

    async def amend(amendment: Amendment) -> None:
        written.append(amendment)

    metrics = Metrics()
    plan = Examination(Finder([{"kind": "json"}]), 1.0, None, 0.0)
    examiner = Examiner({"e": plan}, ask, amend, metrics, queued_at_most=2)
    row = Turn("r", "c", "new", None, "e", "a", False, "once", "m", "u", 1, "2026-01-01")
    for _ in range(5):
        examiner.offer(Ended(row, INSTRUCTED, None, "{}"))
    assert metrics.examinations_dropped._value.get() == 3
    examiner.start()
    await asyncio.wait_for(examiner.settled(), 10)
    await examiner.stop()
    assert sum(len(amendment.verdicts) for amendment in written) == 2
