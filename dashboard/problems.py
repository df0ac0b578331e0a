"""What people see when something did not work: the status of an error, and the page or message that tells of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response

from dashboard.words import Words, later
from schemas.errors import (
    DatabaseUnavailableError,
    FenliuError,
    InboxFullError,
    InboxUnavailableError,
    PermanentError,
    RetryableError,
)

if TYPE_CHECKING:
    from dashboard.visit import Visit

_OF_STATUS = {
    400: later("The request cannot be understood."),
    403: later("This is not allowed."),
    404: later("There is nothing at this address."),
    405: later("This cannot be done at this address."),
    413: later("This is too large."),
    429: later("There is too much to do now. Try again in a moment."),
    500: later("Fenliu is not set up right; its log says what to change."),
    503: later("This cannot be done now. Try again in a moment."),
}
# What the message of an error tells is meant for who runs Fenliu: addresses of servers, for example.
_NEUTRAL: tuple[tuple[type[FenliuError], str], ...] = (
    (DatabaseUnavailableError, later("The database does not answer now. Try again in a moment.")),
    (InboxUnavailableError, later("Redis does not answer now. Try again in a moment.")),
)


class Refusal(HTTPException):
    """An answer other than the page, in the visitor's language: an English text, and what stands in it."""

    def __init__(self, status_code: int, english: str, **values: object) -> None:
        super().__init__(status_code, english % values if values else english)
        self._english = english
        self._values = values

    def said(self, words: Words) -> str:
        """The text."""
        return words(self._english, **self._values)


def answer(visit: Visit, error: HTTPException | FenliuError) -> Response:
    """What a visitor gets for an error."""
    if isinstance(error, Refusal):
        return page(visit, error.status_code, error.said(visit.words))
    if isinstance(error, HTTPException):
        is_plain = error.detail == HTTPStatus(error.status_code).phrase
        said = _OF_STATUS.get(error.status_code, error.detail) if is_plain else error.detail
        return page(visit, error.status_code, visit.words(said))
    status = status_of(error)
    neutral = next((said for kind, said in _NEUTRAL if isinstance(error, kind)), None)
    if neutral is None and status == HTTPStatus.INTERNAL_SERVER_ERROR:
        neutral = _OF_STATUS[status]
    return page(visit, status, visit.words(neutral) if neutral else str(error))


def page(visit: Visit, status: int, message: str) -> Response:
    """A page that says what is wrong; for htmx the message alone, which static/app.js shows."""
    template = "error_part.html" if visit.is_htmx else "error.html"
    return visit.page(template, status, code=status, message=message)


def status_of(error: FenliuError) -> int:
    """The HTTP status of one of our own errors."""
    if isinstance(error, InboxFullError):
        return 429
    if isinstance(error, RetryableError):
        return 503
    return 422 if isinstance(error, PermanentError) else 500
