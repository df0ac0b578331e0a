"""The statements of `worker.desk.prune`: locking, deleting and counting what is older than a moment."""

from __future__ import annotations

from sqlalchemy import text

# The items of a chunk, from where the last one ended, so that what is skipped does not hold up the rest. Whoever
# writes an item's rows locks its row first: one that is locked is being written, and so it is not old. One that was
# written since this statement began is looked at again once it is locked, and left alone.
LOCK_ITEMS = text("""
    SELECT source, item_id, received_at FROM items
    WHERE received_at < :before
        AND (received_at, source, item_id) > (CAST(:received_at AS timestamptz), :source, :item_id)
    ORDER BY received_at, source, item_id LIMIT :rows FOR UPDATE SKIP LOCKED
""")
START = {"received_at": "-infinity", "source": "", "item_id": ""}

_KEYS = "ROWS FROM (unnest(CAST(:sources AS text[])), unnest(CAST(:item_ids AS text[]))) AS k (source, item_id)"
# Announcements before their deliveries, in the order of their ids: as the relay locks them.
LOCK_OUTBOX = text(
    f"SELECT o.id FROM outbox o JOIN {_KEYS} USING (source, item_id) ORDER BY o.id FOR UPDATE OF o"  # noqa: S608
)
DELETE_BY_OUTBOX = {
    "deliveries": text("DELETE FROM deliveries WHERE outbox_id = ANY (:ids)"),
    "outbox": text("DELETE FROM outbox WHERE id = ANY (:ids)"),
}
# Table by table and the items last: a cascade would be one statement, with its triggers, for every single item.
_OF_ITEM = ("reviews", "assignment_events", "assignments", "predictions", "items")
DELETE_BY_ITEM = {
    table: text(f"DELETE FROM {table} t USING {_KEYS} WHERE (t.source, t.item_id) = (k.source, k.item_id)")  # noqa: S608
    for table in _OF_ITEM
}

# An announcement that has failed somewhere may still be replayed, for as long as its item is kept.
LOCK_DELIVERED = text("""
    SELECT o.id FROM outbox o WHERE o.delivered_at < :before
        AND NOT EXISTS (SELECT FROM deliveries d WHERE d.outbox_id = o.id AND d.state = 'failed')
    ORDER BY o.delivered_at, o.id LIMIT :rows FOR UPDATE OF o SKIP LOCKED
""")
DELETE_DEAD_LETTERS = text("""
    WITH old AS (
        SELECT id FROM dead_letters WHERE created_at < :before ORDER BY created_at, id LIMIT :rows
        FOR UPDATE SKIP LOCKED
    )
    DELETE FROM dead_letters USING old WHERE dead_letters.id = old.id
""")
DELETE_BACKFILLS = text("""
    WITH old AS (
        SELECT id FROM backfills
        WHERE state IN ('done', 'failed', 'cancelled') AND coalesce(finished_at, changed_at) < :before
        ORDER BY id LIMIT :rows FOR UPDATE SKIP LOCKED
    )
    DELETE FROM backfills USING old WHERE backfills.id = old.id
""")

_OLD_OUTBOX = """
    FROM outbox o JOIN items i USING (source, item_id)
    WHERE i.received_at < CAST(:items AS timestamptz) OR (
        o.delivered_at < CAST(:announcements AS timestamptz)
        AND NOT EXISTS (SELECT FROM deliveries d WHERE d.outbox_id = o.id AND d.state = 'failed')
    )
"""
COUNT = {
    "items": text("SELECT count(*) FROM items WHERE received_at < CAST(:items AS timestamptz)"),
    **{
        table: text(
            f"SELECT count(*) FROM {table} JOIN items i USING (source, item_id)"  # noqa: S608
            " WHERE i.received_at < CAST(:items AS timestamptz)"
        )
        for table in _OF_ITEM
        if table != "items"
    },
    "outbox": text(f"SELECT count(*) {_OLD_OUTBOX}"),
    "deliveries": text(f"SELECT count(*) FROM deliveries WHERE outbox_id IN (SELECT o.id {_OLD_OUTBOX})"),  # noqa: S608
    "dead_letters": text("SELECT count(*) FROM dead_letters WHERE created_at < CAST(:dead_letters AS timestamptz)"),
    "backfills": text(
        "SELECT count(*) FROM backfills WHERE state IN ('done', 'failed', 'cancelled')"
        " AND coalesce(finished_at, changed_at) < CAST(:backfills AS timestamptz)"
    ),
}
