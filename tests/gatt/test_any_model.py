"""The same commands on a chat model that exists: only the recipe differs. Bad input is named, nothing half is left."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from gatt import sampling
from gatt.__main__ import main
from gatt.recipe import load
from tests.gateway.servers import serving
from tests.gatt import chat_models
from tests.gatt.fake_endpoint import FakeEndpoint

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

RECIPE = """
name = "any"
seed = 3
work = "{work}"
samplings = {samplings}

[model]
path = "{model}"

[dialogues]
path = "{dialogues}"
held_out = 0.3
max_turns = 3
{endpoint}
[catalogue]
families = "{families}"
unseen_families = ["shout"]
unseen_share = 0.3
scripts = {{ tuned = 6, plain = 2, unseen_attributes = 2, unseen_families = 2 }}

[synthesize]
candidates = 2
minimum_score = 0.0
max_new_tokens = 6
shard_dialogues = 4
{synthesize}

[train]
rounds = [{{ steps = 2 }}]
rows_per_step = 2
{train}

[evaluate]
turns = 2
conversations = 2
max_new_tokens = 6
"""

FAMILIES = """
[[family]]
name = "figure"
values = ["Oscar Wilde", "Marie Curie", "Jane Austen", "Mark Twain"]
phrasings = ["Act as {v}."]
short = "Figure: {v}."
probe = "What is your name?"
probe_check = { kind = "contains", text = "{last}" }

[[family]]
name = "shout"
phrasings = ["Capitals only."]
short = "CAPS."
check = { kind = "case", case = "upper" }
"""


def dialogues() -> list[dict[str, Any]]:
    def one(number: int) -> list[dict[str, str]]:
        said = []
        for turn in range(3):
            said += [{"role": "user", "content": f"Q{number}.{turn}?"}, {"role": "assistant", "content": f"A{turn}."}]
        return said

    return [{"messages": one(number)} for number in range(8)]


def recipe(folder: Path, kind: str = "chatml", **more: Any) -> Path:
    model = folder / "model"
    if not model.exists():
        chat_models.save(kind, model)
    (folder / "families.toml").write_text(FAMILIES)
    (folder / "dialogues.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dialogues()))
    settings = {
        "work": folder / "work", "model": model, "dialogues": folder / "dialogues.jsonl", "samplings": 1,
        "families": folder / "families.toml", "endpoint": "", "synthesize": "", "train": "",
    }  # fmt: skip
    (folder / "any.toml").write_text(RECIPE.format(**settings | more))
    return folder / "any.toml"


def gatt(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize("name", ["llama-2-7b", "qwen-2.5-7b"])
def test_the_shipped_recipes_for_real_models_are_read(name: str) -> None:
    loaded = load(ROOT / "gatt" / "recipes" / f"{name}.toml")
    assert loaded.name == name
    assert loaded.train.per_device(8 if loaded.train.lora is None else 1)


def test_a_recipe_runs_on_a_model_that_exists_with_two_rounds_of_fresh_sampling(tmp_path: Path) -> None:
    path = recipe(tmp_path, "gemma", samplings=2)
    code, output = gatt("run", str(path), "--json")
    assert code == 0, output
    work = tmp_path / "work"
    results = json.loads(output.splitlines()[-1])
    assert set(results["splits"]) == {"unseen_attributes", "unseen_families"}
    assert (work / "train-2" / "model.safetensors").exists()
    assert len(json.loads((work / "synthesize-2" / "rewards.json").read_text())) == 2
    assert (work / "synthesize-2" / "rewards.png").exists()
    rows = [json.loads(line) for line in (work / "synthesize" / "rows.jsonl").read_text().splitlines()]
    instructed = [row for row in rows if row["kind"] != "plain"]
    assert instructed[0]["prompt"][0]["role"] == "system"
    assert all(sum("Figure" in m["content"] or "Act as" in m["content"] for m in r["prompt"]) == 1 for r in instructed)
    code, output = gatt("attention", str(path), "--turns", "2")
    assert code == 0, output
    assert (work / "attention" / "attention.png").exists()


@pytest.fixture(scope="module")
def tuned_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe whose `train` is to be done anew, and in `one` what one process made of it."""
    folder = tmp_path_factory.mktemp("alone")
    path = recipe(folder, train="bf16 = false\ncheckpoint_every = 1")
    path.write_text(path.read_text().replace("[{ steps = 2 }]", "[{ steps = 3 }, { steps = 2 }]"))
    for stage in ("instructions", "synthesize", "train"):
        assert gatt(stage, str(path))[0] == 0
    (folder / "work" / "train").rename(folder / "one")
    return folder


