"""Forms as browsers send them, read up to a bound."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

_MOST_FIELDS = 1_000


async def read_form(request: Request, most_bytes: int) -> FormData:
    """The fields and files of a request, which may have at most `most_bytes`. Raises HTTPException 400, 413 or 415."""

    async def bounded() -> AsyncGenerator[bytes, None]:
        seen_bytes = 0
        async for chunk in request.stream():
            seen_bytes += len(chunk)
            if seen_bytes > most_bytes:
                raise HTTPException(413, f"at most {most_bytes} bytes can be sent at once")
            yield chunk

    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            parser = MultiPartParser(
                request.headers, bounded(), max_files=4, max_fields=_MOST_FIELDS, max_part_size=most_bytes
            )
            return await parser.parse()
        if kind == "application/x-www-form-urlencoded":
            return await FormParser(request.headers, bounded()).parse()
    except (MultiPartException, KeyError) as error:
        raise HTTPException(400, f"this is no form: {error}") from None
    if not kind:
        return FormData()
    raise HTTPException(415, "send a form")
