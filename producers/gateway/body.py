"""The body of a request: read within its bounds, taken as JSON, checked against a model."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json
from starlette.requests import ClientDisconnect, Request

from producers.gateway.problems import FieldError, Kind, Problem
from schemas.errors import Code
from schemas.fields import half_pair
from schemas.settings import Settings

M = TypeVar("M", bound=BaseModel)

_JSON = b"application/json"
_ESCAPED_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_MOST_SHOWN = 20


async def read(request: Request, settings: Settings) -> bytes:
    """The whole body. Raises Problem where it is too large or too slow, ClientDisconnect where its sender left.

    A body whose length is told is refused before any of it is read, another as soon as it is over the bound.
    """
    bound_bytes = settings.http_body_bytes
    length = _header(request, b"content-length")
    # Digits only: the server's parser has refused all else.
    if length is not None and int(length) > bound_bytes:
        raise _too_large(bound_bytes)
    message = await _receive(request, settings.http_timeout_s)
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > bound_bytes:
            raise _too_large(bound_bytes)
        return body
    return await _read_on(request, settings, body)


async def _read_on(request: Request, settings: Settings, begun: bytes) -> bytes:
    body = bytearray(begun)
    until = asyncio.get_running_loop().time() + settings.http_timeout_s
    more = True
    while more:
        if len(body) > settings.http_body_bytes:
            raise _too_large(settings.http_body_bytes)
        message = await _receive(request, until - asyncio.get_running_loop().time())
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if len(body) > settings.http_body_bytes:
        raise _too_large(settings.http_body_bytes)
    return bytes(body)


async def _receive(request: Request, timeout_s: float) -> Any:
    try:
        async with asyncio.timeout(timeout_s):
            message = await request.receive()
    except TimeoutError:
        raise Problem(Kind.BODY_TIMEOUT, "send the body without long pauses", headers={"Connection": "close"}) from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message


def _too_large(bound_bytes: int) -> Problem:
    # Left open: a sender whose connection is closed while it sends sees a reset and not the answer.
    return Problem(Kind.BODY_TOO_LARGE, f"at most {bound_bytes} bytes are allowed; send fewer texts at once")


def refuse_other_types(request: Request) -> None:
    """Raise Problem unless the body is said to be JSON in UTF-8. To be called before it is read."""
    given = _header(request, b"content-type") or b""
    if given == _JSON:
        return
    kind, _, parameters = given.lower().partition(b";")
    kind = kind.strip()
    charset = parameters.strip().removeprefix(b"charset=").strip(b'" ')
    is_json = kind == _JSON or (kind.startswith(b"application/") and kind.endswith(b"+json"))
    if not is_json or charset not in (b"", b"utf-8", b"utf8"):
        raise Problem(
            Kind.UNSUPPORTED_MEDIA_TYPE,
            "send the header Content-Type: application/json, and the body as JSON in UTF-8",
            headers={"Accept": "application/json"},
        )


def as_json(body: bytes) -> Any:
    """The value that a body holds. Raises Problem."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _half_pairs(body) or _invalid_json(str(error)) from None


def as_model(body: bytes, model: type[M]) -> M:
    """The model that a body holds. Raises Problem that names every field at fault."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        raise _half_pairs(body) or _invalid_json(str(details[0].get("ctx", {}).get("error", "")))
    errors = [_field_error(detail) for detail in details]
    raise Problem(Kind.INVALID, "; ".join(error.message for error in errors[:5]), errors=errors)


def _half_pairs(body: bytes) -> Problem | None:
    """What is wrong with a body that is JSON but for halves of surrogate pairs in its texts; None of any other.

    The request is refused as a whole, as any that is no JSON; each place is named.
    """
    if not _ESCAPED_HALF.search(body):
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    message = "holds half of a surrogate pair, which is no character; remove it"
    errors = [
        FieldError(field=field, code=Code.NOT_UTF8, message=f"{field}: {message}")
        for field in islice(_with_half_pairs(value), _MOST_SHOWN)
    ]
    return Problem(Kind.INVALID, "; ".join(error.message for error in errors), errors=errors) if errors else None


def _with_half_pairs(value: Any) -> Iterator[str]:
    """Where texts and names stand that hold one, as `items.3.text`."""
    rest = [("", value)]
    while rest:
        where, part = rest.pop()
        match part:
            case str() if half_pair(part):
                yield where or "body"
            case dict():
                for name, inner in reversed(part.items()):
                    shown = name.encode("utf-8", "backslashreplace").decode()[:100]
                    rest.append((f"{where}.{shown}" if where else shown, inner))
                    if half_pair(name):
                        yield rest[-1][0]
            case list():
                rest.extend((f"{where}.{at}" if where else str(at), part[at]) for at in reversed(range(len(part))))
            case _:
                pass


def wrong(field: str, code: str, message: str) -> Problem:
    """A Problem about one field; `message` says what is wrong and how to mend it."""
    said = f"{field}: {message}"
    return Problem(Kind.INVALID, said, errors=[FieldError(field=field, code=code, message=said)])


_PLAIN = {
    "missing": "is missing",
    "extra_forbidden": "is not known; leave it out",
    "string_type": "must be text",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
    "model_type": "must be an object",
}


def _field_error(detail: ErrorDetails) -> FieldError:
    field = ".".join(str(part) for part in detail["loc"]) or "body"
    said = _PLAIN.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
    return FieldError(field=field, code=detail["type"], message=f"{field}: {said}")


def _invalid_json(why: str) -> Problem:
    return Problem(Kind.INVALID_JSON, f"the body must be a JSON object: {why}" if why else "the body must be JSON")


def _header(request: Request, name: bytes) -> bytes | None:
    for key, value in request.scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None
