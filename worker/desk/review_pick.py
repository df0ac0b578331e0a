"""Which results a reviewer may be shown: uncertain ones in order, and a random draw. Reads only.

**Uncertain**: current results with a score under LOW_CONFIDENCE, least sure first; of tickets those in triage before
them. **Random**: a uniform draw of all current results that were stored in the last `review_days`, which alone speaks
for all of them.

How far the draw is uniform: large tables are sampled by pages (TABLESAMPLE SYSTEM, about SAMPLE_ROWS rows), and one
of the sampled rows is taken by chance. A row on a page with fewer others is a little likelier, which some hundred
pages even out; rows of one page come together, but only one of them is taken. Where the sample holds nothing that
matches, the newest _NEWEST_ROWS results are drawn from. Results that were judged already are drawn as well, or else
the sample would hold too few of the uncertain, which reviewers see anyway: see `review_queue.claim`. Texts that
every reviewer skips stay out of the statistics, as unanswered letters do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause, text

from schemas.names import Task
from schemas.settings import Settings
from worker.desk.copies import Copies, fingerprint

LOW_CONFIDENCE = 0.7
WINDOW_ROWS = 500
"""Uncertain results that are compared with each other."""
SAMPLE_ROWS = 4_000
_NEWEST_ROWS = 20_000
_DRAWN_ROWS = 50
_ROWS_OF_A_PAGE = 20  # until the table is analyzed

# A result of an older text than the item has is not shown: what it says of the new text is not known.
_SHOWABLE = """
    JOIN items i ON i.source = p.source AND i.item_id = p.item_id
    LEFT JOIN assignments a ON a.source = p.source AND a.item_id = p.item_id
    WHERE p.current AND p.task = :task
        AND p.created_at >= now() - make_interval(days => :days)
        AND i.state = 'done' AND i.text <> '' AND i.updated_at = p.updated_at
        AND (CAST(:source AS text) IS NULL OR p.source = :source)
        AND (CAST(:team AS text) IS NULL OR a.team = :team OR p.task = 'routing' AND p.label = :team)
        AND NOT EXISTS (
            SELECT FROM reviews r WHERE r.source = p.source AND r.item_id = p.item_id AND r.task = p.task AND (
                r.state = 'claimed' AND r.claimed_at > now() - make_interval(secs => :claim_s)
                OR r.state = 'skipped' AND r.reviewer = :reviewer AND r.text_updated_at = i.updated_at
            )
        )
"""
_DECIDED = """
    FROM reviews r WHERE r.source = p.source AND r.item_id = p.item_id AND r.task = p.task
        AND r.state IN ('accepted', 'corrected') AND r.text_updated_at = i.updated_at
"""
# What a person has put where it is needs no second look, unless chance says so.
_UNDECIDED = f"AND a.status IS DISTINCT FROM 'overridden' AND NOT EXISTS (SELECT {_DECIDED})"
_COLUMNS = "p.source, p.item_id, i.text, i.updated_at"
_UNSURE = text(
    f"SELECT {_COLUMNS} FROM predictions p {_SHOWABLE} {_UNDECIDED}"  # noqa: S608 - constants
    f" AND p.score < {LOW_CONFIDENCE} AND (p.task <> 'routing' OR a.status IS DISTINCT FROM 'triage')"
    " ORDER BY p.score, p.source, p.item_id LIMIT :rows OFFSET :skipped"
)
_IN_TRIAGE = text(
    f"SELECT {_COLUMNS} FROM predictions p {_SHOWABLE} {_UNDECIDED}"  # noqa: S608
    " AND a.team = 'triage' AND a.status = 'triage'"
    " ORDER BY p.score, p.source, p.item_id LIMIT :rows OFFSET :skipped"
)
# `decided`: the review that has judged it, or the one that it was judged along with.
_DRAW = (
    f"SELECT {_COLUMNS}, (SELECT coalesce((r.before ->> 'copy_of')::bigint, r.id) {_DECIDED}"
    " ORDER BY r.decided_at DESC LIMIT 1) AS decided"
)
_DRAW_BY_PAGES = text(
    f"{_DRAW} FROM predictions p TABLESAMPLE SYSTEM (:percent) {_SHOWABLE} ORDER BY random() LIMIT :rows"
)
_DRAW_OF_NEWEST = text(
    f"{_DRAW} FROM (SELECT * FROM predictions WHERE current ORDER BY created_at DESC LIMIT {_NEWEST_ROWS}) p"  # noqa: S608
    f" {_SHOWABLE} ORDER BY random() LIMIT :rows"
)
_TABLE_SIZE = text(
    "SELECT reltuples, relpages, pg_relation_size(oid) / current_setting('block_size')::bigint AS pages"
    " FROM pg_class WHERE oid = 'predictions'::regclass"
)
# What a reviewer need not see a near-copy of: what is judged, what another looks at, what he has skipped himself.
_SEEN = """
    r.task = :task AND (
        r.state IN ('accepted', 'corrected') AND r.decided_at >= now() - make_interval(days => :days)
        OR r.state = 'skipped' AND r.reviewer = :reviewer
        OR r.state = 'claimed' AND r.claimed_at > now() - make_interval(secs => :claim_s)
    )
