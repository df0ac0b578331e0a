"""The review queue: who looks at what. A reviewer claims an item, and nobody else is shown it meanwhile.

What may be shown is `worker.desk.review_pick`'s, what becomes of it `worker.desk.reviews`'.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, text

from schemas.database import translated
from schemas.names import DEFAULT_ROUTE_SET, TRIAGE_TEAM, ReviewOrigin, Task
from schemas.settings import Settings
from worker import routes
from worker.desk.copies import Copies, fingerprint
from worker.desk.review_pick import (
    SEEN_FINGERPRINTS,
    WINDOW_ROWS,
    Asked,
    Candidate,
    Seen,
    Which,
    drawn,
    uncertain,
    windows,
)

_MOST_WINDOWS = 20
"""After so many windows full of near-copies of what was judged, the queue counts as empty."""

_LOCK_ITEM = text("""
    SELECT updated_at FROM items WHERE source = :source AND item_id = :item_id FOR NO KEY UPDATE SKIP LOCKED
""")
_LOCK_FINGERPRINT = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:task || :fingerprint, 7305211))")
# A claim that has run out is taken over as it stands, so that whoever had it is told who has it now.
_CLAIM = text("""
    INSERT INTO reviews AS old (
        source, item_id, task, state, reviewer, origin, predicted_label, predicted_score, model, model_version,
        text_updated_at, copies, fingerprint, before
    )
    SELECT p.source, p.item_id, p.task, 'claimed', :reviewer, :origin, p.label, p.score, p.model, p.model_version,
        p.updated_at, :copies, :fingerprint, CAST(:before AS jsonb)
    FROM predictions p
    WHERE p.source = :source AND p.item_id = :item_id AND p.task = :task AND p.current AND p.updated_at = :updated_at
    ON CONFLICT (source, item_id, task) WHERE state = 'claimed' DO UPDATE SET
        (reviewer, origin, predicted_label, predicted_score, model, model_version, text_updated_at, copies,
            fingerprint, before, note, claimed_at)
        = (excluded.reviewer, excluded.origin, excluded.predicted_label, excluded.predicted_score, excluded.model,
            excluded.model_version, excluded.text_updated_at, excluded.copies, excluded.fingerprint, excluded.before,
            NULL, now())
        WHERE old.claimed_at <= now() - make_interval(secs => :claim_s)
    RETURNING id
""")
_PROMOTE = text("""
    UPDATE reviews SET origin = 'random'
    WHERE id = ANY (:ids) AND state IN ('accepted', 'corrected') AND origin = 'low_confidence'
""")
_HELD = text("""
    SELECT r.id, r.source, r.item_id, r.task, i.text, r.fingerprint, i.updated_at = r.text_updated_at AS is_same_entry,
        i.created_at, r.predicted_label, r.predicted_score, r.model,
        r.model_version, coalesce(p.scores, '{}') AS scores, r.before, r.note, a.team,
        coalesce(a.route_set, p.route_set) AS route_set
    FROM reviews r JOIN items i USING (source, item_id)
    LEFT JOIN predictions p USING (source, item_id, task, model, model_version)
    LEFT JOIN assignments a USING (source, item_id)
    WHERE r.state = 'claimed' AND r.reviewer = :reviewer AND r.task = :task
        AND i.text IS NOT NULL
        AND (CAST(:source AS text) IS NULL OR r.source = :source)
        AND (CAST(:team AS text) IS NULL OR a.team = :team OR r.task = 'routing' AND r.predicted_label = :team)
    ORDER BY r.claimed_at DESC, r.id DESC LIMIT 1
""")
_COPIES = text("""
    SELECT i.source, i.item_id, i.text FROM items i
    JOIN ROWS FROM (unnest(CAST(:sources AS text[])), unnest(CAST(:item_ids AS text[])))
        WITH ORDINALITY AS k (source, item_id, number) USING (source, item_id)
    WHERE i.text IS NOT NULL ORDER BY k.number
""")
_KEEP = text("UPDATE reviews SET claimed_at = now() WHERE id = :id AND reviewer = :reviewer AND state = 'claimed'")
_LAPSE = text("""
    UPDATE reviews SET claimed_at = now() - make_interval(secs => :claim_s)
    WHERE id = :id AND reviewer = :reviewer AND state = 'claimed'
""")
_RELEASE = text("DELETE FROM reviews WHERE id = :id AND reviewer = :reviewer AND state = 'claimed'")
_RELEASE_OTHERS = text("""
    DELETE FROM reviews WHERE state = 'claimed' AND reviewer = :reviewer AND task = :task AND id <> :id
