"""Meters of limits that several gateways, or several workers, hold together.

Each borrows from the shared bucket (`gateway.ledger.leasing`) a twentieth of a limit at most and counts by itself until
that is spent; only then, and twice a second at most while nothing is left, the shared bucket is asked, off the event
loop and not for long (`timeout_s`). While it does not answer, each gateway goes on with its share, by the number of
gateways that were last seen: of what was left when the bucket last answered, and after a whole period of the limit.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from gateway.access.meters import InMemoryMeters, Standing, Window
from gateway.errors import SharedAway
from gateway.ledger.leasing import Ask, leave, lend, seen
from gateway.ledger.shared import Shared

T = TypeVar("T")


class Run(Protocol):
    """Does something in a transaction of the shared database, off the event loop.

    Raises:
        SharedAway: it does not answer within `timeout_s` seconds.
        SQLAlchemyError: the same, of a file.
    """

    async def __call__(self, work: Callable[[Connection], T], timeout_s: float) -> T:
        """What `work` gives."""
        ...


LOAN_S = 60.0
"""How long a loan may be spent at most; a fortieth of its window when that is less."""
LEAST_LOAN_S = 0.25
ASKED_AGAIN_S = 0.5
TIMEOUT_S = 1.0
START_TIMEOUT_S = 5.0
GREETED_EVERY_S = 15.0
FRESH_S = 1.0
"""How old the shared bucket's word on what is left may be in a response header, while somebody asks."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Account:
    """This gateway's dealings with one meter; times are `time.monotonic()`."""

    window: Window
    loan: float = 0.0
    loan_until: float = 0.0
    slice_ends: float = 0.0
    debt: float = 0.0
    left: float = 0.0
    asked_at: float = -1e9
    refused_until: float = 0.0
    free_at: float = 0.0
    reset_at: float = 0.0
    spent: list[tuple[float, float]] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def usable(self, now: float) -> float:
        return self.loan if now < self.loan_until else 0.0


