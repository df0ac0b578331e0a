"""Items whose result somebody waits for: their fields, where the reply goes, and until when it is wanted."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from producers.item import AskOptions, Item, fields_of
from schemas.errors import Code, EntryError
from schemas.fields import flag
from schemas.messages import check_fields
from schemas.names import Keys


class Question(NamedTuple):
    """Fields of an entry that asks for a reply. `disposable`: without the asker nobody needs its result."""

    fields: dict[str, str]
    disposable: bool


def question(
    item: str | Item | Mapping[str, object], options: AskOptions, *, stream: str, timeout_s: float, keys: Keys
) -> Question:
    """An item as a question: not stored unless that is asked for, with an id and a deadline of its own if need be.

    A text that is not stored gets a deadline when its asker stops waiting, so that no worker computes for
    nobody; one that is stored has the deadline it is given, or none. Raises EntryError as workers would.
    """
    fields = fields_of(options) if options else {}
    if isinstance(item, str):
        fields["text"] = item
    else:
        fields |= fields_of(item)
    if "id" not in fields:
        fields["id"] = secrets.token_hex(12)
    if "reply_to" in fields:
        raise EntryError(Code.BAD_VALUE, "reply_to", "is where this client waits; leave it out, or enqueue the item")
    check_fields(fields, keys)
    disposable = not flag(fields, "store", default=False)
    if disposable:
        fields["store"] = "no"
        if "deadline" not in fields:
            fields["deadline"] = (datetime.now(UTC) + timedelta(seconds=timeout_s)).isoformat()
    fields["reply_to"] = stream
    return Question(fields, disposable)
