"""The inbox entry and the reply, decoded and encoded.

One set of rules for both ends: producers check with `check_fields` before they send, workers decode with
`decode`. Pure: no Redis here. What each field may hold is `schemas.fields`'.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from schemas.errors import Code, EntryError, PermanentError
from schemas.fields import (
    flag,
    half_pair,
    is_plain,
    item_text,
    kind_of,
    labels_of,
    meta_of,
    name_of,
    reply_stream,
    tasks_of,
    template_of,
    texts,
    time_of,
)
from schemas.labels import LabelSet
from schemas.names import (
    DEFAULT_ROUTE_SET,
    DEFAULT_SOURCE,
    TASKS_OF_KIND,
    Keys,
    Kind,
    Lane,
    ReplyStatus,
    Task,
)

_PLAIN_FIELDS = frozenset(["id", "text", "source", "kind"])
_KINDS = frozenset(kind.value for kind in Kind)
_KIND_OF = {kind.value.encode(): kind for kind in Kind}
_PLAIN_NAMES = frozenset(name.encode() for name in _PLAIN_FIELDS)
_DEFAULT_SOURCE = DEFAULT_SOURCE.encode()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_LAST_MS = 253_402_300_799_999  # of the year 9999, where datetime ends
_NOTHING: Mapping[str, Any] = MappingProxyType({})


# Named tuples, these two and what `worker.draft` and `worker.outcome` make of them: a frozen dataclass takes five times
# as long to make, and every item is one of each.
class RawEntry(NamedTuple):
    """One stream entry as Redis gives it, with how often it has been delivered."""

    lane: Lane
    entry_id: str
    fields: Mapping[bytes, bytes]
    deliveries: int = 1


class Entry(NamedTuple):
    """A decoded, valid inbox entry. All times are UTC."""

    lane: Lane
    entry_id: str
    id: str
    text: str
    source: str = DEFAULT_SOURCE
    kind: Kind = Kind.COMMENT
    tasks: tuple[Task, ...] = (Task.SENTIMENT,)
    route_set: str = DEFAULT_ROUTE_SET
    created_at: datetime = _EPOCH
    updated_at: datetime = _EPOCH
    deadline: datetime | None = None
    reply_to: str | None = None
    meta: Mapping[str, Any] = _NOTHING
    model: str | None = None
    labels: LabelSet | None = None
    template: str | None = None
    multi_label: bool = False
    store: bool = True

    @property
    def order(self) -> tuple[datetime, int, int]:
        """What decides which of two entries of one item is newer: the greater."""
        return (self.updated_at, *entry_order(self.entry_id))


def entry_order(entry_id: str) -> tuple[int, int]:
    """A stream entry's id as its two integers: milliseconds and sequence."""
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq or 0)


def entry_ms(entry_id: str) -> int:
    """Milliseconds from the epoch to when an entry was added, by its id; 0 for an id that its producer made no time."""
    ms = int(entry_id.partition("-")[0])
    return ms if ms <= _LAST_MS else 0


def entry_time(entry_id: str) -> datetime:
    """When an entry was added, by its id. An id that is no time counts as the epoch."""
    return _EPOCH + entry_ms(entry_id) * _MS


def decode(raw: RawEntry, keys: Keys) -> Entry:
    """The entry that `raw` holds. Raises EntryError with the first rule it breaks."""
    return _decoded_at_a_glance(raw) or _decoded(raw, keys)


def _decoded_at_a_glance(raw: RawEntry) -> Entry | None:
    """The entry, if it is right at a glance, as most are; None only means that it takes a closer look."""
    fields = raw.fields
    if not _PLAIN_NAMES.issuperset(fields):
        return None
    try:
        text, id_ = fields[b"text"].decode(), fields[b"id"].decode()
        source = fields.get(b"source", _DEFAULT_SOURCE).decode()
        kind = _KIND_OF[fields.get(b"kind", b"comment")]
    except (KeyError, UnicodeDecodeError):
        return None
    if not is_plain(text, id_, source):
        return None
    added_at = entry_time(raw.entry_id)
    return Entry(
        raw.lane, raw.entry_id, id_, text, source, kind, TASKS_OF_KIND[kind], DEFAULT_ROUTE_SET, added_at, added_at,
        None, None, {},
    )  # fmt: skip


def _decoded(raw: RawEntry, keys: Keys) -> Entry:
    fields = texts(raw.fields)
    entry_id_ = name_of(fields, "id")
    source = _source(fields)
    text = item_text(fields)
    kind = kind_of(fields)
    tasks = tasks_of(fields["tasks"]) if "tasks" in fields else TASKS_OF_KIND[kind]
    added_at = entry_time(raw.entry_id)
    return Entry(
        lane=raw.lane,
        entry_id=raw.entry_id,
        id=entry_id_,
        text=text,
        source=source,
        kind=kind,
        tasks=tasks,
        route_set=name_of(fields, "route_set") if "route_set" in fields else DEFAULT_ROUTE_SET,
        created_at=time_of(fields, "created_at") or added_at,
        updated_at=time_of(fields, "updated_at") or added_at,
        deadline=time_of(fields, "deadline"),
        reply_to=reply_stream(fields, keys),
        meta=meta_of(fields),
        model=name_of(fields, "model") if "model" in fields else None,
        labels=labels_of(fields),
        template=template_of(fields),
        multi_label=flag(fields, "multi_label", default=False),
        store=flag(fields, "store", default=True),
    )


