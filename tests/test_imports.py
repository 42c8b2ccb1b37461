"""Imports go one way: adherence ← strategies ← gateway; adherence, strategies ← gatt; benchmarks speaks HTTP.

Read from the source with `ast`, so that nothing has to be imported and no import hidden in a function escapes.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Package → prefixes of this project's modules that it may import, besides itself.
MAY_IMPORT = {
    "adherence": (),
    "strategies": ("adherence",),
    "gateway": ("adherence", "strategies"),
    "gatt": ("adherence", "strategies"),
    "benchmarks": (
        *("adherence", "strategies", "gateway.accounting"),
        "gateway.experiments.statistics",  # what `statistics` simulates
        "gateway.experiments.report",  # what `ledger` times on millions of rows
        "gateway.experiments.upkeep",
        "gateway.ledger",  # what `statistics` simulates, and `ledger` fills with more rows than a client could send
    ),
}

# Parts of the gateway, lowest first; a part imports its own layer and those below.
GATEWAY_LAYERS = (
    {"errors", "wire", "sections"},
    {"identity", "experiments", "upstreams", "accounting", "ledger"},
    {"answering"},
    {"chat", "other_routes"},
    {"routes", "parts"},
    {"app"},
    {"commands"},
)

# Loaded where they are used, never at the gateway's start (seconds and hundreds of megabytes each).
HEAVY = {
    "torch",
    "transformers",
    "litellm",
    "nicegui",
    "matplotlib",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "alembic",
    "psycopg",
    "cryptography",
    "pyarrow",
    "duckdb",
    "numpy",
    "scipy",
    "rich",
    "httpx",
    "regex",
    "openai",
}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(node: ast.AST, path: Path) -> Iterator[str]:
    """Absolute dotted names of the modules (or names in them) that an import statement asks for."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = module_name(path).split(".")
            cut = node.level - (path.name == "__init__.py")
            base = ".".join([*package[: len(package) - cut], *([base] if base else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)


def at_import_time(tree: ast.Module) -> Iterator[ast.AST]:
    """The statements that run when the module is imported; functions and `if TYPE_CHECKING` are left out."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending.extend(node.orelse)
            continue
        pending.extend(ast.iter_child_nodes(node))


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_stands_below_it(package: str) -> None:
    allowed = (package, *MAY_IMPORT[package])
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"
        for path in files(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported_by(node, path)
        if name.split(".")[0] in MAY_IMPORT and not within(name, allowed)
    ]
    assert wrong == []


def test_inside_the_gateway_no_part_imports_one_above_it() -> None:
    layer_of = {part: height for height, parts in enumerate(GATEWAY_LAYERS) for part in parts}
    wrong = []
    for path in files("gateway"):
        part = module_name(path).split(".")[1:2]
        if not part or part[0] not in layer_of:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in imported_by(node, path):
                parts = name.split(".")
                if parts[0] == "gateway" and layer_of.get(parts[1], -1) > layer_of[part[0]]:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def loaded_with(*roots: str) -> dict[str, Path]:
    """Project modules (name → file) that importing `roots` executes, followed from import to import."""
    known = {module_name(path): path for package in MAY_IMPORT for path in files(package)}
    found: dict[str, Path] = {}
    pending = list(roots)
    while pending:
        name = pending.pop()
        if name in found or not name:
            continue
        pending.append(name.rpartition(".")[0])  # the package's __init__, or the module that holds the imported name
        if path := known.get(name):
            found[name] = path
            for node in at_import_time(ast.parse(path.read_text(encoding="utf-8"))):
                pending.extend(imported_by(node, path))
    return found


def test_nothing_heavy_loads_with_the_gateway() -> None:
    wrong = [
        f"{name} imports {heavy}"
        for name, path in loaded_with("gateway.__main__", "gateway.app").items()
        for node in at_import_time(ast.parse(path.read_text(encoding="utf-8")))
        for heavy in imported_by(node, path)
        if heavy.split(".")[0] in HEAVY
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import torch.nn", ["torch.nn"]),
        ("from torch import nn", ["torch.nn"]),
        ("from . import wire", ["gateway.wire"]),
        ("from .wire import sse", ["gateway.wire.sse"]),
        ("from ..gatt import train", ["gatt.train"]),
    ],
)
def test_import_statements_are_read_as_absolute_names(source: str, names: list[str]) -> None:
    node = ast.parse(source).body[0]
    assert list(imported_by(node, ROOT / "gateway" / "chat.py")) == names


def test_imports_inside_functions_do_not_count_as_loaded_with_the_module() -> None:
    source = "if TYPE_CHECKING:\n    import torch\ndef f():\n    import trl\nclass C:\n    import peft\n"
    nodes = at_import_time(ast.parse(source))
    assert [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names] == ["peft"]