def launch(folder: Path, *arguments: str, **environment: str) -> str:
    """Two processes under `accelerate launch`, which learn what one learned; what they said."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--main_process_port", "0"]
    setting = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    command += [*arguments, "train", str(folder / "any.toml")]
    done = subprocess.run(command, cwd=ROOT, env=setting, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("train: done in") == 1
    trained = (folder / "work" / "train").rename(folder / "two")
    start, one, two = (weights_in(each) for each in (folder / "model", folder / "one", trained))
    assert json.loads((trained / "training.json").read_text())["processes"] == 2
    shutil.rmtree(trained)
    moved = max(float((one[name] - start[name]).abs().max()) for name in start)
    apart = max(float((one[name] - two[name]).abs().max()) for name in start)
    assert moved > 1e-3
    assert apart < moved / 100
    return done.stderr


@pytest.mark.timeout(480)  # the time of the fixture counts
def test_two_processes_under_accelerate_launch_learn_what_one_learns(tuned_alone: Path) -> None:
    # `--multi_gpu` is how accelerate starts several processes on one machine; without a GPU they meet over gloo.
    launch(tuned_alone, "--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
           "-m", "gatt")  # fmt: skip


@pytest.mark.timeout(480)  # the time of the fixture counts
def test_fsdp_learns_what_one_process_learns_and_goes_on_from_a_sharded_checkpoint(tuned_alone: Path) -> None:
    config = str(ROOT / "gatt" / "recipes" / "fsdp.yaml")
    script = str(ROOT / "tests" / "gatt" / "fsdp_on_cpu.py")
    said = launch(tuned_alone, "--config_file", config, script, GATT_TEST_STOP_AT="2")
    assert "interrupted" in said
    assert said.count("begun at step 0: FSDPEmbedding, FSDPLinear, FSDPLlamaDecoderLayer") == 4
    assert said.count("begun at step 2: ") == 2


def test_the_shipped_fsdp_config_has_keys_that_the_installed_accelerate_knows() -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    known = vars(launch_command_parser().parse_args(["script"]))
    config = load_config_from_file(str(ROOT / "gatt" / "recipes" / "fsdp.yaml"))
    assert config.distributed_type == "FSDP"
    assert set(config.fsdp_config) <= set(known)


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    return dict(sampling.load(str(folder))[0].state_dict())


def test_an_endpoint_samples_and_a_later_run_asks_nothing_again(tmp_path: Path) -> None:
    fake = FakeEndpoint()
    with serving(fake.app) as url:
        endpoint = f'[endpoint]\nbase_url = "{url}/v1"\nmodel = "m"'
        path = recipe(tmp_path, endpoint=endpoint)
        assert gatt("instructions", str(path))[0] == 0
        assert gatt("synthesize", str(path))[0] == 0
        asked = len(fake.bodies)
        assert gatt("synthesize", str(path)) == (0, "synthesize: done before, skipped\n")
    assert asked == len(fake.bodies) == 8 * 3


def test_a_tokenizer_without_chat_template_is_named(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    (tmp_path / "model" / "chat_template.jinja").unlink()
    gatt("instructions", str(path))
    code, output = gatt("synthesize", str(path))
    assert code == 1
    assert f"synthesize: {tmp_path / 'model'}: the tokenizer has no chat template" in output


def test_a_model_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    weights = tmp_path / "model" / "model.safetensors"
    gatt("instructions", str(path))
    weights.write_bytes(weights.read_bytes()[:1000])
    code, output = gatt("synthesize", str(path))
    assert code == 1
    assert f"synthesize: {tmp_path / 'model'}: the model cannot be read" in output
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    code, output = gatt("synthesize", str(path))
    assert code == 1
    assert f"{tmp_path / 'model'}: there is no such folder" in output


def test_dialogues_without_a_single_good_answer_are_no_rows_but_an_error(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    path.write_text(path.read_text().replace("minimum_score = 0.0", "minimum_score = 1.1"))
    gatt("instructions", str(path))
    code, output = gatt("synthesize", str(path))
    assert code == 1
    assert "no first answer of 8 dialogues scores 1.1 or more, the best one 1.00: lower" in output
    assert not (tmp_path / "work" / "synthesize").exists()


def test_an_endpoint_that_cannot_be_reached_leaves_nothing_half_written(tmp_path: Path) -> None:
    endpoint = '[endpoint]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\nattempts = 1'
    path = recipe(tmp_path, endpoint=endpoint)
    assert gatt("instructions", str(path))[0] == 0
    code, output = gatt("synthesize", str(path))
    assert code == 1
    assert "synthesize: endpoint http://127.0.0.1:9/v1 cannot be reached" in output
    assert "turn 1" in output
    assert not (tmp_path / "work" / "synthesize").exists()
    assert not list((tmp_path / "work" / "synthesize.partial" / "shards").glob("shard-0000.jsonl"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"synthesize": 'scorer = "reward"'}, "needs a [reward] section"),
        ({"train": 'objective = "dpo"'}, "synthesize.contrast = true"),
        ({"train": 'objective = "sdft"'}, "synthesize.placed = true"),
        ({"train": "lora = { merge = false }", "samplings": 2}, "train.lora.merge = true"),
        ({"samplings": 0}, "samplings"),
        ({"synthesize": "history = 'none'"}, "resampled, original"),
        ({"endpoint": '[endpoint]\nbase_url = "127.0.0.1:9"\nmodel = "m"'}, "must begin with http://"),
    ],
)
def test_a_recipe_that_cannot_work_is_bad_usage(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    code, output = gatt("run", str(recipe(tmp_path, **change)))
    assert code == 2
    assert "any.toml: " in output
    assert named in output


def test_no_candidates_and_faulty_dialogues_are_refused(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    path.write_text(path.read_text().replace("candidates = 2", "candidates = 0"))
    assert gatt("run", str(path))[0] == 2
    path = recipe(tmp_path)
    (tmp_path / "dialogues.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": ""}]}) + "\n")
    code, output = gatt("instructions", str(path))
    assert code == 1
    assert f"{tmp_path / 'dialogues.jsonl'}:1: message 1 is empty" in output.replace("\n", "")


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from gatt.__main__ import main
main(sys.argv[2:])
"""


def test_a_disk_that_is_full_leaves_nothing_half_written_and_the_next_run_goes_on(tmp_path: Path) -> None:
    assert hasattr(resource, "RLIMIT_FSIZE")
    path = recipe(tmp_path)
    command = [sys.executable, "-c", FULL, "600", "instructions", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "stage 'instructions': File too large" in done.stderr
    assert "instructions.jsonl)" in done.stderr
    assert "Traceback" not in done.stderr
    left = [file.name for file in (tmp_path / "work").rglob("*") if file.is_file()]
    assert left == ["inputs.json"]
    assert gatt("instructions", str(path))[0] == 0
