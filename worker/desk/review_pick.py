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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause, text

from schemas.names import TRIAGE_TEAM, AssignmentStatus, Task
from schemas.settings import Settings
from worker.desk.copies import Copies, fingerprint

LOW_CONFIDENCE = 0.7
WINDOW_ROWS = 500
"""Uncertain results that are compared with each other."""
SAMPLE_ROWS = 4_000
_NEWEST_ROWS = 20_000
_DRAWN_ROWS = 50
_NEWEST_OF_TEAM = 5_000
"""So many of a team's tickets are looked at for their sentiment, which no index of a team knows."""
_ROWS_OF_A_PAGE = 20  # until the table is analyzed

# A result of an older text than the item has is not shown: what it says of the new text is not known. The item is
# looked up for each result in turn (LATERAL … LIMIT 1): else the planner, who guesses that next to no result belongs to
# its item, reads and sorts all there are.
_COLUMNS = "p.source, p.item_id, i.text, i.updated_at"
_ITEM = """
    CROSS JOIN LATERAL (
        SELECT i.text, i.updated_at FROM items i
        WHERE i.source = p.source AND i.item_id = p.item_id AND i.state = 'done' AND i.text <> ''
            AND i.updated_at = p.updated_at
        LIMIT 1
    ) i
"""
_RESULT = """
    p.current AND p.task = :task AND p.created_at >= now() - make_interval(days => :days)
    AND (CAST(:source AS text) IS NULL OR p.source = :source)
"""
_OF_ITEM = "r.source = p.source AND r.item_id = p.item_id AND r.task = :task"
_TAKEN = """
    (r.state = 'claimed' AND r.claimed_at > now() - make_interval(secs => :claim_s)
        OR r.state = 'skipped' AND r.reviewer = :reviewer AND r.text_updated_at = i.updated_at)
"""
_JUDGED = "r.state IN ('accepted', 'corrected') AND r.text_updated_at = i.updated_at"
# What a person has put where it is needs no second look, unless chance says so.
_OPEN = f"NOT EXISTS (SELECT FROM reviews r WHERE {_OF_ITEM} AND ({_TAKEN} OR {_JUDGED}))"
# By pages: what comes after the last one of the page before, in the order of an index on the score.
_UNSURE = text(f"""
    SELECT {_COLUMNS}, p.score FROM predictions p
    LEFT JOIN LATERAL (
        SELECT a.status FROM assignments a WHERE a.source = p.source AND a.item_id = p.item_id LIMIT 1
    ) a ON true
    {_ITEM}
    WHERE {_RESULT} AND p.score < {LOW_CONFIDENCE} AND (p.score, p.source, p.item_id) > (:score, :after, :after_id)
        AND {_OPEN}
        AND a.status IS DISTINCT FROM 'overridden' AND (p.task <> 'routing' OR a.status IS DISTINCT FROM 'triage')
    ORDER BY p.score, p.source, p.item_id LIMIT :rows
""")  # noqa: S608
# Of one team. While a model decides, the assignment's score is its result's.
_ROUTED = text(f"""
    SELECT {_COLUMNS}, a.score FROM assignments a
    CROSS JOIN LATERAL (
        SELECT * FROM predictions p
        WHERE p.source = a.source AND p.item_id = a.item_id AND {_RESULT}
            AND (CAST(:label AS text) IS NULL OR p.label = :label)
        LIMIT 1
    ) p {_ITEM}
    WHERE a.team = :in_team AND a.status = :status AND a.score < :below
        AND (a.score, a.source, a.item_id) > (:score, :after, :after_id) AND {_OPEN}
    ORDER BY a.score, a.source, a.item_id LIMIT :rows
""")  # noqa: S608
_UNSURE_OF_TEAM = text(f"""
    SELECT {_COLUMNS}, p.score
    FROM (SELECT source, item_id FROM assignments WHERE team = :team AND status <> 'overridden'
        ORDER BY changed_at DESC LIMIT {_NEWEST_OF_TEAM}) a
    CROSS JOIN LATERAL (
        SELECT * FROM predictions p
        WHERE p.source = a.source AND p.item_id = a.item_id AND {_RESULT} AND p.score < {LOW_CONFIDENCE} LIMIT 1
    ) p {_ITEM}
    WHERE (p.score, p.source, p.item_id) > (:score, :after, :after_id) AND {_OPEN}
    ORDER BY p.score, p.source, p.item_id LIMIT :rows
""")  # noqa: S608
_FIRST = {"score": -1.0, "after": "", "after_id": ""}
# `decided`: the review that has judged it, or the one that it was judged along with.
_DRAW = (
    f"SELECT {_COLUMNS}, (SELECT coalesce((r.before ->> 'copy_of')::bigint, r.id) FROM reviews r"  # noqa: S608
    f" WHERE {_OF_ITEM} AND {_JUDGED} ORDER BY r.decided_at DESC LIMIT 1) AS decided"
)
_DRAWABLE = f"{_ITEM} WHERE {_RESULT} AND NOT EXISTS (SELECT FROM reviews r WHERE {_OF_ITEM} AND {_TAKEN})"
_DRAW_BY_PAGES = text(
    f"{_DRAW} FROM predictions p TABLESAMPLE SYSTEM (:percent) {_DRAWABLE} ORDER BY random() LIMIT :rows"
)
_DRAW_OF_NEWEST = text(
    f"{_DRAW} FROM (SELECT * FROM predictions WHERE current ORDER BY created_at DESC LIMIT {_NEWEST_ROWS}) p"  # noqa: S608
    f" {_DRAWABLE} ORDER BY random() LIMIT :rows"
)
_TABLE_SIZE = text(
    "SELECT reltuples, relpages, pg_relation_size(oid) / current_setting('block_size')::bigint AS pages"
    " FROM pg_class WHERE oid = 'predictions'::regclass"
)
# What a reviewer need not see a near-copy of: what is judged, what he has skipped himself, what another looks at. Each
# has an index of its own.
_SEEN = (
    "r.task = :task AND r.state IN ('accepted', 'corrected') AND r.decided_at >= now() - make_interval(days => :days)",
    "r.task = :task AND r.state = 'skipped' AND r.reviewer = :reviewer",
    "r.task = :task AND r.state = 'claimed' AND r.claimed_at > now() - make_interval(secs => :claim_s)",
)
_DECISION = "CASE WHEN r.state IN ('accepted', 'corrected') THEN coalesce((r.before ->> 'copy_of')::bigint, r.id) END"
_NEWEST_SEEN = " UNION ALL ".join(
    f"(SELECT * FROM reviews r WHERE {each} ORDER BY r.decided_at DESC LIMIT {WINDOW_ROWS})"  # noqa: S608
    for each in _SEEN
)
_SEEN_TEXTS = text(
    f"SELECT {_DECISION} AS decided, left(i.text, 4000) AS text"  # noqa: S608
    f" FROM (SELECT * FROM ({_NEWEST_SEEN}) r ORDER BY coalesce(decided_at, claimed_at) DESC LIMIT {WINDOW_ROWS}) r"
    " JOIN items i USING (source, item_id) WHERE i.updated_at = r.text_updated_at"
)
SEEN_FINGERPRINTS = text(
    f"SELECT r.fingerprint, {_DECISION} AS decided FROM reviews r"  # noqa: S608
    f" WHERE r.fingerprint = ANY (:fingerprints) AND ({' OR '.join(_SEEN)})"
)


