"""Summaries of an experiment's conversations, a thousand at a time, that the database drops when they are out of date.

A segment covers the conversations of one experiment that were dealt from `begins_at` until before `ends_at`; its
`summary` is JSON of sums (`gateway.ledger.sums`). Reports make the segments, triggers delete them: whoever changes a
turn or an assignment, the segment that holds its conversation is gone and the next report makes it again from the rows.
So no sum can drift, and a report reads what is new.

A segment is made in three steps, so that nobody waits for it: a row without a summary is committed, the turns are
read, and the summary is put into the row, unless a trigger has deleted it meanwhile. In PostgreSQL a transaction that
was open before the first step would not see the row: writers hold a shared lock, which the first step waits for.
"""

from __future__ import annotations

from collections.abc import Iterator

TRIGGERS_LOCK = 7_140_508
"""PostgreSQL's advisory lock; writers share it until they commit."""

_COUNTED = "{0}.experiment IS NOT NULL AND {0}.excluded IS NULL AND {0}.auxiliary IS NULL"
_CHANGES = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}


def segment_triggers(dialect: str) -> list[str]:
    """The statements that make the triggers."""
    return list(_sqlite() if dialect == "sqlite" else _postgresql())


def drop_segment_triggers(dialect: str) -> list[str]:
    """The statements that take them away again."""
    if dialect == "sqlite":
        return [
            f"DROP TRIGGER IF EXISTS {table}_outdated_on_{change.lower()}"
            for table in ("turns", "assignments")
            for change in _CHANGES
        ]
    return [f"DROP FUNCTION IF EXISTS gattway_outdate_{table}() CASCADE" for table in ("turns", "assignments")]


def _sqlite() -> Iterator[str]:
    for change, versions in _CHANGES.items():
        body = "".join(_sqlite_delete(f"{row}.experiment", f"{row}.assigned_at") for row in versions)
        yield f"CREATE TRIGGER assignments_outdated_on_{change.lower()} AFTER {change} ON assignments BEGIN {body} END"
        when = " OR ".join(f"({_COUNTED.format(row)})" for row in versions)
        body = "".join(_sqlite_delete(f"{row}.experiment", _dealt_at(row)) for row in versions)
        yield (
            f"CREATE TRIGGER turns_outdated_on_{change.lower()} AFTER {change} ON turns WHEN {when} BEGIN {body} END"
        )


def _dealt_at(row: str) -> str:
    return (
        f"(SELECT assigned_at FROM assignments WHERE conversation_id = {row}.conversation_id "
        f"AND experiment = {row}.experiment AND key_name = coalesce({row}.key_name, ''))"
    )


def _sqlite_delete(experiment: str, at: str) -> str:
    return (
        f"DELETE FROM report_segments WHERE experiment = {experiment} AND ends_at > {at} AND begins_at = "
        f"(SELECT max(begins_at) FROM report_segments WHERE experiment = {experiment} AND begins_at <= {at}); "
    )


def _postgresql() -> Iterator[str]:
    dealt = (
        "SELECT DISTINCT a.experiment, a.assigned_at FROM changed AS c JOIN assignments AS a "
        "ON a.conversation_id = c.conversation_id AND a.experiment = c.experiment "
        f"AND a.key_name = coalesce(c.key_name, '') WHERE {_COUNTED.format('c')}"
    )
    for table, moments in (("assignments", "SELECT DISTINCT experiment, assigned_at FROM changed"), ("turns", dealt)):
        yield (
            f"CREATE FUNCTION gattway_outdate_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"PERFORM pg_advisory_xact_lock_shared({TRIGGERS_LOCK}); "
            f"DELETE FROM report_segments AS s USING ({moments}) AS m WHERE s.experiment = m.experiment "
            "AND s.begins_at <= m.assigned_at AND m.assigned_at < s.ends_at; RETURN NULL; END $$"
        )
        for change, versions in _CHANGES.items():
            for row in versions:
                yield (
                    f"CREATE TRIGGER {table}_outdated_on_{change.lower()}_{row.lower()} AFTER {change} ON {table} "
                    f"REFERENCING {row} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gattway_outdate_{table}()"
                )
