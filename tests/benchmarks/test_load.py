"""`python -m benchmarks load`: real servers under a little load, and the arithmetic on made-up rounds."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.load import candidates, effort, installed, report, runner, streams, summary
from benchmarks.load.processes import Command, running, wait_until_answering
from benchmarks.load.request import Request, chat
from benchmarks.load.runner import Row
from benchmarks.load.sections import Figures
from benchmarks.load.upstreams import MissingTool, tool
from benchmarks.server import ServerFailed, free_port

TINY = replace(effort.QUICK, window_s=0.2, open_loop_s=0.2, open_loop_tokens=4, rates_per_s=(40,))


def needs(*names: str) -> None:
    for name in names:
        try:
            tool(name)
        except MissingTool as error:
            pytest.skip(str(error))


@pytest.fixture
def paced(tmp_path: Path) -> Iterator[int]:
    """The paced upstream's port."""
    port = free_port()
    command = Command([sys.executable, "-m", "benchmarks.load.paced", "--port", str(port), "--per-second", "100"], {})
    with running(command, tmp_path, "paced", None) as process:
        first = Request(port, "/v1/chat/completions", *chat("m", stream=True, tokens=1))
        wait_until_answering(process, first)
        yield port


def test_paced_tokens_arrive_at_their_pace_and_connections_are_used_again(paced: int) -> None:
    request = Request(paced, "/v1/chat/completions", *chat("m", stream=True, tokens=8))
    figures = streams.run(request, [0.0, 0.02, 0.3], 20.0, None)
    assert (figures["finished"], figures["failed"]) == (3, 0)
    assert 5 <= figures["gap_ms"]["p50"] <= 60
    assert figures["ttft_ms"]["p50"] < 1000


def test_streams_that_do_not_end_in_time_are_given_up(paced: int) -> None:
    request = Request(paced, "/v1/chat/completions", *chat("m", stream=True, tokens=10_000))
    with pytest.raises(ServerFailed, match="none of 2 streams came to its end"):
        streams.run(request, [0.0, 0.0], 0.2, None)


