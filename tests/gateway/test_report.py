"""The report: from rows to a verdict in words."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sqlalchemy import Engine

from gateway.__main__ import main
from gateway.commands.report import rendered, sparkline
from gateway.errors import NotFound
from gateway.experiments import statistics
from gateway.experiments.report import ADHERENCE, make
from gateway.ledger.aggregates import Moments
from gateway.ledger.database import open_database
from gateway.ledger.records import Assignment, Turn
from gateway.ledger.schema import assignments, turns
from tests.gateway.experiment_config import running

EVEN = json.dumps({"gatt": 0.5, "repeat": 0.5})


def conversation(arm: str, index: int, rng: random.Random, *, cost: float, drift: float, repeated: int) -> list[Turn]:
    return [
        Turn(
            request_id=f"{arm}-{index}-{turn}",
            conversation_id=f"{arm}-{index}",
            identity_source="new",
            parent_request_id=None,
            experiment="e",
            arm=arm,
            forced=False,
            strategy="once",
            model="m",
            upstream="u",
            turn=turn,
            started_at=f"2026-01-01T00:{turn:02d}:00",
            status="ok",
            prompt_tokens=100 * turn,
            completion_tokens=20,
            repeated_instruction_tokens=repeated * (turn - 1),
            cost_usd=cost * rng.uniform(0.8, 1.2),
            context_used=120 * turn,
            context_window=1000,
            duration_ms=50.0,
            adherent=rng.random() >= drift,
            adherence_source="checks",
        )
        for turn in range(1, 1 + rng.choice([3, 4, 5, 6]))
    ]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_database(tmp_path_factory.mktemp("report") / "ledger.db")
    rng = random.Random(5)
    rows: list[Turn] = []
    dealt: list[dict[str, Any]] = []
    for arm, cost, repeated in (("gatt", 0.0007, 0), ("repeat", 0.001, 30)):
        for index in range(300):
            rows += conversation(arm, index, rng, cost=cost, drift=0.03, repeated=repeated)
            at = "2026-01-01T00:00:00"
            one = Assignment(f"{arm}-{index}", "e", arm, at, "", "fixed", 0.5, EVEN, None, 1, 20, 50 + index % 7)
            dealt.append(asdict(one))
    out = conversation("gatt", 999, rng, cost=1.0, drift=1.0, repeated=0)
    for row in out:
        row.excluded = "forced"
    shadow = conversation("repeat", 998, rng, cost=1.0, drift=0.0, repeated=0)[0]
    shadow.shadow_of, shadow.excluded, shadow.conversation_id = "gatt-0-1", "shadow", "gatt-0"
    with engine.begin() as connection:
        connection.execute(turns.insert(), [row.as_dict() for row in [*rows, *out, shadow]])
        connection.execute(assignments.insert(), dealt)
    yield engine
    engine.dispose()


def test_the_report_finds_what_is_in_the_ledger(ledger: Engine) -> None:
    report = make(ledger, "e")
    assert report["baseline"] == "repeat"  # the one that repeats
    assert report["horizon_turns"] == 3  # all conversations get there, 75 % get to the fourth
    assert {arm: figures["conversations"] for arm, figures in report["arms"].items()} == {"gatt": 300, "repeat": 300}
    (comparison,) = report["comparisons"]
    cost = comparison["differences"]["cost_per_conversation"]
    assert cost["difference"] == pytest.approx(-0.3, abs=0.02)
    low, high = cost["always_valid"]
    assert low <= cost["interval"][0] <= -0.3 <= cost["interval"][1] <= high
    assert report["arms"]["repeat"]["metrics"]["repeated_instruction_tokens_per_conversation"] == 90
    assert report["arms"]["gatt"]["metrics"]["ttft_ms"] is None
    assert report["arms"]["gatt"]["adherence_by_turn"][0]["judged"] == 300
    assert report["checks"]["sample_ratio"] == {
        "observed": {"gatt": 300, "repeat": 300},
        "expected": {"gatt": 300.0, "repeat": 300.0},
        "p": 1.0,
        "ok": True,
    }
    assert {row["reason"] for row in report["left_out"]} == {"forced", "shadow"}
    (pair,) = report["shadows"]
    assert (pair["shown_arm"], pair["shadow_arm"], pair["turns"]) == ("gatt", "repeat", 1)
    (sentence,) = report["verdict"]
    assert sentence.startswith("gatt costs 30 % less per conversation than repeat [")


def test_too_few_conversations_are_said_with_how_many_more_it_takes(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "ledger.db")
    rng = random.Random(5)
    with engine.begin() as connection:
        for arm, count in (("gatt", 5), ("repeat", 25)):
            for index in range(count):
                for row in conversation(arm, index, rng, cost=0.001, drift=0.1, repeated=0):
                    connection.execute(turns.insert(), row.as_dict())
                at = "2026-01-01T00:00:00"
                one = Assignment(f"{arm}-{index}", "e", arm, at, "", "fixed", 0.5, EVEN, None, 1, 20, 50)
                connection.execute(assignments.insert(), asdict(one))
    said = make(engine, "e", "repeat")["verdict"][-1]
    engine.dispose()
    assert said == (
        "It is too early to compare gatt and repeat (gatt 5, repeat 25 conversations): that takes 20 of each. "
        "Run 15 more with gatt."
    )


def test_in_the_terminal_each_arm_has_its_adherence_as_a_line(ledger: Engine) -> None:
    found = make(ledger, "e")
    for one in found["arms"]["gatt"]["adherence_by_turn"]:
        one["share"] = (1.0, 0.5, 0.0)[(one["turn"] - 1) % 3]
    del found["arms"]["repeat"]["adherence_by_turn"][1]
    console = Console(width=100, file=io.StringIO(), color_system=None)
    for part in rendered(found):
        console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    _, _, curves = text.partition("Adherence turn by turn")
    lines = {line.split()[1]: line for line in curves.splitlines() if len(line.split()) > 1}
    assert "█▄▁█▄▁" in lines["gatt"]
    assert " 100% " in lines["gatt"]
    assert "0% (turn 3)" in lines["gatt"]
    held = lines["repeat"].split("│")[2].strip(" ")
    assert held[1] == " "
    assert len(held) == 6


@given(st.lists(st.none() | st.floats(0, 1), max_size=60))
def test_a_higher_share_never_stands_lower_in_the_line(shares: list[float | None]) -> None:
    line = sparkline(shares)
    assert len(line) == len(shares)
    assert [character == " " for character in line] == [share is None for share in shares]
    known = sorted((share, character) for share, character in zip(shares, line, strict=True) if share is not None)
    levels = [character for _, character in known]
    assert levels == sorted(levels)


def test_an_unknown_experiment_or_arm_is_named_with_what_there_is(ledger: Engine) -> None:
    assert make(ledger, None)["experiment"] == "e"
    with pytest.raises(NotFound, match="the ledger knows: e"):
        make(ledger, "f")
    with pytest.raises(NotFound, match="the arms are: gatt, repeat"):
        make(ledger, "e", "other")


@pytest.mark.parametrize("arguments", [["--experiment", "f"], ["--experiment", "e", "--baseline", "other"]])
def test_an_unknown_name_on_the_command_line_is_bad_usage(tmp_path: Path, arguments: list[str]) -> None:
    arms = '[experiments.e.arms.a]\nstrategy = "once"\nmodel = "echo"\n'
    with running(tmp_path, arms) as gateway:
        gateway.ask("Hi", x_conversation_id="c")
    done = CliRunner().invoke(main, ["report", "--config", str(tmp_path / "gattway.toml"), *arguments])
    assert done.exit_code == 2
    assert "Usage: " in done.output
    assert ("the ledger knows: e" if arguments[1] == "f" else "the arms are: a") in done.output


def bandit_conversation(arm: str, index: int, propensity: float, verdicts: list[bool]) -> tuple[list[Turn], Assignment]:
    rng = random.Random(index)
    rows = conversation(arm, index, rng, cost=0.001, drift=0.0, repeated=0)[:3]
    for row, adherent in zip(rows, verdicts, strict=True):
        row.request_id, row.conversation_id = f"bandit-{row.request_id}", f"bandit-{arm}-{index}"
        row.adherent = adherent
    at, weights = "2026-01-02T00:00:00", json.dumps({"gatt": propensity, "repeat": 1 - propensity})
    one = Assignment(
        f"bandit-{arm}-{index}", "e", arm, at, "", "thompson", propensity, weights, None, 1, 20, 50 + index % 7
    )
    return rows, one


def test_what_a_bandit_dealt_is_weighted_by_its_propensities_and_kept_apart(ledger: Engine, tmp_path: Path) -> None:
    """Early conversations were dealt evenly, late ones 9 to 1; adherence rose meanwhile, which weighting undoes."""
    plan = [(0.5, [True, False, False])] * 10 + [(0.9, [True, True, True])] * 18
    dealt = [bandit_conversation("gatt", index, p, verdicts) for index, (p, verdicts) in enumerate(plan)]
    dealt += [bandit_conversation("repeat", index, 0.5, [True, True, False]) for index in range(10)]
    engine = open_database(tmp_path / "bandit.db")
    with ledger.connect() as source, engine.begin() as connection:
        for table in (turns, assignments):
            connection.execute(table.insert(), [dict(row._mapping) for row in source.execute(table.select())])
        before = make(ledger, "e")
        connection.execute(turns.insert(), [row.as_dict() for rows, _ in dealt for row in rows])
        connection.execute(assignments.insert(), [asdict(one) for _, one in dealt])
    report = make(engine, "e")
    engine.dispose()
    found = report["bandit"]["arms"]
    assert report["bandit"]["horizon_turns"] == 3
    assert {arm: one["conversations"] for arm, one in found.items()} == {"gatt": 28, "repeat": 10}
    weights = {0.5: 10 / 0.5, 0.9: 18 / 0.9}
    hajek = (weights[0.5] * (1 / 3) + weights[0.9] * 1.0) / sum(weights.values())  # 2/3, where a plain mean has 0.76
    assert found["gatt"]["adherence"] == pytest.approx(hajek)
    assert found["repeat"]["adherence"] == pytest.approx(2 / 3)
    low, high = found["gatt"]["always_valid"]
    assert 0 <= low < hajek < high <= 1
    assert before["bandit"] is None
    assert report["arms"] == before["arms"]  # not one conversation of the bandit's is in the fixed-weight figures
    assert report["comparisons"] == before["comparisons"]
    assert report["checks"]["sample_ratio"] == before["checks"]["sample_ratio"]


def test_a_split_that_is_not_as_meant_stops_the_decision() -> None:
    from gateway.experiments.words import verdict

    p = statistics.sample_ratio_p({"a": 600, "b": 400}, {"a": 500.0, "b": 500.0})
    assert p is not None
    assert p < 1e-9
    ratio = {"observed": {"a": 600, "b": 400}, "expected": {"a": 500.0, "b": 500.0}, "p": p, "ok": False}
    said = verdict({"checks": {"sample_ratio": ratio, "crossover": {"conversations": 0, "ok": True}}, "arms": {}})
    assert said[0].startswith("Do not decide on this: the arms got a 600, b 400")
    assert statistics.sample_ratio_p({"a": 9}, {"a": 9.0}) is None


def test_crossovers_and_survivorship_are_said() -> None:
    from gateway.experiments.words import verdict

    ratio = {"observed": {"a": 9, "b": 9}, "expected": {"a": 9, "b": 9}, "p": 1.0, "ok": True}
    comparison = {"arm": "b", "baseline": "a", "differences": {}, "survival_differs": True}
    said = verdict(
        {
            "checks": {"sample_ratio": ratio, "crossover": {"conversations": 3, "ok": False}},
            "arms": {"a": {"conversations": 99}, "b": {"conversations": 99}},
            "comparisons": [comparison],
            "horizon_turns": 4,
        }
    )
    assert said[0].startswith("3 conversations were answered by more than one arm")
    assert "do not get equally long: late turns compare survivors" in said[-1]
    assert said[-1].endswith("at the horizon of 4 turns.")


def moments(n: int, adherent: float, judged: float) -> Moments:
    one = {"adherent": adherent, "judged": judged, "prompt_chars": 10.0}
    sums = {name: n * x for name, x in one.items()}
    return Moments(n, sums, {(a, b): n * one[a] * one[b] for a, b in ADHERENCE.pairs()})


def test_arms_that_never_failed_are_not_held_to_be_perfect_for_certain() -> None:
    found = statistics.compare(moments(50, 4, 4), moments(50, 4, 4), ADHERENCE, cuped=False)
    assert found is not None
    assert found.difference == pytest.approx(0)
    assert found.always_valid[0] < found.interval[0] < -0.02
    assert statistics.compare(moments(5, 4, 4), moments(50, 4, 4), ADHERENCE) is None


def test_a_relative_difference_that_could_be_anything_is_unknown_and_no_error() -> None:
    told = statistics.relative(0.1, (-0.2, 0.5), 0.1, 1.96)
    assert told is not None
    assert told[1][0] < 0.1 < told[1][1]
    assert statistics.relative(2.0, (-0.999_999_99, 50.0), 0.1, 1.96) is None
    assert statistics.relative(2.0, (-1.5, 5.5), 0.1, 1.96) is None


def test_more_conversations_bring_the_interval_to_the_wanted_width() -> None:
    found = statistics.compare(moments(50, 4, 4), moments(50, 4, 4), ADHERENCE, cuped=False)
    assert found is not None
    more = statistics.more_conversations(found, 100, 0.01, ADHERENCE.tau)
    error = found.standard_error * (100 / (100 + more)) ** 0.5
    assert statistics.always_valid_half(error, ADHERENCE.tau) == pytest.approx(0.01, rel=0.02)


def test_route_and_command_give_the_same_report(tmp_path: Path) -> None:
    arms = '[experiments.e.arms.a]\nstrategy = "once"\nmodel = "echo"\n'
    with running(tmp_path, arms) as gateway:
        gateway.ask("Hi", x_conversation_id="c")
        served = gateway.get("/api/report?experiment=e")
        assert gateway.get("/api/report?experiment=f")["error"]["code"] == "not_found"
    command = [sys.executable, "-m", "gateway", "report", "--config", str(tmp_path / "gattway.toml")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert {**printed, "created_at": ""} == {**served, "created_at": ""}
    assert printed["verdict"] == ["There is only one arm with conversations so far: nothing to compare."]
    table = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert "1 conversations" in table.stdout
