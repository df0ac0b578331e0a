"""Database rows as a line of JSON for machines: times in RFC 3339, Postgres' numeric as whole numbers."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from schemas.printable import printable_json


def row_json(value: Any) -> str:
    """`value`, mappings and lists of what rows hold, as JSON. Raises TypeError for what rows do not hold."""
    return printable_json(json.dumps(value, ensure_ascii=False, default=_in_json))


def _in_json(value: object) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case Decimal():
            return int(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON form")
