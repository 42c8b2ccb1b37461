"""The in-process engine against transformers' own `generate`, on a random model of the miniature's shape."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ContextLengthExceeded, UpstreamUnavailable
from gateway.upstreams.local import Generation, LocalModel, Piece, Sampling
from gateway.upstreams.local.text import TextStream
from tests.gateway.upstreams import local_models
from tests.gateway.upstreams.local_models import until

FORWARD = "gateway.upstreams.local.engine.forward"
GREEDY = Sampling(temperature=0, max_tokens=24, ignore_end=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return local_models.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    return model.eval()


@pytest.fixture
async def model(folder: Path) -> AsyncIterator[LocalModel]:
    model = LocalModel.load(folder, max_batch=4)
    yield model
    await model.close()


def prompt(length: int, start: int = 0) -> list[int]:
    """Tokens that repeat nothing early, the same for the same arguments."""
    return [5 + (start + 31 * place + place * place) % 1000 for place in range(length)]


def greedy_tokens(reference: Any, tokens: list[int], count: int) -> list[int]:
    import torch

    with torch.inference_mode():
        out = reference.generate(
            torch.tensor([tokens]),
            attention_mask=torch.ones(1, len(tokens)),
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
            eos_token_id=None,
        )
    answer: list[int] = out[0, len(tokens) :].tolist()
    return answer


class TokenTape:
    """Stands in for the text stream and keeps the tokens that the engine chose, in the order of the requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[list[int]] = []
        tape = self

        class Recorded(TextStream):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.tokens: list[int] = []
                tape.answers.append(self.tokens)

            def push(self, token: int) -> tuple[str, bool]:
                self.tokens.append(token)
                return super().push(token)

        monkeypatch.setattr("gateway.upstreams.local.engine.TextStream", Recorded)


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> TokenTape:
    return TokenTape(monkeypatch)


def watch_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """For each step of the engine, how many answers it went on with and how many prompt tokens it read."""
    from gateway.upstreams.local.attention import forward

    steps: list[tuple[int, int]] = []

    def watched(model: Any, tokens: Any, layout: Any, *rest: Any) -> Any:
        steps.append((layout.decoding, sum(chunk.length for chunk in layout.chunks)))
        return forward(model, tokens, layout, *rest)

    monkeypatch.setattr(FORWARD, watched)
    return steps


async def read(generation: Generation) -> Piece:
    """All pieces as one."""
    pieces = [piece async for piece in generation]
    text = "".join(piece.text for piece in pieces)
    return Piece(text, sum(p.tokens for p in pieces), pieces[-1].finish_reason, pieces[-1].cached_tokens)


async def test_concurrent_answers_equal_generate_token_for_token(
    model: LocalModel, reference: Any, tape: TokenTape
) -> None:
    prompts = [prompt(length, start) for start, length in enumerate((1, 7, 16, 90, 33, 700, 128))]
    answers = await asyncio.gather(*(read(model.generate(tokens, GREEDY)) for tokens in prompts))
    assert tape.answers == [greedy_tokens(reference, tokens, 24) for tokens in prompts]
    assert [answer.cached_tokens for answer in answers] == [0] * 7
    assert {answer.finish_reason for answer in answers} == {"length"}


async def test_reused_prefixes_change_no_token(model: LocalModel, reference: Any, tape: TokenTape) -> None:
    history = prompt(37)
    for turn in range(4):
        answers = await asyncio.gather(
            read(model.generate(history, GREEDY)), read(model.generate(prompt(50, turn), GREEDY))
        )
        assert tape.answers[-2] == greedy_tokens(reference, history, 24)
        # Prompt and answer of the turn before are held but for the last token, which was never fed.
        held = 0 if turn == 0 else len(history) - 9 - 1
        assert answers[0].cached_tokens == held // 16 * 16
        history = [*history, *tape.answers[-2], *prompt(9, 100 + turn)]