""")
_RELEASE_ALL = text("DELETE FROM reviews WHERE state = 'claimed' AND reviewer = :reviewer")


@dataclass(frozen=True, slots=True)
class Copy:
    """A near-copy that waits beside an item."""

    source: str
    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """An item that a reviewer has claimed. `id` is the review's. Why it is shown is not told before it is decided.

    `labels`: what it may be corrected to, in an order that stays the same. `team`: where a ticket is. `copies`: its
    near-copies in the queue. `example`: the team whose example its text was made before the decision was undone.
    """

    id: int
    source: str
    item_id: str
    task: Task
    text: str
    created_at: datetime
    predicted_label: str
    predicted_score: float
    model: str
    model_version: str
    labels: tuple[str, ...]
    team: str | None
    copies: tuple[Copy, ...]
    example: str | None
    note: str


def claim(
    engine: Engine, settings: Settings, reviewer: str, which: Which, chance: random.Random | None = None
) -> Shown | None:
    """The item that `reviewer` holds already, or else the next one; None if nothing is left to review.

    A reviewer holds one item of a task; another that does not fit `which` is released. Whether the next one is
    uncertain or random is decided now, by chance and `review_random_share`; where one kind is used up, the other is
    taken. Of near-copies one is shown, and none of a text that was judged in the last `review_days`, that another
    reviewer holds, or that this one has skipped. Two reviewers who claim at the same moment get different items, and
    different texts but for signs, case and digits.

    A random draw that falls on a text that was judged already is not shown: that decision counts as random from now
    on, and the next one is drawn. So the random ones stay a fair sample while the uncertain are worked off; of
    near-copies it holds one. Where only a source or a team is wanted none is drawn: it would speak for them alone.
    Raises DatabaseUnavailableError.
    """
    asked = Asked(which, reviewer, settings)
    chance = chance or random.SystemRandom()
    with translated(), engine.begin() as connection:
        mine = _held(connection, asked)
        connection.execute(_RELEASE_OTHERS, {**asked.values, "id": mine.id if mine else 0})
        if mine:
            connection.execute(_KEEP, {"id": mine.id, "reviewer": reviewer})
            return mine
        for origin in _order(settings.review_random_share if which.is_all else 0, chance):
            taken = _take_random(connection, asked) if origin is ReviewOrigin.RANDOM else _take_next(connection, asked)
            if taken:
                return _held(connection, asked)
    return None


def held(engine: Engine, settings: Settings, reviewer: str, which: Which) -> Shown | None:
    """The item that a reviewer holds, also past its time if nobody has taken it. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        return _held(connection, Asked(which, reviewer, settings))


def waiting(engine: Engine, settings: Settings, reviewer: str, which: Which) -> int:
    """How many uncertain results wait for this reviewer, counted up to WINDOW_ROWS, near-copies each by itself."""
    asked = Asked(which, reviewer, settings)
    with translated(), engine.connect() as connection:
        candidates = uncertain(connection, asked)[:WINDOW_ROWS]
        seen = Seen(connection, asked, candidates)
        return sum(not seen.has(candidate) for candidate in candidates)


def keep(engine: Engine, reviewer: str, review_id: int) -> bool:
    """Begin the time of a claim anew; False if it is lost. Raises DatabaseUnavailableError."""
    with translated(), engine.begin() as connection:
        return bool(connection.execute(_KEEP, {"id": review_id, "reviewer": reviewer}).rowcount)


def lapse(engine: Engine, settings: Settings, reviewer: str, review_id: int) -> bool:
    """Let anybody take over a claim at once; until then the reviewer may come back to it."""
    with translated(), engine.begin() as connection:
        values = {"id": review_id, "reviewer": reviewer, "claim_s": settings.review_claim_s}
        return bool(connection.execute(_LAPSE, values).rowcount)


def release(engine: Engine, reviewer: str, review_id: int) -> bool:
    """Give a claimed item back; False if it was not his any more. Raises DatabaseUnavailableError."""
    with translated(), engine.begin() as connection:
        return bool(connection.execute(_RELEASE, {"id": review_id, "reviewer": reviewer}).rowcount)


def release_all(engine: Engine, reviewer: str) -> int:
    """Give back whatever a reviewer holds, such as at logout; how many. Raises DatabaseUnavailableError."""
    with translated(), engine.begin() as connection:
        return connection.execute(_RELEASE_ALL, {"reviewer": reviewer}).rowcount


