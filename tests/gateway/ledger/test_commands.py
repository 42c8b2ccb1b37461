"""`gattway db` and `gattway conversations`, as a person types them, on a file and on PostgreSQL."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, Engine, create_engine, insert, select, text

from gateway.__main__ import main
from gateway.ledger.database import open_database
from gateway.ledger.migrate import upgrade_shared
from gateway.ledger.pages import moment
from gateway.ledger.records import COLUMNS
from gateway.ledger.schema import REVISION, assignments, contents, conversations, feedback, turns
from gateway.ledger.sealing import Vault
from gateway.ledger.shared import open_shared
from tests.gateway.ledger.test_writer import row
from tests.gateway.postgres import Postgres
from tests.gateway.test_settings import GOOD

KEY = "0123456789abcdef0123456789abcdef"
LEDGER_PAGE = Path(__file__).parents[3] / "docs" / "ledger.md"
Command = Callable[..., Result]


@pytest.fixture
def gattway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "gattway.toml").write_text(GOOD)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(
    request: pytest.FixtureRequest, gattway: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """Three conversations: an old one, alice's, and a recent one; the config leads to them."""
    if request.param == "sqlite":
        engine = open_database(tmp_path / "gattway.db")
    else:
        url = request.getfixturevalue("postgres").database()
        monkeypatch.setenv("GATTWAY_LEDGER__URL", url)
        engine = open_shared(url)
        upgrade_shared(engine)
    alice = Vault([KEY]).user_hash("alice@example.com")
    rows = [
        row("1", "old"),
        replace(row("2", "alices"), user_hash=alice, started_at=moment("2999-01-01"), cost_usd=0.25),
        replace(row("3", "new"), started_at=moment("2999-01-02"), counterfactual_prompt_tokens={"once": 3}),
    ]
    given = {"feedback_id": "f", "conversation_id": "alices", "given_at": moment("2999-01-01"), "comment": "secret"}
    with engine.begin() as connection:
        connection.execute(insert(turns), [one.as_dict() for one in rows])
        connection.execute(insert(contents).values(request_id="2", conversation_id="alices", sealed=b"\x01sealed"))
        connection.execute(insert(feedback).values(given))
    yield engine
    engine.dispose()