class LeasedMeters:
    """`Meters` over a shared bucket; what is under way at the same time is counted by each gateway for itself."""

    def __init__(self, run: Run, at_least: int = 1, timeout_s: float = TIMEOUT_S) -> None:
        """`at_least` gateways are taken to share the limits before the shared bucket has said how many do; its answer
        is waited for `timeout_s` seconds at most."""
        self._run = run
        self._timeout_s = timeout_s
        self._gateway = uuid.uuid4().hex
        self._gateways = self._at_least = at_least
        self._own = InMemoryMeters()
        self._accounts: dict[str, _Account] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.degraded = False
        """Whether the shared bucket does not answer, and each gateway holds its share of the limits alone."""

    async def take(self, meter: str, window: Window, amount: float) -> bool:
        """See `Meters`."""
        if not await self.ready(meter, window, amount):
            return False
        self._spend(self._account(meter, window), amount)
        await self._own.charge(meter, window, amount)
        return True

    async def ready(self, meter: str, window: Window, least: float) -> bool:
        """See `Meters`."""
        account = self._account(meter, window)
        if account.usable(time.monotonic()) >= least:
            return True
        async with account.lock:
            now = time.monotonic()
            if account.usable(now) >= least:
                return True
            if now < account.refused_until:
                return False
            if not await self._ask(meter, account, least):
                return await self._alone(meter, account, least)
            return account.usable(time.monotonic()) >= least

    async def _alone(self, meter: str, account: _Account, least: float) -> bool:
        """Whether `least` more is within this gateway's own share."""
        since_s = time.monotonic() - account.asked_at
        if since_s < account.window.period_s and account.debt + least > account.left / self._gateways:
            return False
        return await self._own.ready(meter, self._share(account.window), least)

    async def charge(self, meter: str, window: Window, amount: float, ago_s: float = 0) -> None:
        """See `Meters`. What is beyond the loan is told the shared bucket beside the request."""
        await self._own.charge(meter, window, amount, ago_s)
        account = self._account(meter, window)
        if ago_s:
            account.spent.append((ago_s, amount))
            return
        self._spend(account, amount)
        if account.debt:
            self._beside(meter, account)

    async def standing(self, meter: str, window: Window, amount: float) -> Standing:
        """See `Meters`: as of the last time that the shared bucket was asked, which is done again beside the request
        when it was long ago."""
        account, now = self._account(meter, window), time.monotonic()
        if self.degraded:
            return await self._own.standing(meter, self._share(window), amount)
        if now - account.asked_at > FRESH_S:
            self._beside(meter, account)
        usable = account.usable(now)
        wait_s = 0.0 if usable >= amount else max(0.0, account.free_at - now)
        return Standing(max(0.0, account.left + usable - account.debt), wait_s, max(0.0, account.reset_at - now))

    async def enter(self, meter: str, limit: int) -> bool:
        """See `Meters`."""
        return await self._own.enter(meter, limit)

    async def leave(self, meter: str) -> None:
        """See `Meters`."""
        await self._own.leave(meter)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Bring back in time what was borrowed for nothing, and all of it in the end."""
        await self._greet(START_TIMEOUT_S)
        returning = asyncio.ensure_future(self._return_forever())
        try:
            yield
        finally:
            returning.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for meter, account in self._accounts.items():
                account.loan_until = 0.0
                if account.loan or account.debt:
                    await self._ask(meter, account, 0.0)
            if not self.degraded:
                await self._in_transaction(lambda connection: leave(connection, self._gateway), self._timeout_s)

    async def _return_forever(self) -> None:
        greeted_at = time.monotonic()
        while True:
            await asyncio.sleep(ASKED_AGAIN_S)
            now = time.monotonic()
            if now - greeted_at > GREETED_EVERY_S:
                greeted_at = now
                await self._greet(self._timeout_s)
            for meter, account in list(self._accounts.items()):
                if account.debt or (account.loan and now >= account.loan_until):
                    self._beside(meter, account)

    async def _greet(self, timeout_s: float) -> None:
        """Tell the others of this gateway, and learn how many there are."""
        count = await self._in_transaction(lambda connection: seen(connection, self._gateway), timeout_s)
        self._gateways = max(self._at_least, count or self._gateways)

    def _account(self, meter: str, window: Window) -> _Account:
        account = self._accounts.get(meter)
        if account is None:
            account = self._accounts[meter] = _Account(window, left=window.limit)
        return account

    def _spend(self, account: _Account, amount: float) -> None:
        """Of the loan first; what is beyond it is a debt."""
        of_loan = min(account.usable(time.monotonic()), amount)
        account.loan -= of_loan
        account.debt += amount - of_loan

    def _share(self, window: Window) -> Window:
        return Window(max(window.limit / self._gateways, window.unit), window.period_s, window.unit)

    def _beside(self, meter: str, account: _Account) -> None:
        """Ask beside the request, unless somebody is asking."""
        if not account.lock.locked():
            task = asyncio.ensure_future(self._settle(meter, account))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle(self, meter: str, account: _Account) -> None:
        async with account.lock:
            await self._ask(meter, account, 0.0)

    async def _ask(self, meter: str, account: _Account, want: float) -> bool:
        """Settle with the shared bucket and borrow `want` or more; False when it does not answer."""
        asked_at = time.monotonic()
        back = 0.0
        if want or asked_at >= account.loan_until:
            back, account.loan = account.loan, 0.0  # a loan is never prolonged: the bucket counts it by its last moment
        debt, account.debt = account.debt, 0.0
        valid_s = min(max(account.window.period_s / 40, LEAST_LOAN_S), LOAN_S)
        spent = tuple(account.spent)
        ask = Ask(self._gateway, meter, account.window, want, debt, (back, account.slice_ends), spent, valid_s)
        loan = await self._in_transaction(lambda connection: lend(connection, ask), self._timeout_s)
        if loan is None:
            account.debt += debt
            return False
        account.spent.clear()
        if loan.granted:
            account.loan = loan.granted
            account.loan_until, account.slice_ends = asked_at + valid_s, loan.slice_ends
        self._gateways = max(self._at_least, loan.gateways)
        account.left, account.asked_at = loan.left, asked_at
        account.reset_at = asked_at + loan.reset_s
        account.free_at = asked_at + loan.wait_s
        if want:
            account.refused_until = 0.0 if loan.granted else asked_at + min(loan.wait_s, ASKED_AGAIN_S)
        return True

    async def _in_transaction(self, work: Callable[[Connection], T], timeout_s: float) -> T | None:
        """What `work` gives; None when the shared bucket does not answer."""
        try:
            result = await self._run(work, timeout_s)
        except (SharedAway, SQLAlchemyError) as error:
            if not self.degraded:
                log.warning("limits are held by each gateway alone, at its share: %s", error)
            self.degraded = True
            return None
        if self.degraded:
            log.warning("limits are held together again")
        self.degraded = False
        return result


def over_file(path: Path) -> Run:
    """The shared bucket of the workers of one gateway: their ledger's own file."""
    engine = create_engine(f"sqlite:///{path.absolute()}", poolclass=NullPool, connect_args={"timeout": TIMEOUT_S})
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = NORMAL"))

    def transaction(work: Callable[[Connection], T]) -> T:
        with engine.begin() as connection:
            return work(connection)

    async def run(work: Callable[[Connection], T], timeout_s: float) -> T:
        return await asyncio.to_thread(transaction, work)

    return run


def over_database(shared: Shared) -> Run:
    """The shared bucket of several gateways: their PostgreSQL."""

    async def run(work: Callable[[Connection], T], timeout_s: float) -> T:
        return await shared.run(work, timeout_s=timeout_s)

    return run
