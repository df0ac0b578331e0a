"""Thrift's compact protocol, as far as Parquet's own headers need it: structs as numbered fields."""

from __future__ import annotations

from typing import Any

from schemas.errors import SourceError

Struct = dict[int, Any]

_MOST_DEPTH = 16
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 12


def struct_at(data: bytes, at: int, depth: int = 0) -> tuple[Struct, int]:
    """Fields by number: whole numbers, text as bytes, lists and structs; all else is None. And where it ends.

    Raises IndexError where `data` ends before the struct does, SourceError for what is none.
    """
    if depth > _MOST_DEPTH:
        raise SourceError("a header is nested too deep")
    fields: Struct = {}
    number = 0
    while (kind := data[at] & 15) != _STOP:
        step = data[at] >> 4
        at += 1
        if step:
            number += step
        else:
            number, at = _number(data, at)
        fields[number], at = (None, at) if kind in (_TRUE, _FALSE) else _value(data, at, kind, depth)
    return fields, at + 1


def whole(struct: Struct, number: int, missing: int = 0) -> int:
    """A field that should be a whole number."""
    value = struct.get(number)
    return value if isinstance(value, int) else missing


def inner(struct: Struct, number: int) -> Struct:
    """A field that should be a struct."""
    value = struct.get(number)
    return value if isinstance(value, dict) else {}


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE, _BYTE):
        return None, at + 1
    if kind < _DOUBLE:
        return _number(data, at)
    if kind == _STRUCT:
        return struct_at(data, at, depth + 1)
    if kind in (_LIST, _SET):
        return _list(data, at, depth + 1)
    if kind == _BINARY:
        size, at = _varint(data, at)
        end = at + size
    elif kind == _DOUBLE:
        end = at + 8
    else:
        raise SourceError(f"a header holds what no header has (type {kind})")
    if end > len(data):
        raise IndexError
    return (data[at:end] if kind == _BINARY else None), end


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    if depth > _MOST_DEPTH:
        raise SourceError("a header is nested too deep")
    size, kind = data[at] >> 4, data[at] & 15
    at += 1
    if size == 15:
        size, at = _varint(data, at)
    values = []
    for _ in range(size):  # each takes a byte at least, so it ends with the data
        value, at = _value(data, at, kind, depth)
        if at > len(data):
            raise IndexError
        values.append(value)
    return values, at


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
            raise SourceError("a header holds a number of over 64 bits")
