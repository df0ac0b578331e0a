"""The sink's statements. Each takes its rows as one JSON parameter, `rows`: the fastest way through psycopg2."""

from __future__ import annotations

# One trip for both. They bound this transaction alone, whatever the session allows.
BOUNDS = "SET LOCAL statement_timeout = '20s'; SET LOCAL lock_timeout = '10s'"

# Locks the row of every item, also where it changes nothing, in an order that is the same for all: who writes the
# same items waits here, and all later statements see what the other has done. An entry that could not be read never
# takes the place of one that could. The answer is how many rows are new.
UPSERT_ITEMS = """
WITH upserted AS (
    INSERT INTO items AS old
        (source, item_id, kind, text, lang, state, created_at, updated_at, received_at, meta,
         entry_id, entry_ms, entry_seq)
    SELECT source, item_id, kind, text, lang, state, created_at, updated_at, received_at, meta,
           entry_id, entry_ms, entry_seq
    FROM json_to_recordset(CAST(%(rows)s AS json)) AS new
        (source text, item_id text, kind text, text text, lang text, state text, created_at timestamptz,
         updated_at timestamptz, received_at timestamptz, meta jsonb, entry_id text, entry_ms numeric,
         entry_seq numeric)
    ORDER BY source COLLATE "C", item_id COLLATE "C"
    ON CONFLICT (source, item_id) DO UPDATE SET
        kind = excluded.kind, text = excluded.text, lang = excluded.lang, state = excluded.state,
        created_at = excluded.created_at, updated_at = excluded.updated_at, received_at = excluded.received_at,
        meta = excluded.meta, entry_id = excluded.entry_id, entry_ms = excluded.entry_ms,
        entry_seq = excluded.entry_seq
    WHERE (excluded.state <> 'dead', excluded.updated_at, excluded.entry_ms, excluded.entry_seq)
        > (old.state <> 'dead', old.updated_at, old.entry_ms, old.entry_seq)
    RETURNING xmax = 0 AS fresh  -- a row that was updated carries the updating transaction in xmax
)
SELECT count(*) FROM upserted WHERE fresh
"""

SELECT_CURRENT = """
SELECT p.source, p.item_id, p.task, p.model, p.model_version, p.updated_at, p.entry_ms, p.entry_seq
FROM json_to_recordset(CAST(%(rows)s AS json)) AS asked (source text, item_id text, task text)
JOIN predictions p USING (source, item_id, task)
WHERE p.current
"""

CLEAR_CURRENT = """
UPDATE predictions p SET current = false
FROM json_to_recordset(CAST(%(rows)s AS json)) AS old
    (source text, item_id text, task text, model text, model_version text)
WHERE p.source = old.source AND p.item_id = old.item_id AND p.task = old.task AND p.model = old.model
    AND p.model_version = old.model_version AND p.current
"""

# A result that was made in production gives way only to another such.
UPSERT_PREDICTIONS = """
INSERT INTO predictions AS old
    (source, item_id, task, model, model_version, label, score, scores, route_set, route_set_version, stage,
     production, current, queue_ms, infer_ms, entry_id, entry_ms, entry_seq, item_created_at, updated_at)
SELECT source, item_id, task, model, model_version, label, score, scores, route_set, route_set_version, stage,
       production, current, queue_ms, infer_ms, entry_id, entry_ms, entry_seq, item_created_at, updated_at
FROM json_to_recordset(CAST(%(rows)s AS json)) AS new
    (source text, item_id text, task text, model text, model_version text, label text, score double precision,
     scores jsonb, route_set text, route_set_version integer, stage text, production boolean, current boolean,
     queue_ms double precision, infer_ms double precision, entry_id text, entry_ms numeric, entry_seq numeric,
     item_created_at timestamptz, updated_at timestamptz)
ON CONFLICT (source, item_id, task, model, model_version) DO UPDATE SET
    label = excluded.label, score = excluded.score, scores = excluded.scores, route_set = excluded.route_set,
    route_set_version = excluded.route_set_version, stage = excluded.stage, production = excluded.production,
    current = excluded.current, queue_ms = excluded.queue_ms, infer_ms = excluded.infer_ms,
    entry_id = excluded.entry_id, entry_ms = excluded.entry_ms, entry_seq = excluded.entry_seq,
    item_created_at = excluded.item_created_at, updated_at = excluded.updated_at, created_at = excluded.created_at
WHERE (excluded.production, excluded.updated_at, excluded.entry_ms, excluded.entry_seq)
    > (old.production, old.updated_at, old.entry_ms, old.entry_seq)
"""

SELECT_ASSIGNMENTS = """
SELECT a.source, a.item_id, a.team, a.status, a.updated_at, a.entry_ms, a.entry_seq
FROM json_to_recordset(CAST(%(rows)s AS json)) AS asked (source text, item_id text)
JOIN assignments a USING (source, item_id)
FOR UPDATE OF a
"""

WRITE_ASSIGNMENTS = """
WITH new AS MATERIALIZED (
    SELECT * FROM json_to_recordset(CAST(%(rows)s AS json)) AS new
        (source text, item_id text, team text, score double precision, status text, route_set text,
         route_set_version integer, entry_id text, entry_ms numeric, entry_seq numeric, updated_at timestamptz,
         announce boolean, from_team text, who text, why text, kind text, payload jsonb)
), assigned AS (
    INSERT INTO assignments AS old
        (source, item_id, team, score, status, route_set, route_set_version, entry_id, entry_ms, entry_seq, updated_at)
    SELECT source, item_id, team, score, status, route_set, route_set_version, entry_id, entry_ms, entry_seq,
           updated_at
    FROM new
    ON CONFLICT (source, item_id) DO UPDATE SET
        team = excluded.team, score = excluded.score, status = excluded.status, route_set = excluded.route_set,
        route_set_version = excluded.route_set_version, entry_id = excluded.entry_id, entry_ms = excluded.entry_ms,
        entry_seq = excluded.entry_seq, updated_at = excluded.updated_at,
        changed_at = CASE WHEN (old.team, old.status) = (excluded.team, excluded.status)
            THEN old.changed_at ELSE excluded.changed_at END
), told AS (
    INSERT INTO assignment_events (source, item_id, who, from_team, to_team, why)
    SELECT source, item_id, who, from_team, team, why FROM new WHERE announce
)
INSERT INTO outbox (kind, source, item_id, team, payload)
SELECT kind, source, item_id, team, payload FROM new WHERE announce
"""

INSERT_DEAD_LETTERS = """
INSERT INTO dead_letters (lane, entry_id, source, item_id, code, field, message, raw, deliveries)
SELECT lane, entry_id, source, item_id, code, field, message, raw, deliveries
FROM json_to_recordset(CAST(%(rows)s AS json)) AS new
    (lane text, entry_id text, source text, item_id text, code text, field text, message text, raw jsonb,
     deliveries integer)
ON CONFLICT (lane, entry_id) DO NOTHING
"""
