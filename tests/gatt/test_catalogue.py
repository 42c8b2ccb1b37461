"""Instructions for any model: asked of it, parsed, combined, shortened and kept apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gatt import catalogue
from gatt.samplers.endpoint import Endpoint, EndpointSampler
from tests.gateway.servers import serving
from tests.gatt.fake_endpoint import FakeEndpoint

FAMILIES = Path(__file__).parents[2] / "gatt" / "recipes" / "families.toml"

ANSWERS = [
    "Sure! Here are 40 names:\n1. Albert Einstein – physicist\n2. **Marie Curie** (chemist)\n3) \"Oscar Wilde\"\n"
    "* marie curie\nWould you like more?",
    "- Frida Kahlo: painter\n- Nikola Tesla\n• Jane Austen\n- A name that is much too long to be the name of anybody",
]  # fmt: skip


def families(**more: object) -> list[catalogue.Family]:
    return [
        catalogue.Family(
            name="figure", ask="Name {n} figures.", phrasings=("Act as {v}.",), short="Figure: {v}.", slot="identity",
            probe="What is your name?", probe_check={"kind": "contains", "text": "{last}"},
        ),
        catalogue.Family(
            name="hobby", values=("chess", "tennis", "yoga", "rowing", "sailing"), phrasings=("You enjoy {v}.",),
            short="Hobby: {v}.", check={"kind": "contains", "text": "{v}"},
        ),
        catalogue.Family(
            name="shout", phrasings=("Capitals only.",), short="CAPS.", check={"kind": "case", "case": "upper"}
        ),
    ]  # fmt: skip


def test_the_shipped_families_are_read() -> None:
    names = [family.name for family in catalogue.read(FAMILIES)]
    assert names[:3] == ["figure", "hobby", "language"]
    assert len(names) >= 8


def test_lists_are_read_as_models_write_them() -> None:
    assert catalogue.distinct(catalogue.listed(ANSWERS[0])) == ["Albert Einstein", "Marie Curie", "Oscar Wilde"]
    assert catalogue.listed(ANSWERS[1]) == ["Frida Kahlo", "Nikola Tesla", "Jane Austen"]
    assert catalogue.listed("chess, tennis, and yoga") == ["chess", "tennis", "and yoga"]


def test_the_model_is_asked_until_enough_is_known_and_no_question_twice(tmp_path: Path) -> None:
    fake = FakeEndpoint()
    fake.answer = lambda body, number: ANSWERS[body["temperature"] > 0]
    with serving(fake.app) as url:
        sampler = EndpointSampler(Endpoint(f"{url}/v1", "m"))
        filled = catalogue.ask(families(), sampler, tmp_path, wanted=5, least=2, seed="0")
        again = catalogue.ask(families(), sampler, tmp_path, wanted=5, least=2, seed="0")
        with pytest.raises(catalogue.CatalogueError, match=r"named 6 values and 9 are needed; its answers are in"):
            catalogue.ask(families(), sampler, tmp_path, wanted=9, least=9, seed="0", asks=2)
    assert filled[0].values == ("Albert Einstein", "Marie Curie", "Oscar Wilde", "Frida Kahlo", "Nikola Tesla")
    assert filled == again
    assert [body["messages"][0]["content"] for body in fake.bodies] == ["Name 40 figures."] * 2
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 2


def filled() -> list[catalogue.Family]:
    figure, *rest = families()
    return [figure.model_copy(update={"values": tuple(f"Figure No{n}" for n in range(20))}), *rest]


def test_splits_share_no_value_and_no_family() -> None:
    parts = catalogue.split(filled(), ["shout"], 0.2, "0")
    tuned = {(family.name, value) for family in parts.tuned for value in family.values}
    unseen = {(family.name, value) for family in parts.unseen_attributes for value in family.values}
    assert not tuned & unseen
    assert len(unseen) == 4 + 1
    assert [family.name for family in parts.unseen_families] == ["shout"]
    with pytest.raises(catalogue.CatalogueError, match="no family 'hats'"):
        catalogue.split(filled(), ["hats"], 0.2, "0")


def test_half_are_shortened_and_families_of_one_slot_never_combine() -> None:
    same_slot = [*filled(), filled()[0].model_copy(update={"name": "persona"})]
    drawn = catalogue.draw(same_slot, 400, 0.5, "0")
    assert sum(one.short for one in drawn) == 200
    pairs = [set(one.families) for one in drawn if len(one.families) == 2]
    assert 120 < len(pairs) < 280
    assert {"figure", "persona"} not in pairs
    assert drawn == catalogue.draw(same_slot, 400, 0.5, "0")
    one = next(one for one in drawn if one.families == ("figure", "hobby"))
    assert one.text in (f"Act as {one.attributes[0]}. You enjoy {one.attributes[1]}.",
                        f"Figure: {one.attributes[0]}. Hobby: {one.attributes[1]}.")  # fmt: skip
    assert one.checks == ({"kind": "contains", "text": one.attributes[1]},)
    assert one.probes[0].checks == ({"kind": "contains", "text": one.attributes[0].split()[-1]},)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("family = 3", "family"),
        ("", "holds no family"),
        ('[[family]]\nname = "x"\nshort = "s"', "phrasings"),
        ('[[family]]\nname = "x"\nshort = "s"\nphrasings = ["p"]\nask = "Name some."', "{n}"),
        ('[[family]]\nname = "x"\nshort = "s"\nphrasings = ["p"]\nprobe = "?"', "belong together"),
        ('[[family]]\nname = "x"\nshort = "s"\nphrasings = ["p"]\ncheck = { kind = "?" }', "unknown check kind"),
        ('[[family]]\nname = "x"\nshort = "s"\nphrasings = ["p"]\n' * 2, "'x' is there twice"),
        ("[[", "families.toml"),
    ],
)
def test_a_file_that_holds_no_families_is_named(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "families.toml"
    path.write_text(text)
    with pytest.raises(catalogue.CatalogueError) as caught:
        catalogue.read(path)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)
    with pytest.raises(catalogue.CatalogueError, match="cannot be read"):
        catalogue.read(tmp_path / "missing.toml")


def test_json_lines_of_families_are_read(tmp_path: Path) -> None:
    path = tmp_path / "families.jsonl"
    path.write_text(json.dumps({"name": "x", "short": "s", "phrasings": ["p"]}) + "\n")
    assert catalogue.read(path)[0].name == "x"