async def test_a_later_turn_reads_only_what_is_new(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = watch_steps(monkeypatch)
    for turn in range(1, 21):
        before = len(steps)
        await read(model.generate(prompt(45 * turn), replace(GREEDY, max_tokens=1)))
        assert sum(read_ for _, read_ in steps[before:]) <= 45 + 16


@pytest.mark.parametrize(
    ("shared", "length", "cached"), [(15, 40, 0), (16, 40, 16), (40, 40, 32), (33, 33, 32), (32, 32, 16)]
)
async def test_cached_tokens_follow_the_block_rule(model: LocalModel, shared: int, length: int, cached: int) -> None:
    first = prompt(100)
    await read(model.generate(first, replace(GREEDY, max_tokens=1)))
    again = first[:shared] + [1023 - token for token in first[shared:length]]
    assert (await read(model.generate(again, GREEDY))).cached_tokens == cached


async def test_the_store_stays_in_its_budget_and_forgets_the_oldest(folder: Path) -> None:
    block = 16 * 2 * 5 * 192 * 4  # tokens × (key, value) × layers × width × float32
    model = LocalModel.load(folder, cache_bytes=8 * block)
    one = replace(GREEDY, max_tokens=1)
    for start in (0, 1, 2):
        await read(model.generate(prompt(65, start), one))
    assert len(model._engine._store) == 8
    assert (await read(model.generate(prompt(65, 2), one))).cached_tokens == 64
    assert (await read(model.generate(prompt(65, 0), one))).cached_tokens == 0
    await model.close()


async def test_more_requests_than_slots_wait_in_line(model: LocalModel, reference: Any, tape: TokenTape) -> None:
    prompts = [prompt(10 + start, start) for start in range(11)]
    generations = [model.generate(tokens, GREEDY) for tokens in prompts]
    await until(lambda: model.active == 4)
    assert model.waiting > 0
    await asyncio.gather(*(read(generation) for generation in generations))
    assert tape.answers == [greedy_tokens(reference, tokens, 24) for tokens in prompts]
    assert (model.active, model.waiting) == (0, 0)


async def test_a_long_prompt_does_not_stop_the_tokens_of_others(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch_steps(monkeypatch)
    steady = model.generate(prompt(8), replace(GREEDY, max_tokens=900))
    await until(lambda: len(steps) > 1)
    await read(model.generate(prompt(900, 3), replace(GREEDY, max_tokens=1)))
    await steady.aclose()
    reading = [step for step in steps[1:] if step[1]]
    assert reading == [(1, 256)] * 3 + [(1, 132)]


async def test_slots_that_grow_keep_what_they_hold(
    folder: Path, reference: Any, tape: TokenTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.upstreams.local import kv

    monkeypatch.setattr(kv, "_FIRST_CAPACITY", 32)
    model = LocalModel.load(folder, max_batch=2)
    prompts = [prompt(20), prompt(50, 1)]
    await asyncio.gather(*(read(model.generate(tokens, GREEDY)) for tokens in prompts))
    assert tape.answers == [greedy_tokens(reference, tokens, 24) for tokens in prompts]
    assert model._engine._slots.capacity == 128
    await model.close()


async def test_the_window_ends_an_answer_with_length(model: LocalModel) -> None:
    answer = await read(model.generate(prompt(1000), Sampling(temperature=0, ignore_end=True)))
    assert (answer.tokens, answer.finish_reason) == (24, "length")


async def test_a_prompt_that_leaves_no_room_is_refused_with_its_figures(model: LocalModel) -> None:
    with pytest.raises(ContextLengthExceeded) as too_long:
        model.generate(prompt(1024), Sampling())
    assert (too_long.value.window, too_long.value.requested) == (1024, 1025)
    with pytest.raises(ContextLengthExceeded) as too_much:
        model.generate(prompt(1000), Sampling(max_tokens=25))
    assert (too_much.value.window, too_much.value.requested) == (1024, 1025)
    assert (await read(model.generate(prompt(1000), replace(GREEDY, max_tokens=24)))).tokens == 24


async def test_the_end_token_ends_an_answer_unsaid(folder: Path, reference: Any, tmp_path: Path) -> None:
    import shutil

    from transformers import GenerationConfig

    first, second = greedy_tokens(reference, prompt(20), 2)
    assert first != second
    changed = Path(shutil.copytree(folder, tmp_path / "ends"))
    settings: Any = GenerationConfig
    settings(eos_token_id=[second]).save_pretrained(changed)
    model = LocalModel.load(changed)
    answer = await read(model.generate(prompt(20), Sampling(temperature=0)))
    whole = await read(model.generate(prompt(20), replace(GREEDY, max_tokens=1)))
    assert (answer.tokens, answer.finish_reason) == (2, "stop")
    assert answer.text == whole.text
    await model.close()


@pytest.mark.parametrize("let_go", ["aclose", "consumer", "dropped"])
async def test_an_answer_let_go_frees_its_slot(model: LocalModel, let_go: str) -> None:
    generation: Generation | None = model.generate(prompt(30), replace(GREEDY, max_tokens=900))
    assert generation is not None
    await anext(generation)
    assert model.active == 1
    if let_go == "aclose":
        await generation.aclose()
    elif let_go == "consumer":
        reader = asyncio.create_task(read(generation))
        await asyncio.sleep(0)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        del reader
    generation = None
    gc.collect()
    async with asyncio.timeout(0.5):
        await until(lambda: model.active == 0)


async def test_what_a_cancelled_answer_computed_is_reused(model: LocalModel) -> None:
    generation = model.generate(prompt(100), replace(GREEDY, max_tokens=900))
    await anext(generation)
    generation.cancel()
    await until(lambda: model.active == 0)
    assert (await read(model.generate(prompt(100), GREEDY))).cached_tokens == 96


async def test_a_seed_gives_the_same_answer_whatever_runs_beside_it(model: LocalModel) -> None:
    sampling = Sampling(temperature=1.2, top_p=0.9, seed=7, max_tokens=32, ignore_end=True)
    alone = await read(model.generate(prompt(12), sampling))
    others = [replace(sampling, seed=None, top_p=1.0), replace(sampling, seed=8), GREEDY]
    together = await asyncio.gather(*(read(model.generate(prompt(12), each)) for each in (*others, sampling)))
    assert together[-1].text == alone.text
    assert together[1].text != alone.text
    other_choice = await read(model.generate(prompt(12), replace(sampling, choice=1)))
    assert other_choice.text != alone.text


async def test_a_failing_step_fails_its_requests_and_the_engine_lives_on(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("out of memory")

    before = await read(model.generate(prompt(40), GREEDY))
    monkeypatch.setattr(FORWARD, broken)
    generations = [model.generate(prompt(40), GREEDY) for _ in range(2)]
    for generation in generations:
        with pytest.raises(UpstreamUnavailable, match="out of memory"):
            await read(generation)
    monkeypatch.undo()
    after = await read(model.generate(prompt(40), GREEDY))
    assert after.text == before.text
    assert model.active == 0


async def test_closing_fails_what_still_runs(folder: Path) -> None:
    model = LocalModel.load(folder)
    generation = model.generate(prompt(30), replace(GREEDY, max_tokens=900))
    await anext(generation)
    await model.close()
    with pytest.raises(UpstreamUnavailable):
        await read(generation)
    with pytest.raises(UpstreamUnavailable):
        model.generate(prompt(30), GREEDY)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("qwen2", {"num_key_value_heads": 2}),
        ("mistral", {"num_key_value_heads": 2, "sliding_window": 20}),
        ("gemma2", {"num_key_value_heads": 2, "head_dim": 32, "sliding_window": 20, "num_hidden_layers": 4}),
        ("gpt_neox", {"tie_word_embeddings": False}),
    ],
)
async def test_other_architectures_answer_as_generate_does(
    architecture: str, changes: dict[str, Any], tmp_path: Path, tape: TokenTape
) -> None:
    from transformers import AutoModelForCausalLM

    folder = local_models.make(tmp_path, architecture=architecture, **changes)
    reference: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    reference.eval()
    model = LocalModel.load(folder)
    prompts = [prompt(length, length) for length in (5, 30, 60)]
    await asyncio.gather(*(read(model.generate(tokens, GREEDY)) for tokens in prompts))
    assert tape.answers == [greedy_tokens(reference, tokens, 24) for tokens in prompts]
    await model.close()
