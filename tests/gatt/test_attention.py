"""The attention map is the model's own attention, whatever the block, and finds the instruction's share of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from gatt import attention
from gatt.__main__ import main
from gatt.miniature import scripts
from tests.gatt import chat_models

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "gateway" / "embedded"


def dialogue(turns: int = 3) -> list[dict[str, str]]:
    script = scripts.draw("tuned", 1, turns, (), "test")[0]
    said = [turn.answer or "" for turn in script.turns]
    return [*script.messages(said[:-1]), {"role": "assistant", "content": said[-1]}]


@pytest.mark.slow
def test_the_map_and_the_share_are_those_of_the_models_whole_attention(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    import torch

    where = attention.layout(tokenizer, dialogue())
    found = attention.measure(model, where, block=16, bins=9)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        layers = torch.stack(model(input_ids=torch.tensor([where.ids]), output_attentions=True).attentions)[:, 0]
    top, width = layers.amax((0, 1)), found.bin_tokens
    for row in range(0, len(where.ids), width):
        for column in range(0, len(where.ids), width):
            expected = float(top[row : row + width, column : column + width].max())
            assert found.peaks[row // width, column // width] == pytest.approx(expected, abs=1e-6)
    (start, end), answer = where.instruction[0], where.answers[1]
    asked = layers[:, :, answer[0] - 1 : answer[1] - 1]
    share = asked[..., max(start, 1) : end].sum() / asked[..., 1:].sum()
    assert found.share_by_turn[1] == pytest.approx(float(share), rel=1e-4)


@pytest.mark.slow
def test_the_block_changes_nothing_and_the_model_is_left_as_it_was(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    where = attention.layout(tokenizer, dialogue())
    before = model.config._attn_implementation
    small, whole = (attention.measure(model, where, block=block) for block in (8, 4096))
    assert small.peaks == pytest.approx(whole.peaks, abs=1e-6)
    assert small.share_by_turn == pytest.approx(whole.share_by_turn, rel=1e-4)
    assert model.config._attn_implementation == before
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", chat_models.KINDS)
def test_instruction_and_answers_are_found_under_every_template(name: str) -> None:
    tokenizer = chat_models.tokenizer(name)
    messages = [{"role": "system", "content": "Be Oscar."}]
    for turn in ("One", "Two"):
        messages += [{"role": "user", "content": f"{turn}?"}, {"role": "assistant", "content": f"{turn}."}]
    where = attention.layout(tokenizer, messages)
    assert [tokenizer.decode(where.ids[start:end]) for start, end in where.instruction] == ["Be Oscar."]
    assert [tokenizer.decode(where.ids[start:end]) for start, end in where.answers] == ["One.", "Two."]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma", "qwen-3", "mistral"])
def test_other_architectures_are_measured_too(name: str) -> None:
    tokenizer = chat_models.tokenizer(name)
    messages = [{"role": "system", "content": "Be Oscar."}, {"role": "user", "content": "One?"}]
    where = attention.layout(tokenizer, [*messages, {"role": "assistant", "content": "One."}])
    found = attention.measure(chat_models.model(name, tokenizer), where)
    assert 0 < (found.share_by_turn[0] or 0) < 1


def test_what_cannot_be_mapped_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(attention.AttentionError, match="stands nowhere"):
        attention.layout(tokenizer, dialogue()[1:], "Never said.")
    silent = chat_models.tokenizer("chatml")
    silent.chat_template = "{% for m in messages %}{{ m.role }}{% endfor %}"
    with pytest.raises(attention.AttentionError, match="leaves out"):
        attention.layout(silent, dialogue())


def test_a_dialogue_longer_than_the_window_is_refused(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    where = attention.layout(tokenizer, dialogue(90))
    with pytest.raises(attention.AttentionError, match="window 1024; give fewer turns"):
        attention.measure(model, where)


# Not by getrusage: its peak counts what the parent held when it forked.
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak memory is read from Linux's /proc")
def test_the_command_draws_two_embedded_models_within_a_gigabyte(tmp_path: Path) -> None:
    script = next(one for one in scripts.draw("unseen_attributes", 1, 44, (), "test"))
    said = [turn.answer or "" for turn in script.turns]
    messages = [*script.messages(said[:-1]), {"role": "assistant", "content": said[-1]}]
    (tmp_path / "d.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    code = (
        "import pathlib, sys\nfrom gatt.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n"
        "    status = pathlib.Path('/proc/self/status').read_text()\n"
        "    print(int(status.split('VmHWM:')[1].split()[0]) // 1024, file=sys.stderr)\n"
    )
    arguments = ["attention", "--base", str(EMBEDDED / "mini-base"), "--tuned", str(EMBEDDED / "mini-gatt"),
                 "--dialogue", str(tmp_path / "d.jsonl"), "--out", str(tmp_path / "a.png"), "--json"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=110,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.splitlines()[-1]) < 1000
    told = json.loads(done.stdout)
    assert 700 < told["tokens"] <= 1024
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / "a.json").read_text())
    assert set(numbers["models"]) == {"mini-base", "mini-gatt"}
    base, tuned = (numbers["models"][name]["instruction_peak_by_turn"] for name in ("mini-base", "mini-gatt"))
    assert tuned[9] > 2 * base[9]


def test_a_command_without_models_or_with_an_unknown_dialogue_is_bad_usage(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["attention"])
    assert done.exit_code == 2
    assert "give a RECIPE" in done.output
