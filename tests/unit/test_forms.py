"""Forms are read up to a bound and within a time, whatever is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from dashboard.forms import read_form
from dashboard.problems import Refusal
from dashboard.words import words_of

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def read(
    chunks: Sequence[bytes], kind: str | None, *, told_bytes: int | None = None, most_bytes: int = 1_000
) -> tuple[FormData, int]:
    """The form, and how many chunks were taken. After the last chunk the sender falls silent if more were told."""
    headers = [(b"content-type", kind.encode())] if kind else []
    if told_bytes is not None:
        headers.append((b"content-length", str(told_bytes).encode()))
    taken = 0
    is_whole = told_bytes is None or told_bytes <= sum(map(len, chunks))

    async def messages() -> AsyncIterator[dict[str, Any]]:
        nonlocal taken
        for at, chunk in enumerate(chunks, 1):
            taken += 1
            yield {"type": "http.request", "body": chunk, "more_body": at < len(chunks) or not is_whole}
        await asyncio.Event().wait()

    async def story() -> FormData:
        source = messages()
        request = Request({"type": "http", "method": "POST", "headers": headers}, source.__anext__)
        return await read_form(request, most_bytes, 0.2)

    try:
        return asyncio.run(story()), taken
    except Refusal as refusal:
        refusal.taken = taken  # type: ignore[attr-defined]
        raise


def test_fields_of_both_kinds_of_forms() -> None:
    form, _ = read([b"text=%E7%89%A9%E6%B5%81&mark=a&ma", b"rk=b"], URLENCODED)
    assert [("text", "物流"), ("mark", "a"), ("mark", "b")] == form.multi_items()
    body = part("text", "物流".encode()) + part("file", b"a,b", '; filename="a.csv"') + b"--b--\r\n"
    form, _ = read([body[:30], body[30:]], MULTIPART)
    file = form["file"]
    assert isinstance(file, UploadFile)
    assert ("物流", "a.csv", b"a,b") == (form["text"], file.filename, file.file.read())
    file.file.close()


def test_a_request_without_a_body_is_an_empty_form() -> None:
    assert [] == read([b""], None)[0].multi_items()


def test_a_body_that_is_told_to_be_too_large_is_refused_unread() -> None:
    with pytest.raises(Refusal) as refused:
        read([b"text=1"], URLENCODED, told_bytes=1_001)
    assert (413, 0) == (refused.value.status_code, refused.value.taken)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [URLENCODED, MULTIPART])
def test_a_body_of_untold_length_is_read_no_further_than_the_bound(kind: str) -> None:
    start = part("text", b"") if kind == MULTIPART else b"text="
    with pytest.raises(Refusal) as refused:
        read([start, *[b"x" * 400] * 10], kind)
    assert (413, 4) == (refused.value.status_code, refused.value.taken)  # type: ignore[attr-defined]


def test_a_body_that_stops_in_the_middle_is_waited_for_no_longer_than_allowed() -> None:
    with pytest.raises(Refusal) as refused:
        read([b"text="], URLENCODED, told_bytes=900)
    assert 408 == refused.value.status_code


@pytest.mark.parametrize(
    ("chunks", "kind", "status"),
    [
        ([b"{}"], "application/json", 415),
        ([b"text"], "multipart/form-data", 400),
        ([b"--c\r\n"], MULTIPART, 400),
        ([b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"], MULTIPART, 400),
        ([b"&".join([b"a=1"] * 1_001)], URLENCODED, 400),
        ([part("f", b"x", '; filename="a"') * 5 + b"--b--\r\n"], MULTIPART, 400),
        ([b"text=a%00b"], URLENCODED, 422),
        ([part("text", b"+2AA-") + b"--b--\r\n"], f"{MULTIPART}; charset=utf-7", 415),
        ([part("text", b"a-b") + b"--b--\r\n"], f"{MULTIPART}; charset=undefined", 415),
        ([part("text", b"a-b") + b"--b--\r\n"], f'{MULTIPART}; charset="punycode"', 415),
    ],
)  # fmt: skip
def test_what_is_no_form_or_cannot_be_stored_is_refused(chunks: list[bytes], kind: str, status: int) -> None:
    with pytest.raises(Refusal) as refused:
        read(chunks, kind, most_bytes=10_000)
    assert status == refused.value.status_code
    # and it is said in the visitor's language
    assert refused.value.detail == refused.value.said(words_of("en"))
    assert refused.value.detail != refused.value.said(words_of("zh"))
