"""What a provider's prefix cache holds of a prompt, by rule.

A rule reads an `Overlap`: how much of this prompt is the same, token for token, as what the model has read and written
in the turn before. `gateway.accounting.cache_table` says which rule goes for which provider and model, since when, and
where that is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Overlap(NamedTuple):
    """A prompt beside that of the turn before, in tokens.

    Attributes:
        prompt_tokens: the whole prompt.
        read_before: as much of its beginning as was in the prompt of the turn before.
        known_before: the same, with the answer of that turn behind it: what an engine still holds that keeps what it
            has generated. At least `read_before`.
        prompt_before: the whole prompt of the turn before; 0 at the first turn.
        marks: where the client marked this prompt for the provider's cache: lengths of the marked prefixes, ascending.
        marks_before: the same of the prompt before.
    """

    prompt_tokens: int
    read_before: int = 0
    known_before: int = 0
    prompt_before: int = 0
    marks: tuple[int, ...] = ()
    marks_before: tuple[int, ...] = ()

    def behind(self, tokens: int) -> Overlap:
        """The same with `tokens` more at the head of both prompts (tool definitions, which come first)."""
        if not tokens:
            return self
        before = tokens if self.prompt_before else 0
        return Overlap(
            self.prompt_tokens + tokens,
            self.read_before + before,
            self.known_before + before,
            self.prompt_before + before,
            tuple(mark + tokens for mark in self.marks),
            tuple(mark + tokens for mark in self.marks_before),
        )

    def scaled(self, factor: float) -> Overlap:
        """The same by a tokenizer that makes `factor` times as many tokens of a text."""
        if factor == 1:
            return self
        if not self.prompt_before and not self.marks:
            return Overlap(round(self.prompt_tokens * factor))
        return Overlap(
            round(self.prompt_tokens * factor),
            round(self.read_before * factor),
            round(self.known_before * factor),
            round(self.prompt_before * factor),
            tuple(round(mark * factor) for mark in self.marks),
            tuple(round(mark * factor) for mark in self.marks_before),
        )


class Cached(NamedTuple):
    """Prompt tokens by how they are billed: `read` from the cache, `written` to it; the rest is fresh."""

    read: int = 0
    written: int = 0


class CacheRule(Protocol):
    """How a provider's cache works. `name` goes into the ledger; `steps` is the grain of its reads in tokens;
    `by_report` says that the rule holds only for answers that report what was cached."""

    @property
    def name(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def reads_marks(self) -> bool: ...
    @property
    def by_report(self) -> bool: ...
    def cached(self, overlap: Overlap) -> Cached:
        """What the cache gives and takes in a turn, when nothing has been evicted."""
        ...


@dataclass(frozen=True, slots=True)
class NoCache:
    """Nothing is cached."""

    name: str = "none"
    steps: int = 1
    reads_marks: bool = False
    by_report: bool = False

    def cached(self, overlap: Overlap) -> Cached:
        """See `CacheRule.cached`."""
        return Cached()


@dataclass(frozen=True, slots=True)
class Observed:
    """A cache whose rule is not known: of what could be reused, the share that the answer reports."""

    name: str = "observed"
    steps: int = 1
    reads_marks: bool = False
    by_report: bool = True

    def cached(self, overlap: Overlap) -> Cached:
        """See `CacheRule.cached`; all that could be reused."""
        return Cached(read=max(0, min(overlap.known_before, overlap.prompt_tokens - 1)))


@dataclass(frozen=True, slots=True)
class Blocks:
    """vLLM and engines like it: chained hashes of whole blocks, of what was generated too.

    The last token of a prompt is always computed anew, for its logits are wanted
    (https://docs.vllm.ai/en/latest/design/prefix_caching/).
    """

    steps: int = 16
    reads_marks: bool = False
    by_report: bool = False

    @property
    def name(self) -> str:
        """`blocks-16` and the like."""
        return f"blocks-{self.steps}"

    def cached(self, overlap: Overlap) -> Cached:
        """See `CacheRule.cached`."""
        known = min(overlap.known_before, overlap.prompt_tokens - 1)
        return Cached(read=max(0, known) // self.steps * self.steps)


@dataclass(frozen=True, slots=True)
class Steps:
    """OpenAI before GPT-5.6: prompts from a minimum on, in steps beyond it; writing is free."""

    minimum: int = 1024
    steps: int = 128
    reads_marks: bool = False
    by_report: bool = False

    @property
    def name(self) -> str:
        """`steps-1024-128` and the like."""
        return f"steps-{self.minimum}-{self.steps}"

    def cached(self, overlap: Overlap) -> Cached:
        """See `CacheRule.cached`."""
        beyond = overlap.read_before - self.minimum
        return Cached() if beyond < 0 else Cached(read=self.minimum + beyond // self.steps * self.steps)


@dataclass(frozen=True, slots=True)
class Breakpoints:
    """Anthropic, and OpenAI from GPT-5.6 on: prefixes are written and read at breakpoints only.

    Args:
        minimum: shorter prefixes are not cached.
        automatic: the provider sets a breakpoint behind the last message; else the client's marks alone count.
    """

    minimum: int
    automatic: bool
    steps: int = 1
    reads_marks: bool = True
    by_report: bool = False

    @property
    def name(self) -> str:
        """`breakpoints-1024` or, with one behind the last message, `breakpoints-1024-automatic`."""
        return f"breakpoints-{self.minimum}{'-automatic' if self.automatic else ''}"

    def cached(self, overlap: Overlap) -> Cached:
        """See `CacheRule.cached`."""
        points, before = overlap.marks, overlap.marks_before
        if self.automatic:
            points, before = (*points, overlap.prompt_tokens), (*before, overlap.prompt_before)
        end = max(points, default=0)
        if end < self.minimum:
            return Cached()
        found = (point for point in before if self.minimum <= point <= min(overlap.read_before, end))
        read = max(found, default=0)
        return Cached(read=read, written=end - read)
