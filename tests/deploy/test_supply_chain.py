"""What `make licences` and `make audit` say of what they are told."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import pytest

from tests.deploy.prometheus import ROOT


def script(name: str) -> ModuleType:
    """A module of .ci/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("MIT", ["MIT"]),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", ["MPL-2.0", "Apache-2.0", "MIT"]),
        ("Apache Software License; BSD License", ["Apache Software License", "BSD License"]),
        ("Mozilla Public License 2.0 (MPL 2.0)", ["Mozilla Public License 2.0 (MPL 2.0)"]),
        ("\nMIT License\n\nCopyright (c) …\nPermission is hereby granted", ["MIT License"]),
        ("", ["UNKNOWN"]),
    ],
)
def test_a_licence_is_read_in_each_form_that_packages_state_it_in(text: str, names: list[str]) -> None:
    assert script("licences").licences_of(text) == names


def test_licences_that_bind_what_is_built_upon_them_are_not_allowed_nor_are_unknown_ones() -> None:
    allowed = script("licences").ALLOWED
    assert not allowed & {"GPL-3.0-only", "AGPL-3.0-or-later", "LGPL-3.0", "SSPL-1.0", "BUSL-1.1", "UNKNOWN", ""}
    assert {"MIT", "Apache-2.0", "MPL-2.0"} <= allowed


NOTHING: dict[str, Any] = {"name": "one", "version": "1", "vulns": []}
SKIPPED: dict[str, Any] = {"name": "two", "skip_reason": "Dependency not found on PyPI"}
HOLE: dict[str, Any] = {"name": "three", "version": "3", "vulns": [{"id": "GHSA-1"}]}


@pytest.mark.parametrize(
    ("audited", "code", "said"),
    [
        ([NOTHING], 0, "no known vulnerability in 1 packages"),
        ([NOTHING, SKIPPED], 0, "no known vulnerability in 1 packages; the index knows nothing of two"),
        ([SKIPPED], 0, "not audited"),
        ([NOTHING, SKIPPED, HOLE], 1, "three 3: GHSA-1"),
    ],
)
def test_an_audit_tells_no_vulnerability_from_no_data(audited: list[dict[str, Any]], code: int, said: str) -> None:
    result, text = script("audit").verdict(audited)
    assert result == code
    assert said in text
