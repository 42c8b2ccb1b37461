"""The demo against a fake gateway on a real socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks.__main__ import main
from tests.benchmarks.conftest import write_scripts
from tests.benchmarks.fake_gateway import FakeGateway

ARM_FIGURES = {
    "strategy",
    "model",
    "adherence_by_turn",
    "facts",
    "prompt_tokens_mean",
    "cached_tokens_mean",
    "completion_tokens_mean",
    "repeated_instruction_tokens_mean",
    "cost_usd_mean",
    "window_used_at_last_turn",
    "turns_until_full",
}
Held = tuple[FakeGateway, Result, dict[str, Any]]


def demo(gateway: FakeGateway, scripts: Path, out: Path, *more: str) -> Result:
    command = ["demo", "--gateway", gateway.url, "--scripts", str(scripts), "--out", str(out), *more]
    return CliRunner().invoke(main, command)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    """A finished demo of four conversations an arm, two of them held until the window of 250 words is full."""
    folder = tmp_path_factory.mktemp("demo")
    with FakeGateway() as gateway:
        result = demo(gateway, write_scripts(folder), folder, "--to-the-end", "2")
    assert result.exit_code == 0, result.output
    return gateway, result, json.loads((folder / "result.json").read_text(encoding="utf-8"))


def test_the_result_file_has_every_field_that_others_build_on(held: Held) -> None:
    result = held[2]
    assert {"schema_version", "created_at", "command", "machine", "packages", "seconds"} <= result.keys()
    assert (result["conversations"], result["turns"]) == (4, 20)
    assert list(result["arms"]) == ["gatt", "repeat", "untreated"]
    for arm in result["arms"].values():
        assert arm.keys() >= ARM_FIGURES
        assert len(arm["adherence_by_turn"]) == 20


def test_adherence_is_judged_from_the_replies(held: Held) -> None:
    arms = held[2]["arms"]
    assert arms["gatt"]["adherence_by_turn"] == [1.0] * 20
    assert arms["repeat"]["adherence_by_turn"] == [1.0] * 20
    assert arms["untreated"]["adherence_by_turn"] == [1.0] + [0.0] * 19
    assert {arm["facts"] for arm in arms.values()} == {1.0}


def test_tokens_and_cost_come_from_the_ledger_and_stop_at_turn_20(held: Held) -> None:
    gateway, _, result = held
    rows = [row for rows in gateway.rows.values() for row in rows if row["arm"] == "repeat" and row["turn"] <= 20]
    repeat = result["arms"]["repeat"]
    assert repeat["prompt_tokens_mean"] == sum(row["prompt_tokens"] for row in rows) / 4
    assert repeat["repeated_instruction_tokens_mean"] == 2 * sum(range(20))
    assert repeat["cost_usd_mean"] == pytest.approx(sum(row["cost_usd"] for row in rows) / 4)
    assert result["price_usd_per_million"] == {"input": 1.0, "cached": 0.1, "output": 4.0}


def test_conversations_held_to_the_end_show_when_the_window_is_full(held: Held) -> None:
    gateway, _, result = held
    refused = {
        row["arm"]: row["turn"] - 1 for rows in gateway.rows.values() for row in rows if row["http_status"] == 400
    }
    assert {name: arm["turns_until_full"] for name, arm in result["arms"].items()} == refused
    assert refused["repeat"] < refused["gatt"]
    assert result["turns_until_full_measured_on"] == 2


def test_each_script_meets_every_arm_once_and_the_gateway_deals_the_first(held: Held) -> None:
    gateway = held[0]
    models = {request["conversation_id"]: request["model"] for request in gateway.requests}
    assert sorted(models.values()).count("gatt-vs-repeat") == 4
    assert sorted(models.values()).count("gatt-vs-repeat:untreated") == 4
    assert len(models) == len(gateway.rows) == 12
    for number in range(4):
        of_script = [rows[0]["arm"] for name, rows in gateway.rows.items() if f"attributes-{number:03}" in name]
        assert sorted(of_script) == ["gatt", "repeat", "untreated"]


def test_the_client_resends_its_whole_history_and_the_instruction_as_system_message(held: Held) -> None:
    request = max(held[0].requests, key=lambda request: len(request["messages"]))
    roles = [message["role"] for message in request["messages"]]
    assert roles == ["system", *(["user", "assistant"] * (len(roles) // 2))][: len(roles)]
    assert (request["stream"], request["temperature"]) == (True, 0)


def test_the_table_and_the_conclusion_state_what_was_measured(held: Held) -> None:
    output, arms = " ".join(held[1].output.split()), held[2]["arms"]
    more = arms["repeat"]["prompt_tokens_mean"] - arms["gatt"]["prompt_tokens_mean"]
    assert f"Repeating cost {more:,.0f} more prompt tokens per conversation" in output
    assert "gatt: once on mini-gatt" in output
    assert "1 input, 0.1 cached, 4 output" in output
    assert "\033" not in output


def test_the_plot_is_written_as_png_and_its_place_printed(held: Held) -> None:
    plot = held[1].output.partition("Plot:")[2].split()[0]
    assert Path(plot).read_bytes().startswith(b"\x89PNG")


def test_a_window_that_is_full_before_turn_20_leaves_the_later_turns_unknown(scripts: Path, tmp_path: Path) -> None:
    with FakeGateway(window=80) as gateway:
        result = demo(gateway, scripts, tmp_path, "--json")
    assert result.exit_code == 0, result.output
    arm = json.loads(result.output)["arms"]["repeat"]
    assert arm["adherence_by_turn"][-1] is None
    assert arm["answers_by_turn"][-1] == 0
    assert arm["turns_until_full"] < 20


def test_a_refused_request_ends_the_demo_with_its_reason(scripts: Path, tmp_path: Path) -> None:
    with FakeGateway(fail_at_turn=3) as gateway:
        result = demo(gateway, scripts, tmp_path / "demo")
    assert result.exit_code == 1
    assert "model is gone" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("dealt", ["untreated", "anew at every turn"])
def test_a_gateway_that_deals_arms_wrongly_is_reported(scripts: Path, tmp_path: Path, dealt: str) -> None:
    with FakeGateway(dealt=dealt) as gateway:
        result = demo(gateway, scripts, tmp_path)
    assert result.exit_code == 1
    assert "UnexpectedArm" in result.output


def test_a_gateway_that_is_not_there_is_reported(scripts: Path, tmp_path: Path) -> None:
    with FakeGateway() as gateway:
        pass
    result = demo(gateway, scripts, tmp_path)
    assert result.exit_code == 1
    assert "APIConnectionError" in result.output


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("{", "not a script"),
        ("{}", "needs 'id'"),
        (
            '{"id": "a", "split": "b", "families": [], "instruction": null, "turns": [], "checks": [{"kind": "x"}]}',
            "'x'",
        ),
    ],
)
def test_a_script_that_cannot_be_read_is_named_by_file_and_line(tmp_path: Path, line: str, remedy: str) -> None:
    path = tmp_path / "scripts.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["demo", "--scripts", str(path)])
    assert result.exit_code == 2
    assert f"{path}:1" in "".join(result.output.split("\n"))
    assert remedy in " ".join(result.output.split())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_starts_the_real_gateway_and_compares_the_embedded_models(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--conversations", "1", "--to-the-end", "0", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    arms = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["arms"]
    assert {name: (arm["strategy"], arm["model"]) for name, arm in arms.items()} == {
        "gatt": ("once", "mini-gatt"),
        "repeat": ("every-turn", "mini-base"),
        "untreated": ("once", "mini-base"),
    }
    assert arms["gatt"]["repeated_instruction_tokens_mean"] == 0
    assert arms["repeat"]["repeated_instruction_tokens_mean"] > 0
    assert all(arm["prompt_tokens_mean"] > 0 and arm["cost_usd_mean"] > 0 for arm in arms.values())
