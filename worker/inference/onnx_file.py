"""Which other files an ONNX file would read: the external data its tensors name.

Walks the protobuf wire format of the few messages that can hold a tensor and skips everything else, so that a model is
known to be harmless before ONNX Runtime opens it. Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import ModelError

_MOST_DEPTH = 64
_MOST_TAG = 2**32 - 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "ExternalData"},
}
_KEY, _VALUE = 1, 2


def external_locations(path: Path) -> frozenset[str]:
    """Every `location` that a tensor of this ONNX file names, as written. Empty: the file stands by itself.

    Raises ModelError when the file cannot be read or is no protobuf.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return frozenset(_locations(data, 0, len(data), "Model", 0))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    except (ValueError, IndexError) as error:
        raise ModelError(f"{path}: is no ONNX file: {error}") from None


def _locations(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _MOST_DEPTH:
        raise ValueError(f"its graphs are nested over {_MOST_DEPTH} deep")
    children = _CHILDREN[message]
    for number, at, stop in _fields(data, start, end):
        child = children.get(number)
        if child == "ExternalData":
            yield from _location(data, at, stop)
        elif child is not None:
            yield from _locations(data, at, stop, child, depth + 1)


def _location(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    pair = {number: data[at:stop] for number, at, stop in _fields(data, start, end)}
    if pair.get(_KEY) == b"location":
        yield pair.get(_VALUE, b"").decode("utf-8", "backslashreplace")


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field of one message; numbers are skipped."""
    at = start
    while at < end:
        tag, at = _varint(data, at)
        if tag > _MOST_TAG:
            # Protobuf's own reader keeps 32 bits of it, and would see another field than we do.
            raise ValueError(f"field tag {tag} at byte {at} is over 32 bits")
        wire, number = tag & 7, tag >> 3
        if wire == _BYTES:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError(f"field {number} at byte {at} runs over its message")
            yield number, at, at + size
            at += size
        elif wire == _VARINT:
            _, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
    if at != end:
        raise ValueError(f"a message ends at byte {at} and not at {end}")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number at byte {at} is over 64 bits")
