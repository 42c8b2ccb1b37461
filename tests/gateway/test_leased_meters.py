"""Limits over several gateways: never over, within a twentieth below, and never a wait for a database that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from gateway.access.leased_meters import LeasedMeters, Run, over_file
from gateway.access.meters import Window
from gateway.errors import SharedAway
from gateway.ledger.database import open_database

T = TypeVar("T")
MINUTE = Window(100, 60)


class Bucket:
    """The file that gateways share, which counts who asks and can be away."""

    def __init__(self, folder: Path) -> None:
        open_database(folder / "ledger.db").dispose()
        self._run: Run = over_file(folder / "ledger.db")
        self.asked = 0
        self.away = False

    async def run(self, work: Callable[[Connection], T], timeout_s: float) -> T:
        self.asked += 1
        if self.away:
            raise SharedAway("away")
        return await self._run(work, timeout_s)

    def gateways(self, count: int = 3) -> list[LeasedMeters]:
        return [LeasedMeters(self.run) for _ in range(count)]


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


async def taken(gateways: list[LeasedMeters], window: Window, tries: int, amount: float = 1) -> int:
    """How many of `tries` at each gateway, all at the same time, get through."""
    answers = await asyncio.gather(
        *(gateway.take("k:requests", window, amount) for _ in range(tries) for gateway in gateways)
    )
    return sum(answers)


@pytest.mark.parametrize("limit", [1, 7, 100, 2000])
async def test_three_gateways_together_give_what_one_would(bucket: Bucket, limit: int) -> None:
    gateways = bucket.gateways()
    granted = await taken(gateways, Window(limit, 60), limit)
    assert 0.95 * limit <= granted <= limit
    standing = await gateways[0].standing("k:requests", Window(limit, 60), 1)
    assert standing.left < 1 + 0.05 * limit
    assert 50 < standing.wait_s <= 62
    assert standing.wait_s <= standing.reset_s <= 62


async def test_the_shared_bucket_is_asked_once_for_many_requests_and_twice_a_second_when_empty(bucket: Bucket) -> None:
    (gateway,) = bucket.gateways(1)
    assert await taken([gateway], Window(2000, 60), 1000) == 1000
    assert bucket.asked < 30
    assert await taken([gateway], Window(2000, 60), 1000) == 1000
    before = bucket.asked
    assert await taken([gateway], Window(2000, 60), 1000) == 0
    assert bucket.asked - before <= 3


async def test_what_was_borrowed_for_nothing_is_brought_back(bucket: Bucket) -> None:
    idle, busy = bucket.gateways(2)
    window = Window(200, 4)
    async with idle.kept(), busy.kept():
        assert await idle.take("k:requests", window, 1)
        deadline = time.monotonic() + 3
        granted = 1
        while granted < 200 and time.monotonic() < deadline:
            granted += await taken([busy], window, 50)
            await asyncio.sleep(0.05)
    assert granted == 200


async def test_no_period_wherever_it_begins_holds_more_than_the_limit(bucket: Bucket) -> None:
    window, gateways, times = Window(40, 1.0), bucket.gateways(), list[float]()

    async def press(gateway: LeasedMeters) -> None:
        until = time.monotonic() + 3.5
        while time.monotonic() < until:
            before = time.monotonic()
            if await gateway.take("k:requests", window, 1):
                times.append(before)
            await asyncio.sleep(0.003)

    await asyncio.gather(*(press(gateway) for gateway in gateways))
    for at in times:
        assert sum(at <= other < at + 0.9 for other in times) <= 40  # the rest is the time from asking to booking
    assert len(times) > 80  # the window moves on


async def test_what_was_used_beyond_a_loan_is_known_to_all(bucket: Bucket) -> None:
    spender, other = bucket.gateways(2)
    assert await spender.ready("k:tokens", MINUTE, 1)
    await spender.charge("k:tokens", MINUTE, 130)
    async with spender.kept():
        pass
    assert not await other.ready("k:tokens", MINUTE, 1)
    assert (await other.standing("k:tokens", MINUTE, 1)).left == 0
    money = Window(0.5, 86400, unit=0)
    await spender.charge("k:usd", money, 0.3)
    async with spender.kept():
        pass
    assert await other.ready("k:usd", money, 1e-6)
    assert (await other.standing("k:usd", money, 1e-6)).left == pytest.approx(0.2)


async def test_while_the_bucket_is_away_each_gateway_holds_its_share_and_tells_later(bucket: Bucket) -> None:
    gateways = bucket.gateways()
    assert await taken(gateways, MINUTE, 2) == 6
    await gateways[0].ready("k:other", MINUTE, 1)  # has seen all three
    bucket.away = True
    begun = time.monotonic()
    granted = await taken(gateways[:1], MINUTE, 200)
    assert time.monotonic() - begun < 1
    assert gateways[0].degraded
    assert 25 <= granted + 2 <= 34
    standing = await gateways[0].standing("k:requests", MINUTE, 1)
    assert standing.left < 1
    assert standing.wait_s > 50
    bucket.away = False
    async with gateways[0].kept():
        pass
    assert not gateways[0].degraded
    rest = await taken(gateways[1:], MINUTE, 200)
    assert rest + granted + 6 <= 100
    assert rest + granted + 6 >= 85  # what was out on loan to others when the bucket went away counts as used


async def test_what_the_books_know_of_a_day_is_told_a_new_bucket_once(bucket: Bucket) -> None:
    money = Window(1.0, 86400, unit=0)
    for gateway in bucket.gateways():
        await gateway.charge("k:usd", money, 0.75, ago_s=3600)
        assert await gateway.ready("k:usd", money, 1e-6)
        async with gateway.kept():
            pass
    (last,) = bucket.gateways(1)
    assert await last.ready("k:usd", money, 0.2)
    assert not await last.ready("k:usd", money, 0.3)


async def test_streams_at_the_same_time_are_counted_by_each(bucket: Bucket) -> None:
    one, other = bucket.gateways(2)
    assert await one.enter("k:streams", 1)
    assert not await one.enter("k:streams", 1)
    assert await other.enter("k:streams", 1)
    await one.leave("k:streams")
    assert await one.enter("k:streams", 1)
