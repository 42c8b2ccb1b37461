"""A mistake in the config is named by file, key, value and remedy; good ones resolve."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.settings import EMBEDDED_CONFIG, config_path, load

GOOD = """
[upstreams.u]
kind = "openai"
base_url = "http://127.0.0.1:1/v1"
[models.m]
upstream = "u"
[experiments.e.arms.a]
strategy = "once"
model = "m"
"""


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("[upstreams.u]", "[upstreams.u"), "not valid TOML"),
        (("base_url =", "base_ulr ="), "upstreams.u.base_ulr: unknown key; did you mean 'base_url'?"),
        (('kind = "openai"', 'kind = "magic"'), "'local', 'openai', 'litellm'"),
        (
            ("base_url =", 'api_key_env = "NO_SUCH_KEY"\nbase_url ='),
            "upstreams.u.api_key_env: the environment variable NO_SUCH_KEY is not set; export it",
        ),
        (("http://", "htp://"), "upstreams.u.base_url: 'htp://127.0.0.1:1/v1'"),
        (('upstream = "u"', 'upstream = "v"'), "models.m.upstream: 'v' is not defined; known: u"),
        (('model = "m"', 'model = "n"'), "experiments.e.arms.a.model: 'n' is not defined; known: m"),
        (('strategy = "once"', 'strategy = "onec"'), "unknown strategy 'onec'; choose one of "),
        (('model = "m"', 'model = "m"\nweight = -1'), "experiments.e.arms.a.weight: -1"),
        (('model = "m"', 'model = "m"\nweight = 0'), "every arm has weight 0"),
        (('model = "m"', 'model = "m"\nparameters = {k = 3}'), "'once' has no parameter 'k'; it takes: none"),
        (("[experiments.e.", "[experiments.m."), "experiments.m: a model has that name already"),
        (("[upstreams.u]", "[server]\nport = 99999\n[upstreams.u]"), "server.port: 99999"),
        (('upstream = "u"', 'upstream = "u"\nprice = {input = 1}'), "models.m.price.output: missing; add it"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, change: tuple[str, str], line: str) -> None:
    path = tmp_path / "gattway.toml"
    assert change[0] in GOOD
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert line in str(refused.value)
    assert str(refused.value).startswith(str(path))


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "gattway.toml"
    path.write_text(GOOD.replace("base_url", "base_ulr").replace('model = "m"', 'model = "m"\nweight = -1'))
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert len(str(refused.value).splitlines()) == 3


def test_the_environment_wins_over_the_file_and_is_named_when_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gattway.toml"
    path.write_text(GOOD + "[server]\nport = 1\n")
    monkeypatch.setenv("GATTWAY_SERVER__PORT", "9001")
    assert load(path).server.port == 9001
    monkeypatch.setenv("GATTWAY_SERVER__PORT", "many")
    with pytest.raises(ConfigError, match=r"^environment variable GATTWAY_SERVER__PORT: 'many'"):
        load(path)


def test_the_config_is_the_given_one_then_the_environments_then_the_folders_then_the_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATTWAY_CONFIG", raising=False)
    assert config_path(None) == EMBEDDED_CONFIG
    (tmp_path / "gattway.toml").write_text(GOOD)
    assert config_path(None) == Path("gattway.toml")
    monkeypatch.setenv("GATTWAY_CONFIG", "other.toml")
    assert config_path(None) == Path("other.toml")
    assert config_path(Path("given.toml")) == Path("given.toml")
    with pytest.raises(ConfigError, match=r"given\.toml: no such file; give another with --config"):
        load(Path("given.toml"))


def test_the_embedded_config_holds_the_contracts_experiment() -> None:
    settings = load(EMBEDDED_CONFIG)
    arms = settings.experiments["gatt-vs-repeat"].arms
    assert {name: (arm.strategy, arm.model) for name, arm in arms.items() if arm.weight} == {
        "gatt": ("once", "mini-gatt"),
        "repeat": ("every-turn", "mini-base"),
    }