@dataclass(frozen=True, slots=True)
class Which:
    """What a reviewer wants to look at. `team`: tickets that are with it, or that the model would give it."""

    task: Task
    source: str | None = None
    team: str | None = None

    @property
    def is_all(self) -> bool:
        """Whether it is everything of the task. Chance speaks for all results only where it draws from all."""
        return self.source is None and self.team is None


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


def windows(connection: Connection, asked: Asked) -> Iterator[list[Candidate]]:
    """The uncertain results, first things first, in windows of WINDOW_ROWS or some more."""
    found: list[Candidate] = []
    for statement, values in _statements(asked.which):
        place: Mapping[str, Any] | None = _FIRST
        while place:
            page = {**asked.values, **values, **place, "rows": WINDOW_ROWS}
            rows = connection.execute(statement, page).all()
            found += [Candidate(*row[:-1]) for row in rows]
            is_last = len(rows) < WINDOW_ROWS
            place = None if is_last else {"score": rows[-1][-1], "after": rows[-1].source, "after_id": rows[-1].item_id}
            if len(found) >= WINDOW_ROWS:
                yield found
                found = []
    if found:
        yield found


def uncertain(connection: Connection, asked: Asked) -> list[Candidate]:
    """The first window of uncertain results."""
    return next(windows(connection, asked), [])


def _statements(which: Which) -> Iterator[tuple[TextClause, dict[str, Any]]]:
    """Where the uncertain results are read, in order."""
    if which.task is Task.ROUTING:
        label = None if which.team == TRIAGE_TEAM else which.team
        waiting = {"in_team": TRIAGE_TEAM, "status": AssignmentStatus.TRIAGE.value, "below": 2.0, "label": label}
        yield _ROUTED, waiting
        if which.team is not None:
            of_team = {"in_team": which.team, "status": AssignmentStatus.AUTO.value, "below": LOW_CONFIDENCE}
            yield _ROUTED, of_team | {"label": None}
    elif which.team is not None:
        yield _UNSURE_OF_TEAM, {}
    if which.team is None:
        yield _UNSURE, {}


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
