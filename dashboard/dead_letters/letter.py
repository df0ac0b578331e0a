"""One dead letter: why it is one, its fields to mend, what became of it, how its item stands now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from starlette.exceptions import HTTPException
from starlette.responses import Response

from dashboard.dead_letters import fields
from dashboard.dead_letters.advice import advice_of
from dashboard.dead_letters.fields import FieldRow
from dashboard.dead_letters.filters import LANES, whole
from dashboard.pages import Pages
from dashboard.visit import Visit
from schemas.errors import EntryError
from schemas.messages import entry_time
from schemas.names import Role
from worker.desk import dead_letters as desk
from worker.desk import items, replays
from worker.desk.dead_letters import DeadLetter

pages = Pages()
_MOST_LOOKS = 60


@pages.get("/dead-letters/{letter}", Role.REVIEWER)
async def letter(visit: Visit) -> Response:
    """The letter, its wrong field marked."""
    found = await _letter(visit)
    rows = fields.rows_of(found.raw)
    if found.replayed_at is None:
        rows = fields.with_problem(rows, found.field, found.message)
    return await _page(visit, found, rows)


@pages.post("/dead-letters/{letter}", Role.REVIEWER)
async def change(visit: Visit) -> Response:
    """Change the form, check it, or send the letter back: mended, or as it was."""
    found = await _letter(visit)
    do, _, place = str(visit.form.get("do", "")).partition(" ")
    if do == "as-it-was":
        await asyncio.to_thread(
            replays.replay_one, visit.site.engine, visit.site.server, visit.site.settings.keys, found.id, by=visit.who,
            inbox_bound=visit.site.settings.inbox_bound, seen_as=_seen_as(visit),
        )  # fmt: skip
        return visit.go(f"/dead-letters/{found.id}")
    rows = fields.rows_in(visit.form, found.raw)
    at = next((at for at in range(len(rows)) if str(at) == place), None)
    match do:
        case "add":
            return await _page(visit, found, [*rows, FieldRow("", "", "", has_focus=True)])
        case "leave-out" if at is not None:
            return await _page(visit, found, rows[:at] + rows[at + 1 :])
        case "as-text" if at is not None and rows[at].is_bytes:
            rows[at] = fields.as_text(rows[at], found.raw)
            return await _page(visit, found, rows)
        case _:
            return await _checked(visit, found, rows, is_to_send=do == "send")


@pages.get("/dead-letters/{letter}/outcome", Role.REVIEWER)
async def outcome(visit: Visit) -> Response:
    """What has become of a letter that was sent back; asks again until that is known."""
    found = await _letter(visit)
    came = await asyncio.to_thread(_outcome, visit, found)
    if came is None:
        raise HTTPException(404)  # it was not sent back
    looks = min(whole(visit.request.query_params.get("looks")) or 1, _MOST_LOOKS)
    return visit.page(
        "dead_letters/outcome.html", letter=found, outcome=came, looks=looks + 1, look_again=looks < _MOST_LOOKS
    )


async def _checked(visit: Visit, found: DeadLetter, rows: list[FieldRow], *, is_to_send: bool) -> Response:
    if (at := fields.nameless(rows)) is not None:
        return await _page(visit, found, fields.at_fault(rows, at, visit.words("Give the field a name.")))
    if (at := fields.named_twice(rows)) is not None:
        return await _page(visit, found, fields.at_fault(rows, at, visit.words("A field of this name is there.")))
    site, raw = visit.site, fields.to_raw(rows, found.raw)
    try:
        if not is_to_send:
            entry = replays.check(raw, site.settings.keys)
            is_late = entry.deadline is not None and entry.deadline < datetime.now(UTC)
            said = "late" if is_late else "right"
            return await _page(visit, found, rows, said)
        await asyncio.to_thread(
            replays.mend, site.engine, site.server, site.settings.keys, found.id, raw, by=visit.who,
            inbox_bound=site.settings.inbox_bound, seen_as=_seen_as(visit),
        )  # fmt: skip
    except EntryError as error:
        return await _page(visit, found, fields.with_problem(rows, error.field, str(error)))
    return visit.go(f"/dead-letters/{found.id}")


async def _letter(visit: Visit) -> DeadLetter:
    number = whole(visit.request.path_params["letter"])
    found = None if number is None else await asyncio.to_thread(desk.one, visit.site.engine, number)
    if found is None:
        raise HTTPException(404, visit.words("This dead letter is not there. It may have been dropped."))
    return found


async def _page(visit: Visit, found: DeadLetter, rows: list[FieldRow], said: str = "") -> Response:
    """The letter with these fields; `said`: what checking them gave."""
    is_wrong = visit.request.method == "POST" and any(row.problem for row in rows)
    came = None if found.replayed_at is None else await asyncio.to_thread(_outcome, visit, found)
    item = None
    if found.source is not None and found.item_id is not None:
        item = await asyncio.to_thread(items.show, visit.site.engine, found.source, found.item_id)
    return visit.page(
        "dead_letters/letter.html",
        422 if is_wrong and not visit.is_htmx else 200,  # htmx shows no part that is an error
        letter=found, rows=rows, said=said, outcome=came, looks=1, look_again=True, advice=advice_of(found.code),
        item=item, lanes=LANES, names=fields.NAMES, first_at=entry_time(found.entry_id),
        seen_as=_seen_as(visit) if visit.request.method == "POST" else found.replayed_as,
    )  # fmt: skip


def _outcome(visit: Visit, found: DeadLetter) -> replays.Outcome | None:
    if found.replayed_as is None:
        return None
    return replays.outcome(visit.site.engine, visit.site.server, visit.site.settings.keys, found)


def _seen_as(visit: Visit) -> str | None:
    """As what the person saw that the letter was sent back."""
    return str(visit.form.get("seen_as", "")) or None
