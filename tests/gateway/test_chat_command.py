"""`gattway chat`, as somebody runs it: a process, its input, its output."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from gateway.__main__ import main
from gateway.terminal.session import Turn
from gateway.terminal.talk import Screen, facts, harmless, window
from tests.gateway.conftest import Gateway
from tests.gateway.keyed import keyed

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def chat(url: str, *options: str, say: str = "") -> Result:
    return CliRunner().invoke(main, ["chat", "--gateway", url, *options], input=say)


def test_turns_with_their_figures_and_the_window_until_the_input_ends(gateway: Gateway) -> None:
    done = chat(gateway.url, "--model", "ab:repeat", "--instruction", "Say ahoy.", say="one\n\ntwo\n")
    assert done.exit_code == 0, done.stderr
    assert "You said: one" in done.stdout
    assert "repeat · turn 2 · " in done.stdout
    assert "of 1,000 tokens" in done.stdout
    assert "repeated" in done.stdout
    (sent,) = [body for body in gateway.upstream.bodies if "two" in str(body)]
    assert [message["role"] for message in sent["messages"]][-3:] == ["user", "assistant", "user"]


def test_commands_change_model_and_instruction_and_begin_anew(gateway: Gateway) -> None:
    said = (
        "/help\n/models\n/model nobody\n/model echo\nhello\n/instruction Be brief.\nhi\n/new\n/nonsense\n/quit\nnever\n"
    )
    done = chat(gateway.url, say=said)
    assert done.exit_code == 0
    assert "/model NAME" in done.stdout
    assert "ab:repeat" in done.stdout
    assert "the gateway has no model 'nobody'" in done.stdout
    assert "You said: hello" in done.stdout
    assert "There is no '/nonsense' here" in done.stdout
    assert "never" not in done.stdout
    first, second = gateway.upstream.bodies
    assert [message["role"] for message in first["messages"]] == ["user"]
    assert second["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_turn_that_fails_is_said_and_the_conversation_goes_on(gateway: Gateway) -> None:
    done = chat(gateway.url, "--model", "error-in-stream", say="one\n/model echo\ntwo\n")
    assert done.exit_code == 0
    assert "Out of memory." in done.stdout
    assert "You said: two" in done.stdout


def test_as_json_a_line_a_turn(gateway: Gateway) -> None:
    done = chat(gateway.url, "--model", "ab:once", "--json", say="one\n/help\n")
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert told["answer"] == "You said: one"
    assert told["arm"] == "once"
    assert told["turn"]["cost_usd"] > 0
    assert "/model NAME" in done.stderr


def test_a_model_that_is_not_there_and_a_gateway_that_is_not_there(gateway: Gateway) -> None:
    unknown = chat(gateway.url, "--model", "nobody")
    assert (unknown.exit_code, "it has: ab, ab:once" in unknown.stderr) == (2, True)
    away = chat("http://127.0.0.1:9")
    assert away.exit_code == 1
    assert "start one with: gattway serve" in away.stderr
    assert "Traceback" not in away.stderr
    assert chat("nonsense").exit_code == 2


def test_the_key_comes_from_a_file_and_one_that_opens_no_ledger_talks_all_the_same(tmp_path: Path) -> None:
    with keyed(tmp_path, {"user": ""}) as (gateway, secrets):
        refused = chat(gateway.url, say="one\n")
        assert refused.exit_code == 1
        assert "API key" in refused.stderr
        file = tmp_path / "key"
        file.write_text(secrets["user"] + "\n")
        done = chat(gateway.url, "--model", "ab:once", "--key-file", str(file), say="one\n")
        assert done.exit_code == 0
        assert "once · turn 1 · 1 token in" in done.stdout
        assert chat(gateway.url, "--key-file", str(tmp_path / "none")).exit_code == 2


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What runs in the background ignores SIGINT, and so would its children; a signal that is caught is theirs anew."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_breaks_an_answer_off_and_then_leaves_with_exit_code_0(gateway: Gateway) -> None:
    command = [sys.executable, "-m", "gateway", "chat", "--gateway", gateway.url, "--model", "slow"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("one\n")
        process.stdin.flush()
        assert process.stdout.read(1) == "Y"
        process.send_signal(signal.SIGINT)
        assert gateway.upstream.cancelled.wait(20)
        said = iter(process.stdout.readline, "")
        assert any("broken off" in line for line in said)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_what_a_model_writes_cannot_move_the_cursor() -> None:
    out = io.StringIO()
    Screen(Console(file=out, force_terminal=True, color_system=None)).piece("a\x1b[2J\x07b\x9b1m\nc")
    assert out.getvalue() == "a\\x1b[2J\\x07b\\x9b1m\nc"
    assert harmless("Grüße\t🐙") == "Grüße\t🐙"


def test_the_bar_shows_instruction_repetition_conversation_and_what_is_left() -> None:
    row = {
        "context_window": 100,
        "context_used": 50,
        "instruction_tokens": 10,
        "repeated_instruction_tokens": 20,
        "context_headroom_turns": 1,
    }
    bar = window([row])
    assert bar is not None
    assert bar.plain == "▕" + "█" * 20 + "·" * 20 + "▏ 50% of 100 tokens, 20 repeated, 1 turn left"
    assert [(span.end - span.start, span.style) for span in bar.spans][:3] == [
        (4, "magenta"),
        (8, "bright_magenta"),
        (8, "blue"),
    ]
    assert window([]) is None
    assert window([{**row, "context_window": None}]) is None


@pytest.mark.parametrize(("cost", "written"), [(None, None), (0.0, "$0"), (1.2e-5, "$0.0000120"), (0.0123, "$0.0123")])
def test_unknown_figures_are_left_out(cost: float | None, written: str | None) -> None:
    turn = Turn("hi", "", "", "", {"prompt_tokens": 1200, "completion_tokens": 3}, {"cost_usd": cost})
    assert list(facts("m", turn)) == ["m", "1,200 tokens in", "3 out", *([written] if written else [])]
