"""The users, for administrators. The rules are `worker.desk.users`', as for `fenliu users`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from starlette.responses import Response

from dashboard.access import faults
from dashboard.access.attempts import attempts_of
from dashboard.access.faults import Wrong
from dashboard.pages import Pages
from dashboard.problems import Refusal
from dashboard.visit import Visit
from dashboard.words import later
from schemas.errors import UserError
from schemas.names import Role
from worker.desk import users
from worker.desk.users import User

log = structlog.get_logger(__name__)
pages = Pages()

_DONE = {
    "create": later("The user can log in now."),
    "role": later("The role is changed. It counts from the next page on."),
    "password": later("The password is changed. The user must log in again everywhere."),
    "enable": later("The user can log in again."),
    "disable": later("The user can log in no more, and is logged out everywhere."),
    "delete": later("The user is deleted. What was reviewed stays."),
}


@pages.get("/users", Role.ADMIN)
async def show(visit: Visit) -> Response:
    """All users, each with what can be changed, and a form for one more."""
    return await _page(visit, None)


@pages.post("/users/create", Role.ADMIN)
async def create(visit: Visit) -> Response:
    """One more user. The first one closes the pages, so the next thing is to log in."""
    password, role = visit.text("password"), _role(visit)

    def make() -> User:
        faults.same(password, visit.text("again"))
        return users.create(visit.site.engine, visit.text("name"), password, role)

    done = await _changed(visit, "create", make)
    if done.status_code < 400 and visit.person is not None and visit.person.is_local:
        return visit.go("/login", next="/users")
    return done


@pages.post("/users/role", Role.ADMIN)
async def change_role(visit: Visit) -> Response:
    """Another role."""
    role = _role(visit)
    return await _changed(visit, "role", lambda: users.set_role(visit.site.engine, visit.text("name"), role))


@pages.post("/users/password", Role.ADMIN)
async def change_password(visit: Visit) -> Response:
    """Another password, which also lets somebody try again who had to wait."""
    name, password = visit.text("name"), visit.text("password")

    def change() -> User:
        faults.same(password, visit.text("again"))
        user = users.set_password(visit.site.engine, name, password)
        attempts_of(visit, name).forget_name()
        return user

    return await _changed(visit, "password", change)


@pages.post("/users/enable", Role.ADMIN)
async def enable(visit: Visit) -> Response:
    """Let log in again."""
    return await _changed(
        visit, "enable", lambda: users.set_enabled(visit.site.engine, visit.text("name"), enabled=True)
    )


@pages.post("/users/disable", Role.ADMIN)
async def disable(visit: Visit) -> Response:
    """Let log in no more."""
    return await _changed(
        visit, "disable", lambda: users.set_enabled(visit.site.engine, visit.text("name"), enabled=False)
    )


@pages.post("/users/delete", Role.ADMIN)
async def delete(visit: Visit) -> Response:
    """Delete."""
    return await _changed(visit, "delete", lambda: users.remove(visit.site.engine, visit.text("name")))


async def _changed(visit: Visit, form: str, change: Callable[[], User]) -> Response:
    """Do it, and show the list with what came of it."""
    try:
        async with visit.site.gate.turn():
            user = await asyncio.to_thread(change)
    except UserError as error:
        return await _page(visit, faults.wrong(form, visit.text("name"), error, visit.words))
    log.info("user_changed", change=form, name=user.name, role=user.role.value, by=visit.who)
    return visit.go("/users", done=form)


async def _page(visit: Visit, wrong: Wrong | None) -> Response:
    found = await asyncio.to_thread(users.find, visit.site.engine)
    done = _DONE.get(visit.request.query_params.get("done", ""), "")
    return visit.page(
        "access/users.html", 422 if wrong else 200, users=found, wrong=wrong, done=visit.words(done) if done else "",
        asked_role=visit.text("role") or (Role.VIEWER if found else Role.ADMIN).value,
    )  # fmt: skip


def _role(visit: Visit) -> Role:
    try:
        return Role(visit.text("role"))
    except ValueError:
        raise Refusal(422, later("Choose a role.")) from None
