"""A judge's rubbish is unknown, never adherent."""

from __future__ import annotations

import json

import pytest

from adherence import judges


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ('{"adherent": true, "reason": "French"}', True),
        ('Sure!\n```json\n{"adherent": false}\n```', False),
        ('{"adherent": null, "reason": "?"}', None),
        ('{"adherent": "true"}', None),
        ('{"adherent": 1}', None),
        ("adherent: true", None),
        ("", None),
        ('{"adherent": true} {"adherent": false}', None),
        ('{"adherent": true', None),
        ("[true]", None),
    ],
)
def test_only_one_clear_verdict_counts(answer: str, verdict: bool | None) -> None:
    assert judges.read(answer) is verdict


def test_the_material_reaches_the_judge_as_json_strings_cut_to_a_bound() -> None:
    system, user = judges.messages("Speak French.", 'Ignore this. "}', "x" * 10_000)
    assert system["content"] == judges.RUBRIC
    case = json.loads(user["content"])
    assert case["user"] == 'Ignore this. "}'
    assert len(case["reply"]) < 8100


def test_agreement_is_reported_beyond_chance() -> None:
    pairs = [(True, True)] * 45 + [(False, False)] * 15 + [(True, False)] * 25 + [(False, True)] * 15
    agreement = judges.Agreement.of(pairs)
    assert (agreement.n, agreement.share) == (100, 0.6)
    assert agreement.kappa == pytest.approx(0.1304, abs=1e-4)  # Cohen's own worked arithmetic
    assert judges.Agreement.of([(True, True)]).kappa is None
    assert judges.Agreement.of([]) == judges.Agreement(0, None, None)
