"""The list of dead letters: newest first, by a filter that stands in the URL."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from starlette.responses import Response

from dashboard.dead_letters.advice import ADVICE
from dashboard.dead_letters.filters import LANES, STATES, Asked, asked, whole
from dashboard.pages import Pages
from dashboard.visit import Visit
from schemas.names import Role
from worker.desk import dead_letters as desk
from worker.desk.dead_letters import MOST_SEARCHED, Counts, DeadLetter, LetterPage

pages = Pages()
_SNIPPET_CHARS = 160


@dataclass(frozen=True, slots=True)
class _Listed:
    """What the list shows. `counts` are of all codes, whatever code the filter has; `total` is of what matches."""

    page: LetterPage
    counts: Counts
    total: int


@pages.get("/dead-letters", Role.REVIEWER)
async def dead_letters(visit: Visit) -> Response:
    """The list."""
    given = visit.request.query_params
    found = asked(visit, given)
    listed = None if found.problems else await asyncio.to_thread(
        _list, visit, found, whole(given.get("before")), whole(given.get("after"))
    )  # fmt: skip
    return visit.page(
        "dead_letters/page.html", 422 if found.problems else 200, asked=found, listed=listed, codes=list(ADVICE),
        states=STATES, lanes=LANES, snippet=snippet, searched=MOST_SEARCHED,
    )  # fmt: skip


def snippet(letter: DeadLetter) -> str:
    """The beginning of the text, if it is one."""
    text = letter.raw.get("text")
    if not isinstance(text, str):
        return ""
    return text if len(text) <= _SNIPPET_CHARS else text[:_SNIPPET_CHARS] + "…"


def _list(visit: Visit, found: Asked, before: int | None, after: int | None) -> _Listed:
    engine = visit.site.engine
    page = desk.page(engine, found.which, before=before, after=after)
    counts = desk.counts(engine, replace(found.which, code=None))
    code = found.which.code
    return _Listed(page, counts, counts.total if code is None else counts.by_code.get(code, 0))
