"""Who may open what: every route of the pages, by real requests, so that a page added tomorrow is covered too."""

from __future__ import annotations

import re

from sqlalchemy import Engine

from dashboard.app import WebPages
from dashboard.pages import LostRoute, PageRoute
from schemas.names import Role
from schemas.settings import Settings
from tests.integration.visiting import Pages, cheap_hashes, make_people, visiting

_cheap = cheap_hashes
OPEN_TO_ALL = {("GET", "/login"), ("POST", "/login"), ("POST", "/logout")}


def routes() -> list[tuple[str, str, Role | None]]:
    """Every page and form: method, a path that it answers, and its role."""
    found = []
    for route in WebPages().routes:
        if isinstance(route, PageRoute) and not isinstance(route, LostRoute):
            path = re.sub(r"\{[^}]*\}", "1", route.path)
            found += [(method, path, route.role) for method in sorted((route.methods or set()) - {"HEAD"})]
    return found


def test_only_login_and_logout_need_no_role() -> None:
    assert OPEN_TO_ALL == {(method, path) for method, path, role in routes() if role is None}
    assert {"/try", "/dashboard", "/review", "/quality", "/dead-letters", "/users"} <= {path for _, path, _ in routes()}


def test_nothing_is_done_for_strangers_lower_roles_and_foreign_pages(settings: Settings, engine: Engine) -> None:
    make_people(engine)

    async def story(pages: Pages) -> None:
        people, strangers = {role: pages.browser() for role in Role}, (pages.browser(), pages.local())
        for role, browser in people.items():
            assert 303 == (await browser.log_in(role.value)).status_code
        for method, path, needed in routes():
            what = f"{method} {path}"
            send = "get" if method == "GET" else "post"
            if needed is not None:
                # Nobody logged in: to the login, on this machine too
                for stranger in strangers:
                    answer = await getattr(stranger, send)(path)
                    assert (303, "/login") == (answer.status_code, answer.headers["location"].partition("?")[0]), what
                # A lower role: refused, with the right token
                for role in Role:
                    if not role.may(needed):
                        answer = await getattr(people[role], send)(path)
                        assert 403 == answer.status_code, f"{what} as {role}"
                        assert f"This page is for the role {needed.value}." in answer.text, f"{what} as {role}"
            admin = people[Role.ADMIN]
            if method == "POST":
                # No token, one of another browser, the right one from another site: refused
                for form, headers in (
                    ({"csrf": ""}, {}),
                    ({"csrf": "0" * 64}, {}),
                    ({}, {"Sec-Fetch-Site": "cross-site"}),
                    ({}, {"Sec-Fetch-Site": "same-site"}),
                    ({}, {"Origin": "https://evil.example"}),
                ):
                    answer = await admin.post(path, form, **headers)
                    assert 403 == answer.status_code, f"{what} with {form} {headers}"
            elif needed is not None:
                # Whoever may is let in
                assert (await admin.get(path)).status_code not in {401, 403}, what
                answer = await people[needed].get(path)
                assert answer.status_code not in {401, 403} and not answer.headers.get("location", "").startswith(
                    "/login"
                ), what
        # and all of this has changed nobody
        assert 200 == (await people[Role.ADMIN].get("/users")).status_code

    visiting(settings, story)


def test_every_answer_carries_the_headers_that_keep_others_out(settings: Settings, engine: Engine) -> None:
    async def story(pages: Pages) -> None:
        browser = pages.local()
        for path in ("/try", "/login", "/users", "/account", "/no-such-page"):
            answer = await browser.get(path, Accept="text/html")
            assert "default-src 'none'; script-src 'self';" in answer.headers["content-security-policy"], path
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
            assert ("nosniff", "no-store", "same-origin") == (
                answer.headers["x-content-type-options"],
                answer.headers["cache-control"],
                answer.headers["referrer-policy"],
            ), path

    visiting(settings, story)


