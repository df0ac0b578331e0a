"""Forms as browsers send them, read up to a bound and within a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

from dashboard.problems import Refusal
from dashboard.words import later

_MOST_FIELDS = 1_000
_MOST_FILES = 4


async def read_form(request: Request, most_bytes: int, within_s: float) -> FormData:
    """The fields and files of a request, which may have at most `most_bytes`; to be closed by the caller.

    A body whose length is told is refused before any of it is read. Raises Refusal 400, 408, 413, 415 or 422.
    """
    length = request.headers.get("content-length")
    # Digits only: the server's parser has refused all else.
    if length is not None and int(length) > most_bytes:
        raise _too_large(most_bytes)
    try:
        async with asyncio.timeout(within_s):
            form = await _parsed(request, most_bytes)
    except TimeoutError:
        raise Refusal(408, later("The form did not arrive in time. Send it again.")) from None
    except (MultiPartException, FormParserError) as error:
        raise Refusal(400, later("The form cannot be read: %(why)s"), why=str(error)) from None
    if not is_storable(part for name, value in form.multi_items() for part in (name, _text_of(value))):
        await form.close()
        raise unstorable()
    return form


def is_storable(texts: Iterable[str]) -> bool:
    """Whether Postgres takes these texts: no NUL, and nothing that UTF-8 cannot write."""
    return not any("\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text) for text in texts)


def unstorable() -> Refusal:
    """The answer to texts that are not storable."""
    return Refusal(422, later("There is a character in it that cannot be stored. Remove it and try again."))


async def _parsed(request: Request, most_bytes: int) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = _bounded(request, most_bytes)
    if kind == "multipart/form-data":
        # No other: some of Python's codecs raise what the parser does not expect, or take minutes (punycode).
        _, options = parse_options_header(request.headers["content-type"])
        if options.get(b"charset", b"utf-8").lower() != b"utf-8":
            raise Refusal(415, later("Send this as a form."))
        return await MultiPartParser(
            request.headers, body, max_files=_MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=most_bytes
        ).parse()
    if kind == "application/x-www-form-urlencoded":
        return await FormParser(request.headers, body, max_fields=_MOST_FIELDS, max_part_size=most_bytes).parse()
    if kind:
        raise Refusal(415, later("Send this as a form."))
    return FormData()


async def _bounded(request: Request, most_bytes: int) -> AsyncGenerator[bytes, None]:
    seen_bytes = 0
    async for chunk in request.stream():
        seen_bytes += len(chunk)
        if seen_bytes > most_bytes:
            raise _too_large(most_bytes)
        yield chunk


def _too_large(most_bytes: int) -> Refusal:
    # The connection is left open: a sender whose connection is closed while it sends sees a reset and not the answer.
    return Refusal(413, later("At most %(count)s kB can be sent at once."), count=f"{most_bytes // 1000:,}")


def _text_of(value: UploadFile | str) -> str:
    return value if isinstance(value, str) else value.filename or ""
