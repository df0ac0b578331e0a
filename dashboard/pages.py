"""How a page is declared: its path, the role it needs, and the checks that stand before every handler.

In order: is the body small enough, who asks, may they, and does the form carry the browser's CSRF token. What a page
shows is its own module's matter.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable

from starlette.datastructures import FormData, Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from dashboard import problems
from dashboard.forms import is_storable, read_form, unstorable
from dashboard.site import Site
from dashboard.visit import CSRF_FIELD, CSRF_HEADER, Visit
from dashboard.words import LANGUAGES, preferred, words_of
from schemas.errors import FenliuError
from schemas.names import Role
from schemas.settings import Settings

SESSION_COOKIE = "fenliu_session"
LANGUAGE_COOKIE = "fenliu_language"
_YEAR_S = 365 * 86_400
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
    secret = request.cookies.get(SESSION_COOKIE) or secrets.token_urlsafe(32)
    visit = Visit(request, site, None, words_of(_language(request)), secret)
    try:
        if not is_storable(request.query_params.values()):
            raise unstorable()
        form = await _form(request, site.settings)
        person = await site.gate.person(request, secret)
        visit = Visit(request, site, person, visit.words, secret, form)
        response = _refusal(visit, role) or await handler(visit)
    except (HTTPException, FenliuError) as error:
        response = problems.answer(visit, error)
    await visit.form.close()
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    _set_cookies(visit, response)
    return response


async def _form(request: Request, settings: Settings) -> FormData:
    if request.method != "POST":
        return FormData()
    return await read_form(request, settings.http_body_bytes, settings.http_timeout_s)


def _refusal(visit: Visit, role: Role | None) -> Response | None:
    """Why this request is not answered by its handler, or None."""
    request = visit.request
    if role is not None and visit.person is None:
        return visit.site.gate.turn_away(visit)
    if role is not None and not visit.may(role):
        needed = visit.words("This page is for the role %(role)s.", role=visit.words(role.value))
        return problems.page(visit, 403, needed)
    if request.method == "POST":
        sent = request.headers.get(CSRF_HEADER) or str(visit.form.get(CSRF_FIELD, ""))
        if not hmac.compare_digest(sent.encode(), visit.csrf.encode()):
            return problems.page(visit, 403, visit.words("This form is too old. Load the page again and repeat it."))
    return None


def _language(request: Request) -> str:
    for choice in (request.query_params.get("language"), request.cookies.get(LANGUAGE_COOKIE)):
        if choice in LANGUAGES:
            return choice
    return preferred(request.headers.get("accept-language", ""))


def _set_cookies(visit: Visit, response: Response) -> None:
    """The browser's secret before login, and the language that was chosen."""
    request = visit.request
    is_secure = request.url.scheme == "https"
    has_session = any(value.startswith(f"{SESSION_COOKIE}=") for value in response.headers.getlist("set-cookie"))
    if SESSION_COOKIE not in request.cookies and not has_session:
        response.set_cookie(SESSION_COOKIE, visit.secret, httponly=True, samesite="lax", secure=is_secure)
    if request.query_params.get("language") in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE, visit.words.language, max_age=_YEAR_S, httponly=True, samesite="lax", secure=is_secure
        )


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
