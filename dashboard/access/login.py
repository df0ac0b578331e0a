"""Logging in and out."""

from __future__ import annotations

import asyncio

import structlog
from starlette.responses import Response

from dashboard.access import cookies, paths
from dashboard.access.attempts import attempts_of
from dashboard.access.origin import address_of
from dashboard.pages import Pages
from dashboard.visit import Visit
from worker.desk import review_queue, sessions, users

log = structlog.get_logger(__name__)
pages = Pages()

_LOGGED_CHARS = 64


@pages.get("/login", None)
async def login(visit: Visit) -> Response:
    """The form; whoever has logged in goes on."""
    next_path = paths.ours(visit.request.query_params.get("next", ""))
    if visit.person is not None and not visit.person.is_local:
        return visit.go(next_path)
    if visit.person is None and visit.site.gate.is_open:
        return visit.site.gate.closed(visit)
    return _form(visit, next_path)


@pages.post("/login", None)
async def log_in(visit: Visit) -> Response:
    """Check name and password; a session with a new token, so that nobody has set it beforehand."""
    site = visit.site
    name, password = visit.text("name"), visit.text("password")
    next_path = paths.ours(visit.text("next"))
    attempts, address = attempts_of(visit, name), address_of(visit.request)
    # Counted within a turn: else a flood would try more passwords than are let in before the first is counted.
    async with site.gate.turn():
        wait_s = await asyncio.to_thread(attempts.wait_s)
        if wait_s:
            log.warning("login_refused", name=name[:_LOGGED_CHARS], address=address, wait_s=wait_s)
            minutes = -(-wait_s // 60)
            said = visit.words("Too many attempts have failed. Wait %(minutes)s min, then try again.", minutes=minutes)
            return _form(visit, next_path, 429, said, {"Retry-After": str(wait_s)})
        user = await asyncio.to_thread(users.known, site.engine, name, password)
        token = None
        if user is not None:
            token = await asyncio.to_thread(
                sessions.begin, site.engine, user, site.gate.idle, instead_of=visit.secret
            )  # fmt: skip
        if user is None or token is None:
            await asyncio.to_thread(attempts.note_failure)
            log.warning("login_failed", name=name[:_LOGGED_CHARS], address=address)
            said = visit.words("Name or password are wrong, or this user may not log in.")
            return _form(visit, next_path, 422, said)
    await asyncio.to_thread(attempts.forget_name)
    log.info("login", name=user.name, role=user.role.value, address=address)
    response = visit.go(next_path)
    cookies.keep(visit.request, response, token)
    return response


@pages.post("/logout", None)
async def log_out(visit: Visit) -> Response:
    """End the session; the browser gets a new secret for its next login."""
    await asyncio.to_thread(sessions.end, visit.site.engine, visit.secret)
    if visit.person is not None and not visit.person.is_local:
        await asyncio.to_thread(review_queue.release_all, visit.site.engine, visit.who)
        log.info("logout", name=visit.who)
    response = visit.go("/login")
    cookies.keep(visit.request, response, cookies.new_secret())
    return response


def _form(
    visit: Visit, next_path: str, status: int = 200, problem: str = "", headers: dict[str, str] | None = None
) -> Response:
    return visit.page(
        "access/login.html", status, headers, next=next_path, problem=problem, name=visit.text("name"),
        is_open=visit.site.gate.is_open,
    )  # fmt: skip
