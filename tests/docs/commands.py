"""Command lines of the docs, held against the programs that they name, without running them."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import click
import yaml

from benchmarks.__main__ import main as benchmarks
from gateway.__main__ import main as gattway
from gatt.__main__ import main as gatt
from tests.docs.blocks import ROOT, Block

_OPERATORS = re.compile(r"[|&;<>()]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_REPOSITORY_FILE = re.compile(r"(?:deploy|docs|gatt|gateway|strategies|adherence|\.ci)/[\w./-]+\.\w+")
_MADE = {"--out", "-o", "--output"}


class Wrong(Exception):
    """A command that could not be given as it stands."""


def command_lines(block: Block) -> Iterator[str]:
    """The commands of a block; in one without a language the lines that begin with the name of a program."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    for line in text.splitlines():
        line = line.removeprefix("$ ") if block.language == "console" else line
        if line.strip() and not line.lstrip().startswith("#") and (block.language or _names_a_program(line)):
            yield line


def _names_a_program(line: str) -> bool:
    words = [word for word in line.split() if not _ASSIGNMENT.match(word)]
    return bool(words) and words[0].removeprefix(".venv/bin/") in PROGRAMS


def simple_commands(line: str) -> Iterator[list[str]]:
    """The commands that a shell line is made of, as words; redirections and assignments are left out.

    Raises:
        Wrong: the shell could not read the line.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    try:
        tokens = list(lexer)
    except ValueError as error:
        raise Wrong(f"no shell reads this: {error}") from error
    for token in [*tokens, ";"]:
        if skip:
            skip = False
        elif _OPERATORS.fullmatch(token):
            skip = token[0] in "<>"
            if not skip:
                yield from [words] if words else []
                words = []
        elif words or not _ASSIGNMENT.match(token):
            words.append(token)


def check(line: str, *, whole: bool = True) -> None:
    """Hold a command line against the programs in it; one that is not `whole` may lack arguments.

    Raises:
        Wrong: there is no such program, command, option, target, file, extra, …
    """
    for words in simple_commands(line):
        program = words[0].removeprefix(".venv/bin/")
        if program not in PROGRAMS:
            raise Wrong(f"unknown program {program!r}; tests/docs/commands.py lists those that the docs may use")
        outputs = {after for before, after in pairwise(words) if before in _MADE}
        for word in words[1:]:
            if _REPOSITORY_FILE.fullmatch(word) and word not in outputs and not (ROOT / word).exists():
                raise Wrong(f"there is no {word}")
        try:
            PROGRAMS[program](words[1:])
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError) as error:
            if whole:
                raise Wrong(error.format_message()) from error
        except click.UsageError as error:
            raise Wrong(error.format_message()) from error


def _click(command: click.Command) -> Callable[[list[str]], None]:
    def parse(arguments: list[str]) -> None:
        name, current, rest = "", command, arguments
        try:
            while True:
                context = current.make_context(name, list(rest))
                if not isinstance(current, click.Group):
                    return
                rest = [*getattr(context, "_protected_args", ()), *context.args]
                name, found, rest = current.resolve_command(context, rest)
                assert found is not None
                current = found
        except click.exceptions.Exit:
            return  # --help, --version

    return parse


def _python(arguments: list[str]) -> None:
    modules = {"benchmarks": _click(benchmarks), "gateway": _click(gattway), "gatt": _click(gatt)}
    match arguments:
        case ["-c", code, *_]:
            ast.parse(code)
        case ["-m", module, *rest] if module in modules:
            modules[module](rest)
        case ["-m", "pip" | "pytest" | "venv" | "http.server", *_]:
            pass
        case [script, *_] if "/" not in script or (ROOT / script).is_file():
            pass  # a file that its page shows, or one of the repository
        case _:
            raise Wrong(f"there is no {' '.join(arguments)}")


def _make(arguments: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    wanted = [one for one in arguments if not _ASSIGNMENT.match(one)]
    if unknown := set(wanted) - set(targets):
        raise Wrong(f"the Makefile has no target {', '.join(sorted(unknown))}")


@cache
def _extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["optional-dependencies"])


def _pip(arguments: list[str]) -> None:
    for requirement in arguments:
        named = re.fullmatch(r"(?:gattway|\.)\[([\w,]+)\]\S*", requirement)
        if named and (unknown := set(named[1].split(",")) - _extras()):
            raise Wrong(f"gattway has no extra {', '.join(sorted(unknown))}")


def _docker(arguments: list[str]) -> None:
    if arguments[:1] == ["compose"]:
        named = [after for before, after in pairwise(arguments) if before == "-f"]
        services = [yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["services"] for name in named]
        if named and not any(services):
            raise Wrong(f"{', '.join(named)} starts nothing")


def _accelerate(arguments: list[str]) -> None:
    if "-m" in arguments:
        _python(arguments[arguments.index("-m") :])


@dataclass
class Curl:
    """A request as a `curl` command says it."""

    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None

    @classmethod
    def read(cls, arguments: list[str]) -> Curl:
        """Raises `Wrong` for what is no request."""
        asked, rest = cls(), iter(arguments)
        for word in rest:
            if word in ("-d", "--data", "--json"):
                asked.body = _json(next(rest))
            elif word in ("-X", "--request"):
                asked.method = next(rest)
            elif word in ("-H", "--header"):
                name, _, value = next(rest).partition(":")
                asked.headers[name.strip()] = value.strip()
            elif word in ("-o", "--output", "-u", "--max-time"):
                next(rest)
            elif not word.startswith("-"):
                asked.url = word
        if not urlsplit(asked.url).hostname:
            raise Wrong(f"curl without an address: {asked.url!r}")
        asked.method = asked.method or ("GET" if asked.body is None else "POST")
        return asked


def _curl(arguments: list[str]) -> None:
    Curl.read(arguments)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Wrong(f"the body is no JSON: {error}") from error


def _export(assignments: list[str]) -> None:
    """Variables of gattway's own must be settings, or named in the settings' descriptions."""
    known = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    for name in (one.partition("=")[0] for one in assignments):
        key = name.removeprefix("GATTWAY_").lower().replace("__", ".")
        if name.startswith("GATTWAY_") and f"`{key}`" not in known and name not in known:
            raise Wrong(f"{name} is no setting")


def _elsewhere(arguments: list[str]) -> None:
    """A program that is not ours: that the line can be read is all that is looked at."""


OTHERS = ("apt-get", "cat", "cd", "cosign", "cp", "createdb", "diff", "git", "grep", "helm", "inspect", "jq", "kill")
OTHERS += ("kubectl", "llama-server", "llm", "ls", "mkdir", "mv", "ollama", "openssl", "pg_dump", "pip-audit", "podman")
OTHERS += ("promtool", "psql", "rm", "systemctl", "tar", "tee", "vllm")
PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "gattway": _click(gattway),
    "gatt": _click(gatt),
    "python": _python,
    "make": _make,
    "pip": _pip,
    "docker": _docker,
    "accelerate": _accelerate,
    "curl": _curl,
    "export": _export,
    **dict.fromkeys(OTHERS, _elsewhere),
}


def requests_to(line: str, address: str) -> Iterator[Curl]:
    """The requests of a line's `curl` commands to an address."""
    for words in simple_commands(line):
        if words[0] == "curl" and (asked := Curl.read(words[1:])).url.startswith(address):
            yield asked
