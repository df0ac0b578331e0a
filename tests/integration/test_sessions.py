"""Logging in: new tokens, the way back, guessing that is slowed down, sessions that end."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta

import pytest
import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine, text

from dashboard.access import gate
from schemas.names import Role
from schemas.settings import Settings
from tests.integration.visiting import COOKIE, PASSWORD, Pages, cheap_hashes, make_people, visiting
from worker.desk import sessions, users

HOUR = timedelta(hours=1)

_cheap = cheap_hashes


def stored(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT token_sha256 FROM sessions ORDER BY created_at")).scalars())


def change(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_session_ends_when_nobody_uses_it(engine: Engine) -> None:
    # Given somebody who has logged in
    anna = users.create(engine, "Anna", PASSWORD, Role.ADMIN)
    token = sessions.begin(engine, anna, HOUR)
    assert token is not None
    assert ("Anna", Role.ADMIN) == (sessions.look_up(engine, token, HOUR).holder.name, Role.ADMIN)  # type: ignore[union-attr]
    # then only the token's hash is stored
    assert [hashlib.sha256(token.encode()).hexdigest()] == stored(engine)
    # When the session was used 50 minutes ago, it goes on for an hour from now
    ago = "UPDATE sessions SET last_seen_at = now() - interval '50 min'"
    change(engine, f"{ago}, expires_at = now() + interval '10 min'")
    assert sessions.look_up(engine, token, HOUR).holder
    with engine.connect() as connection:
        query = "SELECT expires_at > now() + interval '59 min', last_seen_at > now() - interval '1 min' FROM sessions"
        assert (True, True) == tuple(connection.execute(text(query)).one())
    # but is written down at most once a minute
    before = "SELECT last_seen_at FROM sessions"
    with engine.connect() as connection:
        seen_at = connection.execute(text(before)).scalar()
        connection.rollback()
        sessions.look_up(engine, token, HOUR)
        assert seen_at == connection.execute(text(before)).scalar()
    # and never beyond 30 days
    change(engine, f"{ago}, created_at = now() - interval '31 d'")
    sessions.look_up(engine, token, HOUR)
    assert sessions.look_up(engine, token, HOUR) == sessions.Standing(None, any_user=True)
    # The next login deletes what has expired
    other = sessions.begin(engine, anna, HOUR)
    assert [sessions.sha256_of(str(other))] == stored(engine)


def test_somebody_who_was_disabled_or_changed_meanwhile_is_not_logged_in(engine: Engine) -> None:
    users.create(engine, "Anna", PASSWORD, Role.ADMIN)
    users.create(engine, "Bo", PASSWORD, Role.VIEWER)
    # Given a password that was right a moment ago
    bo = users.known(engine, "bo", PASSWORD)
    assert bo is not None
    # When it is changed, or Bo disabled, before the session begins
    users.set_password(engine, "Bo", "another password")
    assert sessions.begin(engine, bo, HOUR) is None
    bo = users.known(engine, "bo", "another password")
    assert bo is not None
    users.set_enabled(engine, "Bo", enabled=False)
    assert sessions.begin(engine, bo, HOUR) is None
    assert [] == stored(engine)


# --- pages ------------------------------------------------------------------------------------------------------------


def test_a_login_makes_a_new_token_and_a_logout_ends_it(settings: Settings, engine: Engine) -> None:
    make_people(engine)

    async def story(pages: Pages) -> None:
        browser = pages.browser()
        # Given a browser whose secret somebody else may know
        await browser.get("/login")
        planted = browser.secret
        # When it logs in
        answer = await browser.log_in("viewer", next="/quality?days=7")
        cookie = answer.headers["set-cookie"].lower()
        # then it has another one, which scripts and other sites cannot use, and goes where it wanted
        assert planted != browser.secret
        assert "/quality?days=7" == answer.headers["location"]
        assert "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie and "secure" not in cookie
        old = browser.secret
        assert 200 == (await browser.get("/try")).status_code
        # A second login replaces the first
        await browser.log_in("viewer")
        assert 1 == len(stored(engine))
        # and after logging out, neither token opens anything
        newest = browser.secret
        answer = await browser.post("/logout")
        assert (303, "/login") == (answer.status_code, answer.headers["location"])
        assert [] == stored(engine)
        for token in (planted, old, newest, "", "x" * 5000, "é"):
            stranger = pages.browser()
            answer = await stranger.http.get("/try", headers=[(b"cookie", f"{COOKIE}={token}".encode())])
            assert 303 == answer.status_code

    visiting(settings, story)


def test_under_https_the_cookie_is_bound_to_it(settings: Settings, engine: Engine) -> None:
    make_people(engine)

    async def story(pages: Pages) -> None:
        browser = pages.browser("https://fenliu.example")
        answer = await browser.log_in("viewer")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"__Host-{COOKIE}=")
        assert "secure" in cookie.lower()
        assert 200 == (await browser.get("/try")).status_code
        # A cookie planted over plain http is none
        stranger = pages.browser("https://fenliu.example")
        answer = await stranger.http.get("/try", headers={"Cookie": f"{COOKIE}={browser.secret}"})
        assert 303 == answer.status_code

    visiting(settings, story)


def test_a_login_never_leads_to_another_site(settings: Settings, engine: Engine) -> None:
    make_people(engine)

    async def story(pages: Pages) -> None:
        # tests/unit/test_access.py has more of what is refused
        browser = pages.browser()
        for foreign in ("//evil.example", "/\\evil.example", "https://evil.example/"):
            assert "/try" == (await browser.log_in("viewer", next=foreign)).headers["location"]
            # nor does its page, for those who have logged in
            answer = await browser.http.get("/login", params={"next": foreign})
            assert (303, "/try") == (answer.status_code, answer.headers["location"])

    visiting(settings, story)


def test_the_login_leads_back_to_the_page_that_was_open(settings: Settings, engine: Engine) -> None:
    make_people(engine)

    async def story(pages: Pages) -> None:
        browser = pages.browser()
        answer = await browser.get("/dashboard?team=%E7%89%A9%E6%B5%81&days=7")
        assert (
            "/login?next=%2Fdashboard%3Fteam%3D%25E7%2589%25A9%25E6%25B5%2581%26days%3D7" == answer.headers["location"]
        )
        # A part of a page, and a form, belong to the page that shows them
        at = "http://fenliu.example/quality?days=7"
        answer = await browser.get("/dashboard", **{"HX-Request": "true", "HX-Current-URL": at})
        assert (204, "/login?next=%2Fquality%3Fdays%3D7") == (answer.status_code, answer.headers["hx-redirect"])
        answer = await browser.post("/users/role", Referer=at)
        assert "/login?next=%2Fquality%3Fdays%3D7" == answer.headers["location"]

    visiting(settings, story)


def test_guessing_is_slowed_down_by_name_and_by_address(
    settings: Settings, engine: Engine, redis_client: redis.Redis
) -> None:
    make_people(engine)
    few = settings.model_copy(update={"login_attempts": 3})

    async def story(pages: Pages) -> None:
        guesser = pages.browser()
        # Given a wrong name and a wrong password, which look the same
        wrong = [await guesser.log_in("viewer", "not the password"), await guesser.log_in("nobody")]
        assert [422, 422] == [answer.status_code for answer in wrong]
        assert all("Name or password are wrong, or this user may not log in." in answer.text for answer in wrong)
        # When the third has failed, this address must wait, even with the right password
        await guesser.log_in("viewer", "not the password")
        answer = await guesser.log_in("viewer")
        assert 429 == answer.status_code
        assert 0 < int(answer.headers["retry-after"]) <= 900
        assert "Wait 15 min, then try again." in answer.text
        # Somebody else at another address is let in, which forgets the failures of the name
        assert 303 == (await pages.browser(client="203.0.113.8").log_in("viewer")).status_code
        # When one name is tried from many addresses
        for last in range(3):
            await pages.browser(client=f"198.51.100.{last}").log_in("admin", "not the password")
        # then it must wait everywhere
        assert 429 == (await pages.browser(client="198.51.100.9").log_in("ADMIN")).status_code
        # A whole network of IPv6 counts as one address
        for last in range(3):
            await pages.browser(client=f"2001:db8::{last}").log_in(f"somebody {last}")
        assert 429 == (await pages.browser(client="2001:db8::77").log_in("reviewer")).status_code

    with structlog.testing.capture_logs() as logs:
        visiting(few, story)
    # What is written down names no password, and what is counted goes away by itself
    told = repr(logs)
    assert "login_failed" in told and "login_refused" in told
    assert "not the password" not in told and PASSWORD not in told
    keys = list(redis_client.scan_iter(f"{settings.prefix}:login:*"))
    assert keys and all(0 < redis_client.ttl(key) <= 900 for key in keys)


def test_without_redis_people_still_log_in(settings: Settings, engine: Engine) -> None:
    make_people(engine)

    async def story(pages: Pages) -> None:
        site = pages.app.state.site
        away = redis.Redis(unix_socket_path="/nowhere/redis.sock", retry=Retry(NoBackoff(), 1))
        object.__setattr__(site, "server", away)
        assert 422 == (await pages.browser().log_in("viewer", "not the password")).status_code
        assert 303 == (await pages.browser().log_in("viewer")).status_code

    with structlog.testing.capture_logs() as logs:
        visiting(settings, story)
    assert "logins_not_counted" in {entry["event"] for entry in logs}


def test_a_database_that_takes_questions_and_is_silent_is_told_of(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_people(engine)

    async def story(pages: Pages) -> None:
        browser, stranger = pages.browser(), pages.browser()
        await browser.log_in("viewer")
        await stranger.get("/login")
        monkeypatch.setattr(gate, "_DATABASE_WAIT_S", 0.2)
        monkeypatch.setattr(gate, "_TURN_S", 0.2)
        # When Postgres answers nothing that has to do with users
        with engine.begin() as connection:
            connection.execute(text("LOCK users, sessions"))
            # then people who have logged in, and those who want to, are told so, however many there are
            answers = await asyncio.gather(*(browser.get("/try") for _ in range(12)), stranger.log_in("viewer"))
        for answer in answers:
            assert 503 == answer.status_code
            assert "The database does not answer now." in answer.text
        assert 200 == (await browser.get("/try")).status_code

    visiting(settings, story)


def test_ones_own_password_and_other_browsers(settings: Settings, engine: Engine) -> None:
    make_people(engine)

    async def story(pages: Pages) -> None:
        desk, phone = pages.browser(), pages.browser()
        await desk.log_in("viewer")
        await phone.log_in("viewer")
        assert "in 2 browsers" in (await desk.get("/account")).text
        # When the old password is wrong, or the new one no good, it is said
        new = {"password": "another password", "again": "another password"}
        answer = await desk.post("/account/password", {"old": "not the password"} | new)
        assert (422, True) == (answer.status_code, "This is not your password." in answer.text)
        answer = await desk.post("/account/password", {"old": PASSWORD, "password": "viewer", "again": "viewer"})
        assert "The password must not be the name." in answer.text
        # When it is changed
        before = desk.secret
        answer = await desk.post("/account/password", {"old": PASSWORD} | new)
        assert "/account?done=1" == answer.headers["location"]
        # then this browser goes on with another token, and the other must log in with the new password
        assert before != desk.secret
        assert 200 == (await desk.get("/account?done=1")).status_code
        assert 303 == (await phone.get("/try")).status_code
        assert 422 == (await phone.log_in("viewer")).status_code
        assert 303 == (await phone.log_in("viewer", "another password")).status_code
        # Logging out everywhere ends both
        await desk.post("/account/logout")
        assert [303, 303] == [(await each.get("/try")).status_code for each in (desk, phone)]

    visiting(settings, story)
