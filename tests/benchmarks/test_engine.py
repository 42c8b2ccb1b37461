"""The engine's own measurement, run from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import engine, engine_serving
from benchmarks.__main__ import main
from benchmarks.server import ServerFailed
from benchmarks.stub import stub

RESULT = {
    "model": "mini",
    "command": "python -m benchmarks engine",
    "created_at": "2026-01-02T03:04:05+00:00",
    "machine": {"processor": "a processor", "cores": 2, "python": "3.11.0"},
    "prompt_tokens": 300,
    "new_tokens": 100,
    "throughput": [
        {
            "streams": 16,
            "tokens_per_second": 1234.5,
            "generate_tokens_per_second": 1000.0,
            "ratio": 1.2345,
            "ratio_min": 1.1,
            "ratio_max": 1.3,
        }
    ],
    "serving": [
        {
            "streams": 4,
            "gateway_tokens_per_second": 2000.0,
            "transformers_serve_tokens_per_second": 500.0,
            "ratio": 4.0,
            "ratio_min": 3.5,
            "ratio_max": 4.5,
        }
    ],
    "first_token": [
        {"turn": turn, "prompt_tokens": 30 * turn, "ttft_ms": 9.6, "ttft_without_reuse_ms": 20.0} for turn in (1, 3, 20)
    ],
}


def test_the_report_states_ratio_spread_machine_and_command() -> None:
    report = engine.markdown(RESULT)
    assert "| 16 | 1,234 | 1,000 | 1.23 [1.10, 1.30] |" in report
    assert "| 4 | 2,000 | 500 | 4.00 [3.50, 4.50] |" in report
    assert "| 20 | 600 | 10 | 20 |" in report
    assert "| 3 | 90 |" not in report
    assert "`python -m benchmarks engine` on 2026-01-02 (a processor, 2 cores, Python 3.11.0)" in report


async def test_tokens_are_counted_as_the_server_counts_them() -> None:
    with stub() as url:
        bodies = [{"model": "m", "messages": []}] * 3
        assert await engine_serving.tokens_per_second(url, bodies) > 12 / engine_serving.TIMEOUT_S


async def test_an_answer_that_failed_is_no_token() -> None:
    with stub() as url, pytest.raises(ServerFailed, match="status 404"):
        await engine_serving.tokens_per_second(f"{url}/nowhere", [{"model": "m"}])


@pytest.mark.slow
def test_a_folder_without_a_model_is_named_without_a_traceback(tmp_path: Path) -> None:
    command = ["engine", "--folder", str(tmp_path), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert str(tmp_path) in "".join(result.output.split("\n"))
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()
