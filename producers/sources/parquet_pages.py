"""What the pages of a Parquet file say of themselves before they are unpacked: how large they get.

A few hundred bytes can hold gigabytes: a page of one letter repeated, or a long value that every row refers to. The
sizes in a file's footer are no bound, as they count such a value once. Page headers are Thrift's compact protocol
(parquet.thrift: PageHeader); pyarrow allocates by them, so what they say is what it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from producers.sources.parquet_footer import Chunk
from producers.sources.thrift import inner, struct_at, whole
from schemas.errors import SourceError

MOST_PAGE_BYTES = 128 * 1024 * 1024
"""Largest page unpacked; most writers make them of 1 MiB, some of up to 100 MiB."""
_HEADER_BYTES = 1024
_MOST_HEADER_BYTES = 16 * 1024 * 1024  # statistics hold whole values; pyarrow's own bound
_DICTIONARY_PAGE = 2
_PREFIXED = 7  # the encoding DELTA_BYTE_ARRAY: a value repeats the start of the one before


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `repeats`: its values may take many times its bytes once they are decoded."""

    unpacked_bytes: int
    values: int
    repeats: bool


def pages_of(file: Any, chunk: Chunk) -> Iterator[Page]:
    """The pages of a column chunk, in order. Leaves the file's place changed.

    Raises SourceError for a page that is too large, and for what is no page.
    """
    at = chunk.data_page_at
    if 0 < chunk.dictionary_page_at < at:
        at = chunk.dictionary_page_at
    end = at + chunk.packed_bytes
    values = 0
    while at < end and values < chunk.values:
        header, size_bytes = _header(file, at)
        kind, unpacked_bytes, packed_bytes = (whole(header, number, -1) for number in (1, 2, 3))
        if min(packed_bytes, unpacked_bytes) < 0:
            raise SourceError(f"a page at byte {at} has no size")
        if unpacked_bytes > MOST_PAGE_BYTES:
            raise SourceError(
                f"a page of the column {chunk.path!r:.60} has {unpacked_bytes:,} bytes unpacked; at most "
                f"{MOST_PAGE_BYTES:,} are allowed: write the file with smaller pages"
            )
        plain, second = inner(header, 5), inner(header, 8)
        here = whole(plain, 1) or whole(second, 1) or 0
        is_dictionary = kind == _DICTIONARY_PAGE
        values += 0 if is_dictionary else here
        yield Page(unpacked_bytes, here, is_dictionary or _PREFIXED in (plain.get(2), second.get(4)))
        at += size_bytes + packed_bytes


def _header(file: Any, at: int) -> tuple[dict[int, Any], int]:
    """The page header at a byte, as numbered fields, and its length."""
    most_bytes = _HEADER_BYTES
    while True:
        file.seek(at)
        data = file.read(most_bytes)
        try:
            return struct_at(data, 0)
        except IndexError:
            if len(data) < most_bytes or most_bytes >= _MOST_HEADER_BYTES:
                raise SourceError(f"a page header at byte {at} has no end") from None
            most_bytes *= 16
