"""The one bucket of a limit that several gateways hold together, in a database that all of them see.

A gateway borrows a part of what is left and spends it by itself. What it borrowed counts as used from then on, until a
whole period after the loan's last moment, so no period ever holds more than the limit; what it does not spend in time
it brings back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, case, delete, func, select, text, update
from sqlalchemy.dialects.sqlite import insert

from gateway.access.meters import SLICES, Window
from gateway.ledger.schema import limit_gateways, limit_meters, limit_slices

LOAN_SHARE = 0.05
"""Most of a limit that is lent at once."""
ROOM_SHARE = 0.1
"""Most of what is left that is lent at once, so that little is out on loan where little is left."""
SEEN_S = 60.0
"""A gateway that has asked for nothing for so long has no share any more."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a gateway wants of one meter.

    Args:
        gateway: its own name.
        want: the amount that it cannot do without; 0 to look only.
        debt: what it has used beyond its loans.
        back: of earlier loans, the part that it did not use and the slice that it is booked in.
        spent: what its own books know of the time before the meter existed, as (seconds ago, amount).
        valid_s: how long it may spend what it is lent.
    """

    gateway: str
    meter: str
    window: Window
    want: float
    debt: float = 0.0
    back: tuple[float, float] = (0.0, 0.0)
    spent: Sequence[tuple[float, float]] = ()
    valid_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Loan:
    """What it got: `granted` (0, or `want` and more) booked in the slice that ends at `slice_ends`; what is `left`
    besides; seconds until as much more would fit and until nothing counts; how many gateways share the limit."""

    granted: float
    slice_ends: float
    left: float
    wait_s: float
    reset_s: float
    gateways: int


def lend(connection: Connection, ask: Ask) -> Loan:
    """Settle a gateway's debts on a meter and lend it what it wants, if that fits; one transaction.

    Asked twice, it lends twice; what is not spent then counts until its period is over, never the other way.
    """
    begun = _insert(connection, limit_meters).values(meter=ask.meter, asked=0)
    fresh = connection.execute(begun.on_conflict_do_nothing()).rowcount
    # The row's lock (on SQLite the file's) makes gateways come one after the other.
    connection.execute(
        update(limit_meters)
        .where(limit_meters.c.meter == ask.meter)
        .values(asked=(limit_meters.c.asked + 1) % 1_000_000)
    )
    now = _now(connection)
    step, period = ask.window.period_s / SLICES, ask.window.period_s

    def book(at: float, amount: float) -> float:
        ends = (math.floor(at / step) + 1) * step
        row = _insert(connection, limit_slices).values(meter=ask.meter, ends=ends, amount=amount)
        added = {"amount": limit_slices.c.amount + row.excluded.amount}
        connection.execute(row.on_conflict_do_update(index_elements=["meter", "ends"], set_=added))
        return ends

    for ago_s, amount in ask.spent if fresh else ():
        book(now - ago_s, amount)
    if ask.debt:
        book(now, ask.debt)
    unused, booked_in = ask.back
    if unused:
        _give_back(connection, ask.meter, booked_in, unused)
    connection.execute(
        delete(limit_slices).where(limit_slices.c.meter == ask.meter, limit_slices.c.ends <= now - period)
    )
    slices = _slices(connection, ask.meter)
    room = ask.window.limit - sum(amount for _, amount in slices)
    granted = _granted(ask, room)
    ends = book(now + ask.valid_s, granted) if granted else 0.0
    slices = [*slices, (ends, granted)] if granted else slices
    last = slices[-1][0] if slices else 0.0
    return Loan(
        granted=granted,
        slice_ends=ends,
        left=max(0.0, room - granted),
        wait_s=_wait_s(slices, room - granted, ask, now),
        reset_s=max(0.0, last + period - now) if last else 0.0,
        gateways=seen(connection, ask.gateway, now),
    )


def leave(connection: Connection, gateway: str) -> None:
    """A gateway stops: its share goes to the others."""
    connection.execute(delete(limit_gateways).where(limit_gateways.c.gateway == gateway))


def _granted(ask: Ask, room: float) -> float:
    if not ask.want or room < ask.want:
        return 0.0
    loan = max(ask.want, min(LOAN_SHARE * ask.window.limit, ROOM_SHARE * room))
    unit = ask.window.unit
    return max(ask.want, math.floor(loan / unit) * unit) if unit else loan


def _give_back(connection: Connection, meter: str, ends: float, amount: float) -> None:
    """Nothing once the slice has gone; and never more than is booked there."""
    less = limit_slices.c.amount - amount
    connection.execute(
        update(limit_slices)
        .where(limit_slices.c.meter == meter, limit_slices.c.ends == ends)
        .values(amount=case((less > 0, less), else_=0.0))
    )


def _slices(connection: Connection, meter: str) -> list[tuple[float, float]]:
    query = (
        select(limit_slices.c.ends, limit_slices.c.amount)
        .where(limit_slices.c.meter == meter, limit_slices.c.amount > 0)
        .order_by(limit_slices.c.ends)
    )
    return [(ends, amount) for ends, amount in connection.execute(query)]


def _wait_s(slices: list[tuple[float, float]], room: float, ask: Ask, now: float) -> float:
    """Seconds until there is room for as much as is wanted, or for anything; until all is forgotten, if never."""
    wanted, until = ask.want or ask.window.unit or 1e-9, now
    for ends, amount in slices:
        if room >= wanted:
            break
        room, until = room + amount, ends + ask.window.period_s
    return max(0.0, until - now)


def seen(connection: Connection, gateway: str, now: float | None = None) -> int:
    """Note that a gateway is there; how many are."""
    now = _now(connection) if now is None else now
    row = _insert(connection, limit_gateways).values(gateway=gateway, seen_at=now)
    connection.execute(row.on_conflict_do_update(index_elements=["gateway"], set_={"seen_at": now}))
    query = select(func.count()).where(limit_gateways.c.seen_at > now - SEEN_S)
    return int(connection.execute(query).scalar_one())


def _insert(connection: Connection, table: Table) -> Any:
    """The database's own INSERT, which knows ON CONFLICT; PostgreSQL's loads where there is one."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as into_postgresql

        return into_postgresql(table)
    return insert(table)


def _now(connection: Connection) -> float:
    """The one clock of all gateways: the database's; on SQLite the machine's."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()
