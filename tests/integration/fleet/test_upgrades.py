"""Two releases and one ledger: the next one is the source of this one with a revision more."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from benchmarks.fleet_parts import ROOT
from benchmarks.fleet_release import next_release
from benchmarks.postgres import running_postgres
from gateway.ledger import migrate
from gateway.ledger.schema import REVISION
from gateway.ledger.shared import open_shared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def gattway(folder: Path, release: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(release), "GATTWAY_LEDGER__PATH": "ledger.db"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_a_contracting_release_did_is_taken_back_by_a_back_up(tmp_path: Path) -> None:
    """The way back for a release that those before it cannot live with."""
    later = next_release(tmp_path / "next", contracts=True)
    assert gattway(tmp_path, ROOT, "db", "upgrade").returncode == 0
    assert gattway(tmp_path, ROOT, "db", "backup", "before.backup").returncode == 0
    upgraded = gattway(tmp_path, later, "db", "upgrade")
    assert f"(before: {REVISION})" in upgraded.stdout, upgraded.stderr
    refused = gattway(tmp_path, ROOT, "db", "upgrade")
    assert refused.returncode == 2
    assert "schema version 2, this gattway knows 1; upgrade gattway" in refused.stderr
    assert gattway(tmp_path, ROOT, "db", "restore", "before.backup", "--force").returncode == 0
    assert f"at revision {REVISION}" in gattway(tmp_path, ROOT, "db", "upgrade").stdout


def test_an_upgrade_lets_readers_pass_while_it_waits_for_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_S", 1)
    with running_postgres() as server:
        engine = open_shared(server.database())
        with engine.begin() as connection:
            migrate.run_revisions(connection, "0003")  # the next one adds columns
        upgrading = threading.Thread(target=migrate.upgrade_shared, args=(engine,))
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'turns'::regclass")
        with engine.connect() as report:  # a report that takes its time
            report.execute(text("SELECT count(*) FROM turns"))
            upgrading.start()
            with engine.connect() as watching:
                deadline = time.monotonic() + 60
                while not watching.execute(waits).scalar_one():
                    watching.rollback()
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            with engine.connect() as turn:  # asked for by a gateway meanwhile; it would wait for the report's end else
                turn.execute(text("SET lock_timeout = '30s'"))
                assert turn.execute(text("SELECT count(*) FROM turns")).scalar_one() == 0
        upgrading.join(60)
        assert not upgrading.is_alive()
        with engine.connect() as connection:
            assert migrate.read_schema(connection).revision == REVISION
        engine.dispose()
