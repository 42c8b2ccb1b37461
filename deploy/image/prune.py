"""What the image leaves out, and why. Called by build.py; tests/deploy/test_image.py serves from what is left.

Nothing here is code that the gateway runs: pages of a server that is not started, tests of other people's, descriptions
of services that nobody calls, and packages that need torch where torch is not installed.
"""

from __future__ import annotations

import re
import shutil
from importlib.metadata import Distribution, distributions
from pathlib import Path

FILES = (
    "litellm/proxy/_experimental/out",  # the web page of litellm's own proxy server
    "litellm/proxy/swagger",  # … and its API documentation
    "litellm/proxy/_lazy_openapi_snapshot.json",
    "litellm/proxy/*.png",
    "litellm/proxy/*.jpg",
    "litellm/**/*.md",
    "numpy/**/tests",
    "regex/tests",
    "jsonschema/tests",
    "fsspec/tests",
    "alembic/testing",
    "sqlalchemy/testing",
    *(f"**/*.{ending}" for ending in ("c", "h", "cpp", "hpp", "pyx", "pxd", "pyi")),  # what modules were compiled from
    "benchmarks",  # the project's own, which measures a gateway from outside
)

WITHOUT_TORCH = (
    "gateway/embedded/*/model.safetensors",  # the embedded models' weights
    "hf_xet*",  # huggingface_hub's faster downloads, for models; without it, it uses plain HTTP
)

AWS = "botocore/data"
AWS_SERVICES = ("bedrock*", "sagemaker-runtime", "signin", "sso", "sso-oidc", "sts", "*.json")
"""Services that litellm calls to reach a model, and those that botocore logs in with; `*.json` is what all share."""

ONLY_WITH_TORCH = ("transformers", "safetensors", "numpy", "typer", "shellingham")
"""The gateway imports transformers for models in its own process, which need torch (the extra `local`); the others are
there for transformers. One that something else requires too stays."""


def prune(packages: Path) -> None:
    """Delete from a site-packages folder what the image has no use for."""
    without_torch = not (packages / "torch").exists()
    for pattern in (*FILES, *(WITHOUT_TORCH if without_torch else ())):
        for path in list(packages.glob(pattern)):
            _delete(path)
    kept = {path for pattern in AWS_SERVICES for path in (packages / AWS).glob(pattern)}
    for path in (packages / AWS).iterdir():
        if path not in kept:
            _delete(path)
    if without_torch:
        _uninstall(packages, ONLY_WITH_TORCH)


def _uninstall(packages: Path, names: tuple[str, ...]) -> None:
    installed = {_name(one.metadata["Name"]): one for one in distributions(path=[str(packages)])}
    rest = [one for name, one in installed.items() if name not in (*names, "gattway")]
    needed = {name for one in rest for name in _requires(one)}
    for name in names:
        if name in installed and name not in needed:
            files = installed[name].files or []
            for top in {str(file).split("/")[0] for file in files} - {".."}:
                _delete(packages / top)
            for file in files:
                _delete(Path(str(file.locate())))


def _requires(distribution: Distribution) -> set[str]:
    """Names that it needs in any case; those of its extras left out."""
    wanted = [line for line in distribution.requires or () if "extra ==" not in line]
    return {_name(re.split(r"[^A-Za-z0-9._-]", line)[0]) for line in wanted}


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
