"""What a team is told: one outbox row, as the fields of a stream entry and as the body of a call.

It holds no text of the item, which may be erased.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Told:
    """One outbox row. `id` grows with every announcement of an item."""

    id: int
    kind: str
    source: str
    item_id: str
    team: str
    payload: Mapping[str, Any]
    at: datetime

    @property
    def content(self) -> dict[str, Any]:
        """Everything that is told, with its own types."""
        return {
            "id": self.id,
            "kind": self.kind,
            "source": self.source,
            "item_id": self.item_id,
            "team": self.team,
            "from_team": self.payload.get("from_team"),
            "score": self.payload.get("score"),
            "at": self.at.isoformat(),
            "payload": self.payload,
        }

    def fields(self) -> dict[str, str]:
        """As a stream carries it: flat strings, the empty one for null, JSON for the payload."""
        return {
            name: "" if value is None else value if isinstance(value, str) else _json(value)
            for name, value in self.content.items()
        }

    def body(self) -> bytes:
        """As a call carries it: JSON in UTF-8."""
        return _json(self.content).encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
