"""One request of a page: who asks, in which language, and how the answer is rendered."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dashboard.access.cookies import sent
from dashboard.access.person import Person
from dashboard.render import render
from dashboard.site import Site
from dashboard.words import Words
from dashboard.zones import ZONE_COOKIE, zone_of_cookie
from schemas.names import Role

CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"


@dataclass(frozen=True)
class Visit:
    """What a handler is given. `person` is None only on pages that are open to all; `form` is empty but for POST.

    `secret` belongs to the browser: the session's token, or a random one before login. The CSRF token is made of it.
    """

    request: Request
    site: Site
    person: Person | None
    words: Words
    secret: str
    form: FormData = field(default_factory=FormData)

    @cached_property
    def csrf(self) -> str:
        """What a form must send back in its field `csrf`, or a script in the header X-CSRF-Token."""
        return csrf_of(self.secret)

    @property
    def who(self) -> str:
        """The name that stands beside what this person does."""
        return self.person.name if self.person else ""

    @property
    def is_htmx(self) -> bool:
        """Whether htmx asks for a part of a page. A page it wants back from its history is asked for as a whole."""
        headers = self.request.headers
        return headers.get("hx-request") == "true" and headers.get("hx-history-restore-request") != "true"

    @property
    def zone(self) -> str:
        """The browser's time zone; UTC until its first page has told."""
        return zone_of_cookie(sent(self.request, ZONE_COOKIE))

    def may(self, role: Role) -> bool:
        """Whether the person has at least this role."""
        return self.person is not None and self.person.role.may(role)

    def text(self, field: str) -> str:
        """What stands in a field of the form; empty if there is none, or a file."""
        value = self.form.get(field)
        return value if isinstance(value, str) else ""

    def page(
        self, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        """A template as the answer; it knows `visit`, `_` and the filters of `dashboard.render`."""
        return HTMLResponse(render(template, self, **values), status, dict(headers or {}))

    def go(self, path: str, **query: str) -> Response:
        """Send the browser to another page after a form; htmx is told to load it as a whole."""
        where = self.url(path, **query)
        if self.is_htmx:
            return Response(status_code=204, headers={"HX-Redirect": where})
        return RedirectResponse(where, 303)

    def url(self, path: str, **query: str) -> str:
        """A path of this site below where a proxy has put it."""
        root: str = self.request.scope.get("root_path", "").rstrip("/")
        return root + path + (f"?{urlencode(query)}" if query else "")


def csrf_of(secret: str) -> str:
    """The CSRF token of a browser's secret."""
    return hmac.new(secret.encode(), b"fenliu csrf", "sha256").hexdigest()
