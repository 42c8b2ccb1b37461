"""Sums that the database keeps of its turns: one row a conversation.

With ten million turns a page of conversations cannot add them up each time. Triggers keep the sums, so they hold
whoever writes: this gattway, the version before it, or a person with SQL. Auxiliary requests and shadows are in no sum.
A sum is null where every part of it is unknown.

SQLite's triggers work row by row and add to what is there; a column that is in an index is set only where it changes,
for SQLite writes an index anew whatever the value is. PostgreSQL's take a whole statement's rows at once and add the
conversations in it up anew. Shippers insert batches, each in one statement.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

SUMMED = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "instruction_tokens",
    "repeated_instruction_tokens",
    "cost_usd",
)
_NAMED = ("identity_source", "experiment", "arm", "strategy", "model")
_COUNTED = "auxiliary IS NULL AND shadow_of IS NULL"
_CHANGES = ("INSERT", "UPDATE", "DELETE")


def triggers(dialect: str, summed: tuple[str, ...] = SUMMED) -> list[str]:
    """The statements that make the triggers."""
    return list(_sqlite(summed) if dialect == "sqlite" else _postgresql(summed))


def drop_triggers(dialect: str) -> list[str]:
    """The statements that take them away again."""
    if dialect == "sqlite":
        return [f"DROP TRIGGER IF EXISTS turns_summed_on_{change.lower()}" for change in _CHANGES]
    return ["DROP FUNCTION IF EXISTS gattway_sum_conversations() CASCADE"]


def rebuild(connection: Connection, summed: tuple[str, ...] = SUMMED) -> None:
    """Add everything up anew."""
    connection.execute(text("DELETE FROM conversations"))
    connection.execute(text(f"{_into_conversations(summed)} {_summed_turns(summed)}"))


def _into_conversations(summed: tuple[str, ...]) -> str:
    names = ("conversation_id", "key_name", *_NAMED, "turn_count", "requests", "started_at", "last_at", *summed)
    return f"INSERT INTO conversations ({', '.join(names)}, failed, excluded, judged, adherent, drifted_at)"


def _summed_turns(summed: tuple[str, ...], condition: str = "") -> str:
    return (
        "SELECT conversation_id, coalesce(key_name, ''), "
        + ", ".join(f"max({name})" for name in _NAMED)
        + ", max(turn), count(*), min(started_at), max(started_at), "
        + ", ".join(f"sum({name})" for name in summed)
        + ", count(*) FILTER (WHERE status <> 'ok'), count(excluded), count(adherent)"
        ", count(*) FILTER (WHERE adherent), min(turn) FILTER (WHERE NOT adherent)"
        f" FROM turns WHERE {_COUNTED} {condition} GROUP BY conversation_id, coalesce(key_name, '')"
    )


def _sqlite(summed: tuple[str, ...]) -> Iterator[str]:
    again = (
        "DELETE FROM conversations WHERE conversation_id = OLD.conversation_id "
        "AND key_name = coalesce(OLD.key_name, ''); "
        f"{_into_conversations(summed)} "
        + _summed_turns(
            summed, "AND conversation_id = OLD.conversation_id AND coalesce(key_name, '') = coalesce(OLD.key_name, '')"
        )
    )
    bodies = {
        "INSERT": _sqlite_add_one(summed),
        "UPDATE": again,
        "DELETE": again,
    }
    for change in _CHANGES:
        yield f"CREATE TRIGGER turns_summed_on_{change.lower()} AFTER {change} ON turns BEGIN {bodies[change]}; END"


def _sqlite_add_one(summed: tuple[str, ...]) -> str:
    values = (
        "NEW.conversation_id, coalesce(NEW.key_name, ''), "
        + ", ".join(f"NEW.{name}" for name in _NAMED)
        + ", NEW.turn, 1, NEW.started_at, NEW.started_at, "
        + ", ".join(f"NEW.{name}" for name in summed)
        + ", NEW.status <> 'ok', NEW.excluded IS NOT NULL, NEW.adherent IS NOT NULL, coalesce(NEW.adherent, 0)"
        ", CASE WHEN NEW.adherent = 0 THEN NEW.turn END"
    )
    indexed = {name: _greater(name) for name in ("experiment", "arm")} | {"started_at": "min(started_at, {new})"}
    updates = [
        *(f"{name} = {_greater(name).format(new=f'excluded.{name}')}" for name in _NAMED if name not in indexed),
        "turn_count = max(turn_count, excluded.turn_count)",
        "last_at = max(last_at, excluded.last_at)",
        "drifted_at = coalesce(min(drifted_at, excluded.drifted_at), drifted_at, excluded.drifted_at)",
        *(f"{name} = coalesce({name} + excluded.{name}, {name}, excluded.{name})" for name in summed),
        *(f"{name} = {name} + excluded.{name}" for name in ("requests", "failed", "excluded", "judged", "adherent")),
    ]
    counted = " AND ".join(f"NEW.{part}" for part in _COUNTED.split(" AND "))
    new = {name: value.format(new=f"NEW.{name}") for name, value in indexed.items()}
    differs = " OR ".join(f"{name} IS NOT {value}" for name, value in new.items())
    return (
        f"{_into_conversations(summed)} SELECT {values} WHERE {counted} "
        f"ON CONFLICT (conversation_id, key_name) DO UPDATE SET {', '.join(updates)}; "
        f"UPDATE conversations SET {', '.join(f'{name} = {value}' for name, value in new.items())} "
        "WHERE conversation_id = NEW.conversation_id AND key_name = coalesce(NEW.key_name, '') "
        f"AND {counted} AND ({differs})"
    )


def _greater(name: str) -> str:
    return f"coalesce(max({name}, {{new}}), {name}, {{new}})"


def _postgresql(summed: tuple[str, ...]) -> Iterator[str]:
    same = (
        "conversations.conversation_id = changed.conversation_id "
        "AND conversations.key_name = coalesce(changed.key_name, '')"
    )
    ids = "conversation_id, coalesce(key_name, '')"
    chosen = f"AND ({ids}) IN (SELECT {ids} FROM changed)"
    yield (
        "CREATE FUNCTION gattway_sum_conversations() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"DELETE FROM conversations USING changed WHERE {same}; "
        f"{_into_conversations(summed)} {_summed_turns(summed, chosen)}; RETURN NULL; END $$"
    )
    for change in _CHANGES:
        rows = "OLD" if change == "DELETE" else "NEW"
        yield (
            f"CREATE TRIGGER turns_summed_on_{change.lower()} AFTER {change} ON turns "
            f"REFERENCING {rows} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gattway_sum_conversations()"
        )
