"""What users say rules a turn of the shared database, whichever gateway they said it to and whenever it arrives.

A gateway rules its own rows (`gateway.ledger.amendments`) and ships them whole. The gateway that is given feedback
need not be the one that answered: its file has no such row, or has let go of it. So PostgreSQL rules by itself: a row
that is written takes over the newest feedback about it, and feedback that is written has its rows written again. Either
may come first, or twice, and what a gateway ships later of checks and judges does not undo it.
"""

from __future__ import annotations

_ABOUT_ALL = (
    "f.request_id IS NULL AND coalesce(f.key_name, '') = coalesce(NEW.key_name, '') AND NEW.auxiliary IS NULL "
    "AND NEW.shadow_of IS NULL AND NEW.status = 'ok' AND NEW.started_at <= f.given_at"
)


def ruling_triggers(dialect: str) -> list[str]:
    """The statements that make the triggers; none on SQLite, where a gateway writes its own rows alone."""
    if dialect == "sqlite":
        return []
    return [
        "CREATE FUNCTION gattway_rule_turn() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE said boolean; BEGIN "
        "SELECT f.adherent INTO said FROM feedback AS f WHERE f.conversation_id = NEW.conversation_id "
        f"AND f.adherent IS NOT NULL AND (f.request_id = NEW.request_id OR ({_ABOUT_ALL})) "
        "ORDER BY f.given_at DESC, f.feedback_id DESC LIMIT 1; "
        "IF FOUND THEN NEW.adherent := said; NEW.adherence_source := 'feedback'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER turns_ruled BEFORE INSERT OR UPDATE ON turns FOR EACH ROW EXECUTE FUNCTION gattway_rule_turn()",
        "CREATE FUNCTION gattway_rule_turns() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE turns AS t SET adherent = t.adherent FROM changed AS f WHERE t.conversation_id = f.conversation_id "
        "AND f.adherent IS NOT NULL AND (f.request_id IS NULL OR f.request_id = t.request_id) "
        "AND (t.adherent, t.adherence_source) IS DISTINCT FROM (f.adherent, 'feedback'); RETURN NULL; END $$",
        *(
            f"CREATE TRIGGER feedback_rules_on_{change.lower()} AFTER {change} ON feedback "
            "REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gattway_rule_turns()"
            for change in ("INSERT", "UPDATE")
        ),
    ]


def drop_ruling_triggers(dialect: str) -> list[str]:
    """The statements that take them away again."""
    if dialect == "sqlite":
        return []
    return [f"DROP FUNCTION IF EXISTS gattway_rule_{what}() CASCADE" for what in ("turn", "turns")]
