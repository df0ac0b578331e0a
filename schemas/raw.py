"""Raw fields of an entry as JSON that Postgres takes, and back: text where it is text, base64 where it is not.

For dead letters, which must be replayed byte for byte.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any


def raw_to_json(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Raw fields as JSON that Postgres takes: text where it is text, else {"base64": ...}. Loses nothing."""
    return {_json_key(name): _json_value(value) for name, value in fields.items()}


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