def labels_of(connection: Connection, task: str, scores: Mapping[str, float], route_set: str | None) -> tuple[str, ...]:
    """What a result may be corrected to: the model's labels, or the teams of the ticket's route set and triage."""
    if task != Task.ROUTING:
        return tuple(sorted(scores))
    stored = routes.read_in(connection, route_set or DEFAULT_ROUTE_SET)
    return (*(stored.route_set.enabled.names if stored else ()), TRIAGE_TEAM)


def _order(random_share: float, chance: random.Random) -> Sequence[ReviewOrigin]:
    if random_share in (0, 1):
        return (ReviewOrigin.RANDOM,) if random_share else (ReviewOrigin.LOW_CONFIDENCE,)
    order = (ReviewOrigin.RANDOM, ReviewOrigin.LOW_CONFIDENCE)
    return order if chance.random() < random_share else order[::-1]


def _take_next(connection: Connection, asked: Asked) -> bool:
    for candidates in islice(windows(connection, asked), _MOST_WINDOWS):
        seen = Seen(connection, asked, candidates)
        for candidate in candidates:
            if not seen.has(candidate) and _take(
                connection, asked, candidate, ReviewOrigin.LOW_CONFIDENCE, copies_of(candidate, candidates)
            ):
                return True
    return False


def _take_random(connection: Connection, asked: Asked) -> bool:
    candidates = drawn(connection, asked)
    seen = Seen(connection, asked, candidates)
    judged: list[int] = []
    for candidate in candidates:
        decided = seen.decided(candidate)
        if decided is not None:
            judged.append(decided)
        elif not seen.has(candidate):
            copies = copies_of(candidate, uncertain(connection, asked))
            if _take(connection, asked, candidate, ReviewOrigin.RANDOM, copies):
                connection.execute(_PROMOTE, {"ids": judged})
                return True
    return False


def keys_of(copies: Sequence[Candidate]) -> dict[str, Any]:
    """What `reviews.before` holds of an item's copies while it is claimed."""
    return {"copies": [[copy.source, copy.item_id, copy.updated_at.isoformat()] for copy in copies]} if copies else {}


def copies_of(candidate: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
    """Those of `others` that are near-copies of a candidate."""
    near = set(Copies([other.text for other in others]).like(candidate.text))
    return [
        other
        for number, other in enumerate(others)
        if (number in near or other.fingerprint == candidate.fingerprint)
        and (other.source, other.item_id) != (candidate.source, candidate.item_id)
    ]


def _take(
    connection: Connection, asked: Asked, candidate: Candidate, origin: ReviewOrigin, copies: Sequence[Candidate]
) -> bool:
    """Claim a candidate, unless its item is being written or erased, has changed, or others were quicker."""
    key = {"source": candidate.source, "item_id": candidate.item_id}
    if connection.scalar(_LOCK_ITEM, key) != candidate.updated_at:
        return False
    # Two reviewers could take two copies; the loser looks for what the winner has done by then.
    if not connection.scalar(_LOCK_FINGERPRINT, {"task": asked.which.task.value, "fingerprint": candidate.fingerprint}):
        return False
    values: dict[str, Any] = {
        **asked.values,
        **key,
        "origin": origin.value,
        "updated_at": candidate.updated_at,
        "copies": len(copies),
        "fingerprint": candidate.fingerprint,
        "before": json.dumps(keys_of(copies)),
    }
    if connection.execute(SEEN_FINGERPRINTS, {**values, "fingerprints": [candidate.fingerprint]}).first():
        return False
    return connection.scalar(_CLAIM, values) is not None


def _held(connection: Connection, asked: Asked) -> Shown | None:
    row = connection.execute(_HELD, asked.values).one_or_none()
    if row is None or not (row.is_same_entry or fingerprint(row.text) == row.fingerprint):
        return None
    copies = row.before.get("copies", [])
    keys = {"sources": [copy[0] for copy in copies], "item_ids": [copy[1] for copy in copies]}
    texts = connection.execute(_COPIES, keys).all() if copies else []
    return Shown(
        *(row.id, row.source, row.item_id, Task(row.task), row.text, row.created_at),
        *(row.predicted_label, row.predicted_score, row.model, row.model_version),
        labels=labels_of(connection, row.task, row.scores, row.route_set),
        team=row.team,
        copies=tuple(Copy(*each) for each in texts),
        example=row.before.get("example"),
        note=row.note or "",
    )