def check_fields(fields: Mapping[str, str], keys: Keys) -> None:
    """Raise EntryError if a worker would refuse an entry with these fields. What producers call."""
    if _plainly_right(fields):
        return
    try:
        raw = {name.encode(): value.encode() for name, value in fields.items()}
    except UnicodeEncodeError:
        name = next(name for name, value in fields.items() if half_pair(name) or half_pair(value))
        raise EntryError(Code.NOT_UTF8, name, "holds half of a surrogate pair; remove it") from None
    except AttributeError:
        name, value = next(pair for pair in fields.items() if not all(isinstance(part, str) for part in pair))
        wrong = value if isinstance(name, str) else name
        raise EntryError(
            Code.BAD_VALUE, str(name), f"must be text, not {type(wrong).__name__}; use str() or JSON"
        ) from None
    decode(RawEntry(Lane.LIVE, "0-1", raw), keys)


def _plainly_right(fields: Mapping[str, str]) -> bool:
    """Whether the commonest fields are right at a glance; False means only that it takes a closer look."""
    if not _PLAIN_FIELDS.issuperset(fields):
        return False
    try:
        return (
            is_plain(fields["text"], fields["id"], fields.get("source", DEFAULT_SOURCE))
            and fields.get("kind", Kind.COMMENT) in _KINDS
        )
    except (KeyError, AttributeError, TypeError):
        return False


def identity_of(raw: RawEntry) -> tuple[str, str] | None:
    """(source, id) of an entry that may break other rules, or None if it does not even have these."""
    try:
        fields = texts({name: raw.fields[name] for name in (b"id", b"source") if name in raw.fields})
        return _source(fields), name_of(fields, "id")
    except EntryError:
        return None


def _source(fields: Mapping[str, str]) -> str:
    return name_of(fields, "source") if "source" in fields else DEFAULT_SOURCE


def reply_to_of(raw: RawEntry, keys: Keys) -> str | None:
    """Where an entry that may break other rules wants its reply, if that much is right."""
    try:
        return reply_stream(texts({b"reply_to": raw.fields[b"reply_to"]}), keys)
    except (EntryError, KeyError):
        return None


def encode_reply(entry_id: str, identity: tuple[str, str], status: ReplyStatus, result: object) -> dict[str, str]:
    """Fields of a reply. `result` becomes JSON."""
    return {
        "entry_id": entry_id,
        "source": identity[0],
        "id": identity[1],
        "status": status.value,
        "result": json.dumps(result, ensure_ascii=False, separators=(",", ":")),
    }


class TaskResult(NamedTuple):
    """What the model says of a text, for one task. `scores` has every label; `stage` is who decided."""

    label: str
    score: float
    scores: Mapping[str, float]
    model: str
    model_version: str
    stage: str
    infer_ms: float


@dataclass(frozen=True, slots=True)
class Reply:
    """A decoded reply. `result` is the JSON as it came: by task, and for a dead entry code, field and message."""

    entry_id: str
    source: str
    id: str
    status: ReplyStatus
    result: Mapping[str, Any]

    @property
    def sentiment(self) -> TaskResult | None:
        """The sentiment, where it was asked for."""
        return self._of(Task.SENTIMENT)

    @property
    def routing(self) -> TaskResult | None:
        """The labels that the text was routed among, where that was asked for."""
        return self._of(Task.ROUTING)

    @property
    def team(self) -> str | None:
        """The team that a ticket goes to; `triage` where the scores do not decide."""
        team = self.result.get("assignment", {}).get("team")
        return None if team is None else str(team)

    def _of(self, task: Task) -> TaskResult | None:
        found = self.result.get(task.value)
        if found is None:
            return None
        return TaskResult(
            found["label"], found["score"], found["scores"], found["model"], found["model_version"],
            found["stage"], found["infer_ms"],
        )  # fmt: skip

    def dead_error(self) -> PermanentError:
        """Why the entry of a reply with the status `dead` could not be classified."""
        code, field_, message = (str(self.result.get(name, "")) for name in ("code", "field", "message"))
        message = message.removeprefix(f"{field_}: ")
        try:
            return EntryError(Code(code), field_, message)
        except ValueError:  # a code of later workers
            return PermanentError(f"{code}: {field_}: {message}")


def decode_reply(fields: Mapping[Any, Any]) -> Reply:
    """The reply that a stream entry holds, as bytes or as text. Raises PermanentError if it is none."""
    try:
        given = {_text(name): _text(value) for name, value in fields.items()}
        result = json.loads(given["result"])
        if not isinstance(result, dict):
            raise TypeError("its result is no object")
        return Reply(given["entry_id"], given["source"], given["id"], ReplyStatus(given["status"]), result)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise PermanentError(f"a reply that cannot be read: {error!r:.200}") from None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