def test_what_refuses_is_told_with_its_own_words(tmp_path: Path) -> None:
    port = free_port()
    program = f"""
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(500 if b"stream" in self.requestline.encode() else 200)
        self.end_headers()
        self.wfile.write(b"went wrong")
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""
    with running(Command([sys.executable, "-c", program], {}), tmp_path, "refuses", None) as process:
        wait_until_answering(process, Request(port, "/", *chat("m")))
        with pytest.raises(ServerFailed, match="500"):
            streams.run(Request(port, "/stream", *chat("m", stream=True)), [0.0], 5.0, None)


def test_a_server_and_all_that_it_started_are_gone_after_the_block(tmp_path: Path) -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with running(Command([sys.executable, "-c", program], {}), tmp_path, "parent", None) as process:
        while len(process.tree()) < 2:
            process.check()
        pids = process.tree()
        assert process.rss_mb() > 1
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "still alive"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether it still runs; one that its new parent has not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_server_that_stops_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = Command([sys.executable, "-c", "import sys; sys.exit('no such model')"], {})
    with (
        running(command, tmp_path, "stops", None) as process,
        pytest.raises(ServerFailed, match="exit code 1: no such model"),
    ):
        wait_until_answering(process, Request(free_port(), "/", *chat("m")))


@pytest.mark.slow
def test_the_command_measures_side_by_side_and_says_whom_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("nginx", "wrk")

    def out_of_reach() -> candidates.Ready:
        raise installed.Unavailable("LiteLLM could not be installed; is the registry within reach?")

    monkeypatch.setitem(candidates.CANDIDATES, "litellm", out_of_reach)
    monkeypatch.setattr("benchmarks.load.command.QUICK", TINY)
    chosen = ["--candidates", "gattway,litellm,bare,direct", "--sections", "whole,open_loop"]
    done = CliRunner().invoke(main, ["load", "--quick", *chosen, "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "load.json").read_text(encoding="utf-8"))
    assert not result["failed"]
    assert result["skipped"] == {"litellm": "LiteLLM could not be installed; is the registry within reach?"}
    assert set(result["candidates"]) == {"gattway", "bare", "direct"}
    assert {"schema_version", "created_at", "command", "machine", "packages", "ratios"} <= result.keys()
    assert result["candidates"]["gattway"]["whole"]["requests_per_s"]["median"] > 1
    added = result["candidates"]["bare"]["open_loop"]["40"]
    assert added["failed"]["median"] == 0
    assert added["added_ttft_p50_ms"]["median"] == pytest.approx(
        added["ttft_p50_ms"]["median"] - result["candidates"]["direct"]["open_loop"]["40"]["ttft_p50_ms"]["median"],
        abs=1e-3,
    )
    assert result["ratios"]["requests_vs_bare"] > 0
    assert result["ratios"]["requests_vs_litellm"] is None
    assert "Left out: litellm" in (tmp_path / "load.md").read_text(encoding="utf-8")
    assert (tmp_path / "load-throughput.png").read_bytes().startswith(b"\x89PNG")


def quick(requests_per_s: float, per_processor_s: float) -> Figures:
    return {"requests_per_s": requests_per_s, "requests_per_processor_s": per_processor_s, "p99_ms": 5.0}


def rows() -> list[Row]:
    """Two rounds, in the second of which the machine was half as quick."""
    found, ended = [], {"finished": 1000, "failed": 0}
    for round_, speed in ((0, 1.0), (1, 0.5)):
        for name, requests, streams_ in (("gattway", 4000, 3000), ("litellm", 100, 10), ("bare", 8000, 6000)):
            found += [
                Row("whole", round_, name, None, quick(requests * speed, requests)),
                Row("streamed", round_, name, None, {"streams_per_s": streams_ * speed}),
            ]
        found += [
            Row("history", round_, "gattway", 4, {"requests_per_s": 3000 * speed}),
            Row("history", round_, "gattway", 400, {"requests_per_s": 1000 * speed}),
            Row("concurrent", round_, "gattway", 1000, {**ended, "gap_p99_ms": 25.0 + round_, "ttft_p50_ms": 3.0}),
            Row("concurrent", round_, "direct", 1000, {**ended, "gap_p99_ms": 21.0, "ttft_p50_ms": None}),
        ]
    return [*found, Row("memory", 0, "litellm", None, {}, "ServerFailed: it stopped\nat once")]


def test_ratios_are_of_one_round_so_that_a_slow_machine_cancels_out() -> None:
    found = summary.summarize(rows(), dict.fromkeys(("gattway", "litellm", "bare", "direct"), "1.0"))
    assert found["ratios"] == {
        "requests_vs_litellm": 40,
        "streams_vs_litellm": 300,
        "requests_vs_portkey": None,
        "streams_vs_portkey": None,
        "requests_vs_bare": 0.5,
        "streams_vs_bare": 0.5,
        "two_workers_vs_one": None,
        "history_400_vs_4": 3,
    }
    assert found["processor_ratio_spreads"]["requests_vs_bare"]["rounds"] == [0.5, 0.5]
    requests = found["candidates"]["gattway"]["whole"]["requests_per_s"]
    assert requests == {"median": 3000, "min": 2000, "max": 4000, "rounds": [4000, 2000]}


def test_what_is_added_is_against_the_upstream_in_the_same_round() -> None:
    found = summary.summarize(rows(), dict.fromkeys(("gattway", "litellm", "bare", "direct"), "1.0"))
    figures = found["candidates"]["gattway"]["concurrent"]["1000"]
    assert figures["added_gap_p99_ms"]["rounds"] == [4, 5]
    assert "added_ttft_p50_ms" not in figures


def test_goals_say_what_was_reached_and_what_was_not_measured() -> None:
    found = summary.summarize(rows(), dict.fromkeys(("gattway", "litellm", "bare", "direct"), "1.0"))
    reached = {one["what"]: one["reached"] for one in found["goals"]}
    assert reached["requests/s against LiteLLM's proxy"] is True
    assert reached["added gap between tokens, p99, 1,000 paced streams"] is True
    assert reached["start to first answer"] is None
    faster = [replace(one, figures={"requests_per_s": 9000.0}) if one.candidate == "bare" else one for one in rows()]
    slower = summary.summarize(faster, dict.fromkeys(("gattway", "litellm", "bare", "direct"), "1.0"))
    assert {one["what"]: one["reached"] for one in slower["goals"]}["requests/s against the bare relay"] is False


def test_the_report_gives_spreads_and_what_failed() -> None:
    found = summary.summarize(rows(), dict.fromkeys(("gattway", "litellm", "bare", "direct"), "1.0"))
    text = report.markdown(
        {
            "command": "python -m benchmarks load",
            "created_at": "2026-01-02T03:04:05+00:00",
            "machine": {"processor": "a processor", "cores": 2, "python": "3.11.0", "system": "Linux 6"},
            "cores": {"server": 0, "second": 1, "load": 1},
            "load_average_before": [0.5, 0.25, 0.1],
            "tools": {"nginx": "1.22.1", "wrk": "4.1.0"},
            "rounds": 2,
            "skipped": {"portkey": "no Node"},
            **found,
        }
    )
    assert "| gattway | 3,000 [2,000, 4,000] | 4,000 [4,000, 4,000] |" in text
    assert "| 1000 | gattway | – | – | – | – | 4.50 [4.00, 5.00] | – | 0 |" in text
    assert "Left out: portkey (no Node)." in text
    assert "litellm, memory: ServerFailed: it stopped" in text
    assert "Servers on core 0, load and upstreams on core 1." in text


def test_a_registry_out_of_reach_is_said_with_what_npm_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is missing (Debian: apt-get install npm)")
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{free_port()}/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    with pytest.raises(installed.Unavailable, match=r"Portkey's gateway could not be installed; is the registry"):
        installed.portkey(tmp_path / "portkey")


def test_without_node_portkey_is_said_to_need_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(installed.Unavailable, match="apt-get install nodejs npm"):
        installed.portkey(tmp_path / "portkey")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--candidates", "gattway,nobody"), ("--sections", "speed"), ("--sections", ","), ("--rounds", "0")],
)
def test_a_name_that_is_unknown_is_a_usage_error(option: str, value: str) -> None:
    done = CliRunner().invoke(main, ["load", option, value])
    assert done.exit_code == 2
    assert option in done.output


def test_a_step_is_counted_for_every_figure() -> None:
    assert runner.steps(effort.FULL, ["gattway", "direct"], ["whole", "history", "memory", "workers"]) == (
        3 * 2 + 3 * 3 * 2 + 1 + 3 * 2
    )
