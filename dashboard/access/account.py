"""One's own account: another password, and an end to what is open in other browsers."""

from __future__ import annotations

import asyncio

import structlog
from starlette.responses import Response

from dashboard.access import cookies, faults
from dashboard.access.attempts import attempts_of
from dashboard.access.faults import Wrong
from dashboard.pages import Pages
from dashboard.problems import Refusal
from dashboard.visit import Visit
from dashboard.words import later
from schemas.errors import UserError
from schemas.names import Role
from worker.desk import sessions, users
from worker.desk.users import Fault

log = structlog.get_logger(__name__)
pages = Pages()


@pages.get("/account", Role.VIEWER)
async def account(visit: Visit) -> Response:
    """Name, role and forms. Who works on the server itself has none, but can make users."""
    if visit.person is not None and visit.person.is_local:
        return visit.go("/users")
    return await _page(visit, None, is_done="done" in visit.request.query_params)


@pages.post("/account/password", Role.VIEWER)
async def change_password(visit: Visit) -> Response:
    """A new password ends every session; this browser gets another."""
    site = visit.site
    _need_user(visit)
    attempts = attempts_of(visit, visit.who)
    try:
        faults.same(visit.text("password"), visit.text("again"))
        async with site.gate.turn():
            if wait_s := await asyncio.to_thread(attempts.wait_s):
                minutes = -(-wait_s // 60)
                raise Refusal(
                    429, later("Too many attempts have failed. Wait %(minutes)s min, then try again."), minutes=minutes
                )
            user = await asyncio.to_thread(users.known, site.engine, visit.who, visit.text("old"))
            if user is None:
                await asyncio.to_thread(attempts.note_failure)
                raise UserError(Fault.PASSWORD_WRONG, "old", "is not the password")
            user = await asyncio.to_thread(users.set_password, site.engine, user.name, visit.text("password"))
            token = await asyncio.to_thread(sessions.begin, site.engine, user, site.gate.idle)
    except UserError as error:
        return await _page(visit, faults.wrong("password", visit.who, error, visit.words))
    log.info("password_changed", name=visit.who, by=visit.who)
    response = visit.go("/account", done="1")
    if token is not None:
        cookies.keep(visit.request, response, token)
    return response


@pages.post("/account/logout", Role.VIEWER)
async def log_out_everywhere(visit: Visit) -> Response:
    """End all of one's sessions, this one too."""
    _need_user(visit)
    count = await asyncio.to_thread(sessions.end_all, visit.site.engine, visit.who)
    log.info("logout_everywhere", name=visit.who, sessions=count)
    response = visit.go("/login")
    cookies.keep(visit.request, response, cookies.new_secret())
    return response


async def _page(visit: Visit, wrong: Wrong | None, *, is_done: bool = False) -> Response:
    count = await asyncio.to_thread(sessions.count, visit.site.engine, visit.who)
    return visit.page("access/account.html", 422 if wrong else 200, wrong=wrong, is_done=is_done, count=count)


def _need_user(visit: Visit) -> None:
    if visit.person is None or visit.person.is_local:
        raise Refusal(422, later("Nobody has logged in here: make a user first."))
