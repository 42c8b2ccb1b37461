"""What a gateway takes of memory: at its start, of each request, and for what it remembers."""

import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from gateway.accounting.placement import MEMORY_LIMIT, Overlap, _Counted
from gateway.accounting.remembered import LIMIT, Recent, Remembered
from gateway.identity import REMEMBERED, _Recent
from gateway.ids import timed
from gateway.ledger.records import Answered
from tests.gateway.conftest import Gateway

START_MB = 165
"""Of 138 on the machine where it was written; the rest is for other builds of the libraries."""
NOT_AT_START = (
    "numpy",
    "scipy",
    "rich",
    "httpx",
    "regex",
    "litellm",
    "transformers",
    "torch",
    "alembic",
    "cryptography",
)
START = """
import json, sys
import gateway.__main__
from gateway.commands.memory import give_large_blocks_back, settle_in
from gateway.commands.serve import build, create_app
from gateway.settings import load
from pathlib import Path
give_large_blocks_back()
settings = load(Path(sys.argv[1]))
app = create_app(settings, build(settings))
settle_in()
pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
print(json.dumps({"pages": pages, "modules": sorted(sys.modules)}))
"""


def test_a_start_loads_no_more_than_serving_takes(tmp_path: Path) -> None:
    config = tmp_path / "gattway.toml"
    config.write_text(
        f'[ledger]\npath = "{tmp_path / "ledger.db"}"\n[upstreams.far]\nkind = "openai"\nbase_url = "http://localhost/v1"\n'
        '[models.gpt-4o]\nupstream = "far"\n[experiments.ab.arms.a]\nstrategy = "every-turn"\nmodel = "gpt-4o"\n',
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-c", START, config], capture_output=True, text=True, timeout=120, check=True
    )
    seen = json.loads(done.stdout)
    others = [name for name in seen["modules"] if name.startswith(("sqlalchemy.dialects.", "gateway.commands."))]
    assert [name for name in NOT_AT_START if name in seen["modules"]] == []
    assert not any("postgresql" in name for name in others)
    assert not {"gateway.commands.conversations", "gateway.commands.report", "gateway.ui.command"} & {*others}
    assert seen["pages"] * 4096 / 1e6 < START_MB


@pytest.fixture
def uncollected() -> Iterator[list[object]]:
    """What only the garbage collector would have freed, filled when the test calls `gc.collect`."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()


def test_requests_leave_nothing_for_the_garbage_collector(gateway: Gateway, uncollected: list[object]) -> None:
    for stream in (False, True):
        for number in range(4):
            body = {"model": "ab", "messages": [{"role": "user", "content": f"{stream} {number}"}], "stream": stream}
            assert gateway.post(body).status_code == 200
    gc.collect()
    frames = [one.f_code for one in uncollected if isinstance(one, FrameType)]
    assert {
        code.co_qualname for code in frames if "/gateway/" in code.co_filename and "/tests/" not in code.co_filename
    } == set()
    kept = {type(one).__qualname__ for one in uncollected if type(one).__module__.startswith("gateway.")}
    assert kept == set()


def turns() -> Callable[[int], None]:
    recent = _Recent()

    def add(number: int) -> None:
        ids = f"req_{timed()}", f"conv_{timed()}"
        recent.add(Answered(*ids, f"req_{timed()}", 1, f"{number:032x}", f"{number + 2**64:032x}", 20))

    return add


def counts() -> Callable[[int], None]:
    remembered = Remembered()
    return lambda number: remembered.counts([hash((number, ""))], lambda _: 1000)[0] and None


def placements() -> Callable[[int], None]:
    memory: Recent[tuple[None, int], dict[int, object]] = Recent(MEMORY_LIMIT)

    def put(number: int) -> None:
        memory.put((None, hash((number, ""))), {one: (_Counted(number, True, 0), Overlap(number)) for one in range(6)})

    return put


@pytest.mark.parametrize(
    ("fill", "limit", "most_mb"), [(turns, REMEMBERED, 18), (counts, LIMIT, 6), (placements, MEMORY_LIMIT, 10)]
)
def test_what_is_remembered_is_bounded(fill: Callable[[], Callable[[int], None]], limit: int, most_mb: float) -> None:
    add = fill()
    tracemalloc.start()
    for number in range(2 * limit):
        add(number)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{fill.__name__}: {held / 1e6:.1f} MB held, {peak / 1e6:.1f} at most")
    assert peak / 1e6 < most_mb