def left(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        found = connection.execute(select(turns.c.conversation_id).order_by(turns.c.request_id)).scalars().all()
        summed = set(connection.execute(select(conversations.c.conversation_id)).scalars())
    assert summed == set(found)
    return list(found)


def everything(connection: Connection) -> list[Any]:
    tables = (turns, contents, feedback, conversations)
    return [connection.execute(select(table).order_by(*table.primary_key)).all() for table in tables]


def test_prune_deletes_what_is_older_and_says_how_much(filled: Engine, gattway: Command) -> None:
    done = gattway("db", "prune", "--older-than", "90d", "--dry-run", "--json")
    assert json.loads(done.output) == {"conversations": 1, "dry_run": True}
    assert left(filled) == ["old", "alices", "new"]
    assert gattway("db", "prune", "--older-than", "90d").output == "1 conversations deleted.\n"
    assert left(filled) == ["alices", "new"]
    done = gattway("db", "prune", "--older-than", "ninety")
    assert (done.exit_code, "'ninety' is no age; write 90d" in done.output) == (2, True)


def test_erase_leaves_nothing_of_a_user(
    filled: Engine, gattway: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = gattway("db", "erase", "--user", "alice@example.com")
    assert (refused.exit_code, "give the key" in refused.output) == (2, True)
    monkeypatch.setenv("GATTWAY_LEDGER_KEY", f"{'f' * 32} {KEY}")  # under a former key
    assert gattway("db", "erase", "--user", "bob@example.com").exit_code == 1
    assert json.loads(gattway("db", "erase", "--user", "alice@example.com", "--json").output) == {"conversations": 1}
    assert left(filled) == ["old", "new"]
    with filled.connect() as connection:
        for table in (contents, feedback):
            assert connection.execute(select(table)).all() == []
    if filled.dialect.name == "sqlite":
        everything = b"".join(file.read_bytes() for file in tmp_path.glob("gattway.db*"))
        assert b"alices" not in everything
        assert b"secret" not in everything
    assert gattway("db", "erase").exit_code == 2


def test_erase_takes_one_conversation(filled: Engine, gattway: Command) -> None:
    assert gattway("db", "erase", "--conversation", "new").exit_code == 0
    assert left(filled) == ["old", "alices"]
    assert gattway("db", "erase", "--conversation", "new").exit_code == 1


def test_a_back_up_is_restored_as_it_was(
    filled: Engine, gattway: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    out = tmp_path / "ledger.backup"
    assert gattway("db", "backup", out).exit_code == 0
    again = gattway("db", "backup", out)
    assert (again.exit_code, "exists" in again.output) == (2, True)
    with filled.connect() as connection:
        kept = everything(connection)
    assert gattway("db", "restore", out).exit_code != 0  # nothing is overwritten unasked
    if filled.dialect.name == "sqlite":
        gattway("db", "erase", "--conversation", "new")
        assert gattway("db", "restore", out, "--force").exit_code == 0
        restored = filled
    else:
        url = request.getfixturevalue("postgres").database()
        monkeypatch.setenv("GATTWAY_LEDGER__URL", url)
        done = gattway("db", "restore", out)
        assert done.exit_code == 0, done.output
        restored = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        request.addfinalizer(restored.dispose)
        with restored.begin() as connection:  # the sums are kept on
            connection.execute(text("UPDATE turns SET adherent = true"))
            assert connection.execute(text("SELECT sum(judged) FROM conversations")).scalar_one() == 3
            connection.rollback()
    with restored.connect() as connection:
        assert everything(connection) == kept


def test_what_is_no_back_up_is_said(gattway: Command, tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk" * 1000)
    done = gattway("db", "restore", tmp_path / "junk")
    assert (done.exit_code, "cannot be restored" in done.output) == (1, True)


def test_upgrade_says_from_what_to_what(gattway: Command, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    done = json.loads(gattway("db", "upgrade", "--json").output)
    assert done == {"before": None, "after": REVISION, "conversations_added_up": 0}
    same = {"experiment": "e", "key_name": "", "arm": "a"}
    times = [moment(f"2026-01-01T00:{index // 60:02}") for index in range(1500)]
    many = [{**same, "conversation_id": f"c{i:04}", "assigned_at": at} for i, at in enumerate(times)]
    with open_database(Path("gattway.db")).begin() as connection:
        connection.execute(
            insert(assignments), [{**one, "experiment": "e", "key_name": "", "arm": "a"} for one in many]
        )
    assert "1,020 conversations are added up for reports" in gattway("db", "upgrade").output
    monkeypatch.setenv("GATTWAY_LEDGER__URL", postgres.database())
    behind = gattway("conversations", "list")
    assert (behind.exit_code, "run: gattway db upgrade" in behind.output) == (2, True)
    assert "(before: none)" in gattway("db", "upgrade").output
    assert gattway("conversations", "list").exit_code == 0
    monkeypatch.setenv("GATTWAY_LEDGER__URL", "postgresql://alice:hunter2@127.0.0.1:1/x")
    away = gattway("db", "upgrade")
    assert (away.exit_code, "hunter2" in away.output, "Traceback" in away.output) == (1, False, False)


def test_list_filters_and_pages(filled: Engine, gattway: Command) -> None:
    page = json.loads(gattway("conversations", "list", "--json", "--limit", "1").output)
    assert ([one["conversation_id"] for one in page["data"]], page["has_more"]) == (["new"], True)
    page = json.loads(gattway("conversations", "list", "--json", "--min-cost-usd", "0.2").output)
    assert [one["conversation_id"] for one in page["data"]] == ["alices"]
    listed = gattway("conversations", "list", "--since", "2999-01-01").output
    assert "alices" in listed
    assert "…" not in listed.replace("prompt … repeated", "")  # nothing is cut off
    assert gattway("conversations", "list", "--since", "yesterday").exit_code == 2


def test_list_draws_how_full_the_window_was_at_the_last_turn(filled: Engine, gattway: Command) -> None:
    later = {"started_at": moment("2999-02-01"), "context_window": 1000}
    more = [
        replace(row("4", "new"), **later, context_used=900),
        replace(row("5", "new"), **{**later, "started_at": moment("2999-02-02")}, context_used=437),
        replace(row("6", "new"), **later, context_used=999, auxiliary="title"),
        replace(row("7", "full"), **later, context_used=1010),
        replace(row("8", "alices"), **{**later, "context_window": None}, context_used=5),
    ]
    with filled.begin() as connection:
        connection.execute(insert(turns), [one.as_dict() for one in more])
    lines = gattway("conversations", "list").output.splitlines()
    drawn = {line.split()[0]: line for line in lines if line.strip()}
    assert "███·····  44%" in drawn["new"]
    assert "████████ 101%" in drawn["full"]
    assert "·" not in drawn["old"]


def test_every_format_holds_every_column_and_opens_where_people_open_it(
    filled: Engine, gattway: Command, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in gattway("conversations", "export").stdout.splitlines()]
    assert [one["request_id"] for one in lines] == ["1", "2", "3"]
    assert lines[2]["counterfactual_prompt_tokens"] == {"once": 3}
    assert lines[0]["prompt_tokens"] is None
    table = list(csv.DictReader(io.StringIO(gattway("conversations", "export", "--csv").stdout)))
    assert [one["conversation_id"] for one in table] == ["old", "alices", "new"]
    assert (table[1]["cost_usd"], table[0]["cost_usd"], table[0]["forced"]) == ("0.25", "", "false")
    out = tmp_path / "turns.parquet"
    assert gattway("conversations", "export", "--parquet", "--out", out).exit_code == 0
    frame = pandas.read_parquet(out)
    assert list(frame.columns) == list(lines[0]) == [name for name in COLUMNS if name in lines[0]]
    assert str(frame.dtypes["started_at"]) == "datetime64[us, UTC]"
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT conversation_id, cost_usd, counterfactual_prompt_tokens->>'once' FROM '{out}' "
            "WHERE started_at >= '2999-01-01' ORDER BY started_at"
        ).fetchall()
        assert found == [("alices", 0.25, None), ("new", None, "3")]
    only = gattway("conversations", "export", "--prefix", "al").stdout.splitlines()
    assert [json.loads(line)["request_id"] for line in only] == ["2"]


def test_a_ledger_that_is_not_there_is_said(gattway: Command) -> None:
    done = gattway("conversations", "list")
    assert (done.exit_code, "there is no ledger at gattway.db yet" in done.output) == (2, True)


def test_a_missing_driver_names_its_extra(gattway: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATTWAY_LEDGER__URL", "postgresql://alice:hunter2@127.0.0.1/x")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    done = gattway("db", "upgrade")
    assert done.exit_code == 2
    assert (
        done.output == "gattway: ledger.url: PostgreSQL needs the extra 'postgres'; pip install 'gattway[postgres]'\n"
    )


def test_a_missing_extra_for_the_key_is_said(gattway: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATTWAY_LEDGER_KEY", KEY)
    for name in ("ciphers.aead", "hashes"):
        monkeypatch.setitem(sys.modules, f"cryptography.hazmat.primitives.{name}", None)
    done = gattway("db", "erase", "--user", "alice")
    assert (done.exit_code, "pip install 'gattway[encryption]'" in done.output) == (2, True)


def test_the_queries_of_the_docs_run_on_every_format(gattway: Command, tmp_path: Path) -> None:
    engine = open_database(tmp_path / "gattway.db")
    one = replace(row("1"), experiment="gatt-vs-repeat", arm="repeat", prompt_tokens=9, cost_usd=0.5, adherent=True)
    one.counterfactual_prompt_tokens, one.repeated_instruction_tokens = {"once": 3}, 6
    with engine.begin() as connection:
        connection.execute(insert(turns), [one.as_dict()])
    page = LEDGER_PAGE.read_text()
    queries = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    wanted = [("repeat", 1, 0.5, 6), ("repeat", 1, 1.0, 1), (1, 9.0, 3.0)]
    for option, ending in (("--parquet", "parquet"), ("--csv", "csv"), ("--json", "jsonl")):
        assert gattway("conversations", "export", option, "--out", f"turns.{ending}").exit_code == 0
        with duckdb.connect() as duck:
            for query, result in zip(queries, wanted, strict=True):
                assert duck.execute(query.replace("turns.parquet", f"turns.{ending}")).fetchall() == [result], ending
    found: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, found)
    assert (found["by_turn"]["repeat", 1], found["cost"]["c"]) == (9, 0.5)
    assert pandas.read_csv("turns.csv")["prompt_tokens"].tolist() == [9]
