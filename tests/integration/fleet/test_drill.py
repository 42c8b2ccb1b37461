"""Three gateways, one PostgreSQL and a real HAProxy under load, while one is killed, one upgraded, one cut off."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from benchmarks import fleet
from benchmarks.postgres import running_postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Result = dict[str, Any]


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What came of it."""
    if shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    with running_postgres() as server:
        return fleet.run(tmp_path_factory.mktemp("fleet"), server.database(), answers=12, clients=8)


def test_every_answered_turn_is_in_the_database_as_the_client_was_told(drill: Result) -> None:
    assert drill["answered"] > 60
    assert drill["lost"] == []
    assert drill["told_otherwise"] == []


def test_conversations_without_ids_keep_identity_arm_and_count_wherever_a_turn_is_answered(drill: Result) -> None:
    assert drill["moved"] > 20
    assert drill["split_without_a_reason"] == []


def test_only_the_kill_is_felt_by_clients(drill: Result) -> None:
    felt = {one["event"]: one["failures"] for one in drill["events"]}
    assert {event for event, failures in felt.items() if failures} <= {"killed", "back again"}


def test_a_key_gets_its_limit_over_all_gateways_within_a_twentieth(drill: Result) -> None:
    limits = drill["limits"]
    assert limits["granted"] == pytest.approx(limits["requests_per_minute"], rel=0.05)


def test_the_next_release_writes_beside_this_one_and_is_rolled_back(drill: Result) -> None:
    assert [one["event"] for one in drill["events"]][-3:] == [
        "drained, back as the next release",
        "cut off from the database",
        "rolled back",
    ]
    assert 0 < drill["rows_of_the_next_release"] < drill["answered"]


def test_every_gateway_reports_what_a_single_one_with_the_same_rows_does(drill: Result) -> None:
    assert drill["report_differs"] == []


def test_the_report_is_compared_figure_by_figure() -> None:
    one = {"created_at": "a", "arms": {"x": [1, 0.5]}, "n": 3}
    assert fleet.differences(one, {"created_at": "b", "arms": {"x": [1, 0.5 + 1e-12]}, "n": 3}) == []
    assert fleet.differences(one, {"created_at": "b", "arms": {"x": [1, 0.6]}, "n": 3}) == [".arms.x[1]"]
    assert fleet.differences(one, {"created_at": "b", "arms": {"x": [1]}, "n": 4}) == [".arms.x", ".n"]
