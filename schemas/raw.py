"""Raw fields of an entry as JSON that Postgres takes, and back: text where it is text, base64 where it is not.

For dead letters, which must be replayed byte for byte. Only what is far over every bound of an entry is cut.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

MOST_RAW_BYTES = 4 * 1024 * 1024
"""Size of an entry up to which nothing of it is lost: several times what a good one may have."""
_KEPT_BYTES = 64 * 1024
_CUT = b"\xff"
"""Ends what was cut. It is no UTF-8, so that a replay is refused and never takes the part for the whole."""


def raw_to_json(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Raw fields as JSON that Postgres takes: text where it is text, else {"base64": ...}.

    Loses nothing up to MOST_RAW_BYTES; of a larger entry each name and value is cut, and fields over it are left out.
    """
    if sum(map(len, fields)) + sum(map(len, fields.values())) > MOST_RAW_BYTES:
        fields = _cut(fields)
    return {_json_key(name): _json_value(value) for name, value in fields.items()}


def _cut(fields: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    kept: dict[bytes, bytes] = {}
    left_bytes = MOST_RAW_BYTES
    for name, value in fields.items():
        pair = [part if len(part) <= _KEPT_BYTES else part[:_KEPT_BYTES] + _CUT for part in (name, value)]
        left_bytes -= len(pair[0]) + len(pair[1])
        if left_bytes < 0:
            return {**kept, _CUT: b"%d of %d fields" % (len(kept), len(fields))}
        kept[pair[0]] = pair[1]
    return kept


def raw_from_json(fields: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The inverse of `raw_to_json`."""
    return {_from_json_key(name): _from_json_value(value) for name, value in fields.items()}


def _storable(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _json_value(value: bytes) -> Any:
    text = _storable(value)
    return {"base64": base64.b64encode(value).decode()} if text is None else text


def _from_json_value(value: Any) -> bytes:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else str(value).encode()


_KEY_MARK = "base64:"


def _json_key(name: bytes) -> str:
    text = _storable(name)
    if text is None or text.startswith(_KEY_MARK):
        return _KEY_MARK + base64.b64encode(name).decode()
    return text


def _from_json_key(name: str) -> bytes:
    return base64.b64decode(name.removeprefix(_KEY_MARK)) if name.startswith(_KEY_MARK) else name.encode()
