"""Problem documents (RFC 9457): every error that callers see, its stable type, and what our own errors become."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from schemas.errors import (
    DatabaseUnavailableError,
    EntryError,
    ExpiredError,
    FenliuError,
    InboxFullError,
    InboxUnavailableError,
    PermanentError,
    ReplyTimeoutError,
    RetryableError,
)

if TYPE_CHECKING:
    from producers.gateway.exchange import Exchange

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:fenliu:problem:"
INSTANCE_PREFIX = "urn:fenliu:request:"
RETRY_AFTER_S = 2


class Kind(enum.StrEnum):
    """Stable ends of problem types. Programs match on them: never rename one."""

    INVALID_JSON = "invalid-json"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    BODY_TIMEOUT = "body-timeout"
    BODY_TOO_LARGE = "body-too-large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    INVALID = "invalid-request"
    RATE_LIMITED = "rate-limited"
    INBOX_FULL = "inbox-full"
    INTERNAL = "internal-error"
    INBOX_UNAVAILABLE = "inbox-unavailable"
    DATABASE_UNAVAILABLE = "database-unavailable"
    UNAVAILABLE = "unavailable"
    NOT_READY = "not-ready"
    NO_REPLY = "no-reply-in-time"


_STATUS_AND_TITLE: dict[Kind, tuple[int, str]] = {
    Kind.INVALID_JSON: (400, "The body is no valid JSON"),
    Kind.UNAUTHORIZED: (401, "An API key is needed"),
    Kind.FORBIDDEN: (403, "The API key may not do this"),
    Kind.NOT_FOUND: (404, "There is no such thing"),
    Kind.METHOD_NOT_ALLOWED: (405, "This path has no such method"),
    Kind.BODY_TIMEOUT: (408, "The body did not arrive in time"),
    Kind.BODY_TOO_LARGE: (413, "The body is too large"),
    Kind.UNSUPPORTED_MEDIA_TYPE: (415, "The body must be JSON"),
    Kind.INVALID: (422, "The request breaks a rule"),
    Kind.RATE_LIMITED: (429, "Too many requests"),
    Kind.INBOX_FULL: (429, "The inbox is full"),
    Kind.INTERNAL: (500, "Something went wrong here"),
    Kind.INBOX_UNAVAILABLE: (503, "Redis cannot be reached"),
    Kind.DATABASE_UNAVAILABLE: (503, "PostgreSQL cannot be reached"),
    Kind.UNAVAILABLE: (503, "This cannot be done now"),
    Kind.NOT_READY: (503, "Not ready to classify"),
    Kind.NO_REPLY: (504, "No result in time"),
}
_OF_STATUS = {404: Kind.NOT_FOUND, 405: Kind.METHOD_NOT_ALLOWED}
_RETRY_LATER = frozenset([429, 503])


class FieldError(BaseModel):
    """What is wrong with one field, and how to mend it."""

    field: str = Field(description="Where it is: `text`, `texts.3`, `items.0.created_at`.", examples=["texts.3"])
    code: str = Field(description="Stable; as the codes of dead letters.", examples=["empty_field"])
    message: str = Field(examples=["text: is empty; give 1 to 20000 characters"])


class ProblemDocument(BaseModel):
    """An error, by RFC 9457."""

    type: str = Field(description="Stable; match on it.", examples=[f"{TYPE_PREFIX}{Kind.INVALID}"])
    title: str = Field(examples=["The request breaks a rule"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["text: is empty; give 1 to 20000 characters"])
    instance: str = Field(
        description="This occurrence: the request's id as a URN.",
        examples=[f"{INSTANCE_PREFIX}3f1c9a6be0d24b7d8a51c0de"],
    )
    request_id: str = Field(examples=["3f1c9a6be0d24b7d8a51c0de"])
    errors: list[FieldError] | None = None
    checks: dict[str, str] | None = Field(None, description="Of /readyz: each part, and what is wrong with it.")


class Problem(Exception):
    """An error on its way to the caller. `errors`: one for each field at fault."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        retry_after_s: int | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.more = more or {}
        self.headers = dict(headers or {})
        if self.status in _RETRY_LATER:
            self.headers["Retry-After"] = str(retry_after_s or RETRY_AFTER_S)

    @property
    def status(self) -> int:
        """Its HTTP status."""
        return _STATUS_AND_TITLE[self.kind][0]

    @property
    def title(self) -> str:
        """What its type means."""
        return _STATUS_AND_TITLE[self.kind][1]


# Without a detail: the error's own message, which is meant for callers. Others speak to who runs this.
_OF_ERROR: tuple[tuple[type[FenliuError], Kind, str | None], ...] = (
    (InboxFullError, Kind.INBOX_FULL, None),
    (InboxUnavailableError, Kind.INBOX_UNAVAILABLE, "the inbox takes nothing now; try again"),
    (DatabaseUnavailableError, Kind.DATABASE_UNAVAILABLE, "the database does not answer now; try again"),
    (ReplyTimeoutError, Kind.NO_REPLY, None),
    (ExpiredError, Kind.NO_REPLY, None),
    (PermanentError, Kind.INVALID, None),
    (RetryableError, Kind.UNAVAILABLE, None),
    (FenliuError, Kind.UNAVAILABLE, "this gateway is not set up right; its log says what to change"),
)


def problem_of(error: FenliuError) -> Problem:
    """What one of our own errors is to a caller."""
    kind, detail = next((kind, detail) for known, kind, detail in _OF_ERROR if isinstance(error, known))
    errors = [field_error(error)] if isinstance(error, EntryError) else ()
    return Problem(kind, detail or str(error), errors=errors)


def field_error(error: EntryError, where: str = "") -> FieldError:
    """An EntryError as a field error; `where` goes before the field's name, with a dot."""
    return FieldError(field=f"{where}.{error.field}" if where else error.field, code=error.code, message=str(error))


def as_part(error: FenliuError) -> dict[str, Any]:
    """The error of one text or item among others, in an answer that has results too."""
    problem = problem_of(error)
    part: dict[str, Any] = {"type": TYPE_PREFIX + problem.kind, "detail": problem.detail}
    if isinstance(error, EntryError):
        part |= {"code": error.code.value, "field": error.field}
    return part


def render(problem: Problem, exchange: Exchange) -> Response:
    """The answer that carries it."""
    exchange.problem = problem.kind.value
    request_id = exchange.request_id.decode()
    document = {
        "type": TYPE_PREFIX + problem.kind,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": INSTANCE_PREFIX + request_id,
        "request_id": request_id,
        **problem.more,
    }
    if problem.errors:
        document["errors"] = [error.model_dump() for error in problem.errors]
    return JSONResponse(document, problem.status, problem.headers, MEDIA_TYPE)


def problem_of_http(error: HTTPException) -> Problem:
    """What the framework says of a path or method it does not know."""
    kind = _OF_STATUS.get(error.status_code, Kind.INVALID if error.status_code < 500 else Kind.INTERNAL)
    said = "nothing is served at this path; /docs lists what is" if kind is Kind.NOT_FOUND else str(error.detail)
    return Problem(kind, said, headers=error.headers)


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer any error that a handler raised."""
    exchange: Exchange = request.scope["exchange"]
    match error:
        case Problem():
            return render(error, exchange)
        case FenliuError():
            problem = problem_of(error)
            if problem.status >= 500:
                exchange.reason = str(error)[:300]
            return render(problem, exchange)
        case HTTPException():
            return render(problem_of_http(error), exchange)
        case _:
            raise error
