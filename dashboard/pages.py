"""How a page is declared: its path, the role it needs, and the checks that stand before every handler.

In order: who asks, may they, is the body small enough, and does the form come from a page of ours and carry the
browser's CSRF token. What a page shows is its own module's matter.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.datastructures import FormData, Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from dashboard import problems
from dashboard.access import cookies
from dashboard.access.origin import is_foreign
from dashboard.forms import is_storable, read_form, unstorable
from dashboard.site import Site
from dashboard.visit import CSRF_FIELD, CSRF_HEADER, Visit
from dashboard.words import LANGUAGES, preferred, words_of
from schemas.errors import FenliuError
from schemas.names import Role

LANGUAGE_COOKIE = "fenliu_language"
_YEAR_S = 365 * 86_400
_STRANGERS_BYTES = 16_384
"""Largest form of somebody who has not logged in: a name and a password."""
_HEADERS = {
    # Styles of single elements are let in for the plots, whose library writes them; scripts and sheets are ours.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

PageHandler = Callable[[Visit], Awaitable[Response]]


class PageRoute(Route):
    """A route that knows the role it needs; None: open to all."""

    def __init__(self, path: str, handler: PageHandler, method: str, role: Role | None) -> None:
        self.role = role

        async def answer(request: Request) -> Response:
            return await _answer(request, handler, role)

        super().__init__(path, answer, methods=[method], name=handler.__qualname__)


class Pages:
    """The routes of one module: `@pages.get("/review", Role.REVIEWER)` above `async def review(visit) -> Response`."""

    def __init__(self) -> None:
        self.routes: list[PageRoute] = []

    def get(self, path: str, role: Role | None) -> Callable[[PageHandler], PageHandler]:
        """A page that changes nothing."""
        return self._add(path, "GET", role)

    def post(self, path: str, role: Role | None) -> Callable[[PageHandler], PageHandler]:
        """A form or button; `visit.form` has passed the CSRF check."""
        return self._add(path, "POST", role)

    def _add(self, path: str, method: str, role: Role | None) -> Callable[[PageHandler], PageHandler]:
        def add(handler: PageHandler) -> PageHandler:
            self.routes.append(PageRoute(path, handler, method, role))
            return handler

        return add


async def _answer(request: Request, handler: PageHandler, role: Role | None) -> Response:
    site: Site = request.app.state.site
    secret = cookies.sent_secret(request) or cookies.new_secret()
    visit = Visit(request, site, None, words_of(_language(request)), secret)
    try:
        if not is_storable(request.query_params.values()):
            raise unstorable()
        visit = replace(visit, person=await site.gate.person(request, secret))
        response = _stranger(visit, role)
        if response is None and request.method == "POST":
            visit = replace(visit, form=await _form(visit))
            response = _forgery(visit)
        response = response or await handler(visit)
    except (HTTPException, FenliuError) as error:
        response = problems.answer(visit, error)
    await visit.form.close()
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    _set_cookies(visit, response)
    return response


async def _form(visit: Visit) -> FormData:
    settings = visit.site.settings
    most_bytes = settings.http_body_bytes if visit.person else min(_STRANGERS_BYTES, settings.http_body_bytes)
    return await read_form(visit.request, most_bytes, settings.http_timeout_s)


def _stranger(visit: Visit, role: Role | None) -> Response | None:
    """The answer to somebody who has not logged in, or may not do this; None if they may."""
    if role is not None and visit.person is None:
        return visit.site.gate.turn_away(visit)
    if role is not None and not visit.may(role):
        needed = visit.words("This page is for the role %(role)s.", role=visit.words(role.value))
        return problems.page(visit, 403, needed)
    return None


def _forgery(visit: Visit) -> Response | None:
    """The answer to a form that no page of ours has sent; None if one has."""
    if is_foreign(visit.request):
        return problems.page(visit, 403, visit.words("This form was sent by another site."))
    sent = visit.request.headers.get(CSRF_HEADER) or str(visit.form.get(CSRF_FIELD, ""))
    if not hmac.compare_digest(sent.encode(), visit.csrf.encode()):
        return problems.page(visit, 403, visit.words("This form is too old. Load the page again and repeat it."))
    return None


def _language(request: Request) -> str:
    for choice in (request.query_params.get("language"), cookies.sent(request, LANGUAGE_COOKIE)):
        if choice in LANGUAGES:
            return choice
    return preferred(request.headers.get("accept-language", ""))


def _set_cookies(visit: Visit, response: Response) -> None:
    """The browser's secret before login, and the language that was chosen."""
    request = visit.request
    if cookies.sent_secret(request) is None and not cookies.is_kept(request, response):
        cookies.keep(request, response, visit.secret)
    if request.query_params.get("language") in LANGUAGES:
        language, is_secure = visit.words.language, cookies.is_secure(request)
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=_YEAR_S, httponly=True, samesite="lax", secure=is_secure)


async def home(request: Request) -> Response:
    """The first page: where people try it."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(request.scope.get("root_path", "").rstrip("/") + "/try" + query, 307)


class LostRoute(PageRoute):
    """The last route: a page for browsers that ask for what is not there. Programs get a problem document."""

    def __init__(self) -> None:
        super().__init__("/{path:path}", _lost, "GET", None)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Not for programs, and not below the API's own path."""
        is_browser = scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", "")
        if not is_browser or scope["path"].startswith("/v1/"):
            return Match.NONE, {}
        return super().matches(scope)


async def _lost(visit: Visit) -> Response:  # noqa: ARG001 - as every handler
    raise HTTPException(404)