def test_pages_are_open_to_this_machine_until_the_first_user_is_made(settings: Settings, engine: Engine) -> None:
    async def story(pages: Pages) -> None:
        # Given no user: this machine needs no login, another is told what to do, at the login too
        here, elsewhere = pages.local(), pages.browser()
        assert 200 == (await here.get("/users")).status_code
        for path in ("/try", "/login"):
            answer = await elsewhere.get(path)
            assert 403 == answer.status_code
            assert "fenliu users create" in answer.text
        through_a_proxy = pages.local()
        assert 403 == (await through_a_proxy.get("/try", **{"X-Forwarded-For": "203.0.113.9"})).status_code
        rebound = pages.browser("http://evil.example", "127.0.0.1")
        assert 403 == (await rebound.get("/try")).status_code
        # When the first user is no admin, or the password too short, it is said beside the field
        form = {"name": "Anna", "role": "viewer", "password": "correct horse", "again": "correct horse"}
        answer = await here.post("/users/create", form)
        assert 422 == answer.status_code
        assert "The first user must be an admin" in answer.text
        answer = await here.post("/users/create", form | {"role": "admin", "password": "short", "again": "short"})
        assert "A password has at least 10 characters." in answer.text
        answer = await here.post("/users/create", form | {"role": "admin", "again": "correct hoarse"})
        assert "The two passwords are not the same." in answer.text
        # When an admin is made
        answer = await here.post("/users/create", form | {"role": "admin"})
        assert (303, "/login?next=%2Fusers") == (answer.status_code, answer.headers["location"])
        # then everything is closed at the next request, and the login leads on
        answer = await here.get("/users")
        assert (303, "/login?next=%2Fusers") == (answer.status_code, answer.headers["location"])
        answer = await here.log_in("ANNA", "correct horse", next="/users")
        assert (303, "/users") == (answer.status_code, answer.headers["location"])
        assert 200 == (await here.get("/users")).status_code

    visiting(settings, story)


def test_the_page_for_admins_keeps_the_rules_of_the_command_line(settings: Settings, engine: Engine) -> None:
    make_people(engine)

    async def story(pages: Pages) -> None:
        admin, viewer = pages.browser(), pages.browser()
        await admin.log_in("admin")
        await viewer.log_in("viewer")

        async def said(path: str, **form: str) -> str:
            answer = await admin.post(path, form)
            return f"{answer.status_code} {answer.headers.get('location', '') or answer.text}"

        # The last admin cannot go, in none of three ways
        for path, form in (("role", {"role": "viewer"}), ("disable", {}), ("delete", {})):
            answer = await said(f"/users/{path}", name="admin", **form)
            assert answer.startswith("422") and "This is the last admin who can log in." in answer, path
        # A role counts from the next request on
        assert 403 == (await viewer.get("/review")).status_code
        assert "303 /users?done=role" == await said("/users/role", name="viewer", role="reviewer")
        assert 200 == (await viewer.get("/review")).status_code
        # Another password, and being disabled, end what is open
        new = {"password": "another password", "again": "another password"}
        assert "303 /users?done=password" == await said("/users/password", name="viewer", **new)
        assert 303 == (await viewer.get("/try")).status_code
        assert 303 == (await viewer.log_in("viewer", "another password")).status_code
        assert 200 == (await viewer.get("/try")).status_code
        assert "303 /users?done=disable" == await said("/users/disable", name="viewer")
        assert 303 == (await viewer.get("/try")).status_code
        assert 422 == (await viewer.log_in("viewer", "another password")).status_code
        assert "303 /users?done=enable" == await said("/users/enable", name="viewer")
        assert 303 == (await viewer.log_in("viewer", "another password")).status_code
        assert "303 /users?done=delete" == await said("/users/delete", name="viewer")
        assert 303 == (await viewer.get("/try")).status_code
        # What is wrong is said, and nothing fails
        assert "There is no user of this name any more." in await said("/users/disable", name="viewer")
        taken = {"role": "viewer", "password": "correct horse", "again": "correct horse"}
        assert "There is a user of this name already" in await said("/users/create", name="ADMIN", **taken)
        assert "Choose a role." in await said("/users/role", name="admin", role="emperor")
        assert "<script>" not in await said("/users/create", name="<script>", **(taken | {"again": "x"}))

    visiting(settings, story)
