"""What the pages of a Parquet file say of themselves before they are unpacked: how large they get.

A few hundred bytes can hold gigabytes: a page of one letter repeated, or a long value that every row refers to. The
sizes in a file's footer are no bound, as they count such a value once. Page headers are Thrift's compact protocol
(parquet.thrift: PageHeader); pyarrow allocates by them, so what they say is what it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schemas.errors import SourceError

MOST_PAGE_BYTES = 128 * 1024 * 1024
"""Largest page unpacked; most writers make them of 1 MiB, some of up to 100 MiB."""
_HEADER_BYTES = 1024
_MOST_HEADER_BYTES = 16 * 1024 * 1024  # statistics hold whole values; pyarrow's own bound
_MOST_DEPTH = 16
_DICTIONARY_PAGE = 2
_PREFIXED = 7  # the encoding DELTA_BYTE_ARRAY: a value repeats the start of the one before
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `repeats`: its values may take many times its bytes once they are decoded."""

    unpacked_bytes: int
    values: int
    repeats: bool


def pages_of(file: Any, chunk: Any) -> Iterator[Page]:
    """The pages of a column chunk (pyarrow's ColumnChunkMetaData), in order. Leaves the file's place changed.

    Raises SourceError for a page that is too large, and for what is no page.
    """
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < at:
        at = chunk.dictionary_page_offset
    end = at + chunk.total_compressed_size
    values = 0
    while at < end and values < chunk.num_values:
        header, size_bytes = _header(file, at)
        kind, unpacked_bytes, packed_bytes = (header.get(number, -1) for number in (1, 2, 3))
        if not isinstance(packed_bytes, int) or not isinstance(unpacked_bytes, int) or min(
            packed_bytes, unpacked_bytes
        ) < 0:  # fmt: skip
            raise SourceError(f"a page at byte {at} has no size")
        if unpacked_bytes > MOST_PAGE_BYTES:
            raise SourceError(
                f"a page of the column {chunk.path_in_schema!r:.60} has {unpacked_bytes:,} bytes unpacked; at most "
                f"{MOST_PAGE_BYTES:,} are allowed: write the file with smaller pages"
            )
        plain, second = header.get(5) or {}, header.get(8) or {}
        here = int(plain.get(1) or second.get(1) or 0)
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
            return _struct(data, 0, 0)
        except IndexError:
            if len(data) < most_bytes or most_bytes >= _MOST_HEADER_BYTES:
                raise SourceError(f"a page header at byte {at} has no end") from None
            most_bytes *= 16


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Fields by number: whole numbers and structs; all else is None. And where it ends."""
    if depth > _MOST_DEPTH:
        raise SourceError("a page header is nested too deep")
    fields: dict[int, Any] = {}
    number = 0
    while (kind := data[at] & 15) != _STOP:
        step = data[at] >> 4
        at += 1
        if step:
            number += step
        else:
            number, at = _number(data, at)
        fields[number], at = _value(data, at, kind, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return None, at
    if kind < _DOUBLE:
        return (None, at + 1) if kind == _BYTE else _number(data, at)
    if kind == _STRUCT:
        return _struct(data, at, depth + 1)
    if kind == _BINARY:
        size, at = _varint(data, at)
        end = at + size
    elif kind == _DOUBLE:
        end = at + 8
    else:
        raise SourceError(f"a page header holds what no page header has (type {kind})")
    if end > len(data):
        raise IndexError
    return None, end


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag number."""
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise SourceError("a page header holds a number of over 64 bits")