"""
_DECISION = "CASE WHEN r.state IN ('accepted', 'corrected') THEN coalesce((r.before ->> 'copy_of')::bigint, r.id) END"
_SEEN_TEXTS = text(
    f"SELECT {_DECISION} AS decided, left(i.text, 4000) AS text"  # noqa: S608
    f" FROM reviews r JOIN items i USING (source, item_id) WHERE {_SEEN} AND i.updated_at = r.text_updated_at"
    f" ORDER BY coalesce(r.decided_at, r.claimed_at) DESC LIMIT {WINDOW_ROWS}"
)
SEEN_FINGERPRINTS = text(
    f"SELECT r.fingerprint, {_DECISION} AS decided FROM reviews r"  # noqa: S608
    f" WHERE r.fingerprint = ANY (:fingerprints) AND {_SEEN}"
)


@dataclass(frozen=True, slots=True)
class Which:
    """What a reviewer wants to look at. `team`: tickets that are with it, or that the model would give it."""

    task: Task
    source: str | None = None
    team: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """For whom something is picked, by which settings."""

    which: Which
    reviewer: str
    settings: Settings

    @property
    def values(self) -> dict[str, Any]:
        """Parameters of the statements here."""
        return {
            "task": self.which.task.value,
            "source": self.which.source,
            "team": self.which.team,
            "reviewer": self.reviewer,
            "days": self.settings.review_days,
            "claim_s": self.settings.review_claim_s,
        }


@dataclass(frozen=True, slots=True)
class Candidate:
    """A result that may be shown. `decided`: the review that has judged it already, of random ones alone."""

    source: str
    item_id: str
    text: str
    updated_at: datetime
    decided: int | None = None
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", fingerprint(self.text))


def uncertain(connection: Connection, asked: Asked, window: int = 0) -> list[Candidate]:
    """The uncertain results of one window of WINDOW_ROWS, first things first."""
    page = {**asked.values, "rows": WINDOW_ROWS, "skipped": window * WINDOW_ROWS}
    statements = (_IN_TRIAGE, _UNSURE) if asked.which.task is Task.ROUTING else (_UNSURE,)
    return [candidate for statement in statements for candidate in _candidates(connection, statement, page)]


def drawn(connection: Connection, asked: Asked) -> list[Candidate]:
    """Results in the order chance gives them, those included that were judged already."""
    size = connection.execute(_TABLE_SIZE).one()
    per_page = size.reltuples / size.relpages if size.reltuples > 0 and size.relpages else _ROWS_OF_A_PAGE
    percent = min(100.0, 100 * SAMPLE_ROWS / max(1.0, per_page * size.pages))
    values = {**asked.values, "rows": _DRAWN_ROWS}
    found = _candidates(connection, _DRAW_BY_PAGES, {**values, "percent": percent})
    return found if found or percent == 100 else _candidates(connection, _DRAW_OF_NEWEST, values)


def _candidates(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> list[Candidate]:
    return [Candidate(*row) for row in connection.execute(statement, values)]


class Seen:
    """What need not be shown again: texts that were judged of late, are being judged, or were skipped."""

    def __init__(self, connection: Connection, asked: Asked, candidates: Sequence[Candidate]) -> None:
        fingerprints = {"fingerprints": [candidate.fingerprint for candidate in candidates]}
        same = connection.execute(SEEN_FINGERPRINTS, {**asked.values, **fingerprints})
        self._same = {row.fingerprint: row.decided for row in same}
        rows = connection.execute(_SEEN_TEXTS, asked.values).all()
        self._decided = [row.decided for row in rows]
        self._copies = Copies([row.text for row in rows])

    def has(self, candidate: Candidate) -> bool:
        """Whether this is a near-copy of such a text."""
        return candidate.fingerprint in self._same or bool(self._copies.like(candidate.text))

    def decided(self, candidate: Candidate) -> int | None:
        """The review that has judged this, or a near-copy of it; None if none has."""
        if candidate.decided is not None:
            return candidate.decided
        near = (self._decided[number] for number in self._copies.like(candidate.text))
        return self._same.get(candidate.fingerprint) or next((found for found in near if found), None)
