"""The texts of a file, classified: one line of a table each, and how they are kept for a while in Redis."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import secrets
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from dashboard.site import Site
from dashboard.trial.ask import Ask, Mode, options_of, pairs_of
from dashboard.trial.asking import Trouble, trouble_of
from dashboard.trial.reading import FileText, FileTexts
from dashboard.trial.result import UNSURE_BELOW
from dashboard.words import Words
from schemas.errors import EntryError, FenliuError, InboxUnavailableError, RetryableError
from schemas.messages import Reply

KEPT_S = 1_800
_CHUNK = 128
_KEPT_SCORES = 20
"""Labels up to which every score of every row is kept and written."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a file and its result, or why it has none. `scores` is empty where there are too many labels."""

    line: int
    text: str
    label: str = ""
    score: float = 0.0
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    passing: tuple[str, ...] = ()
    model: str = ""
    problem: str = ""

    @property
    def is_unsure(self) -> bool:
        """Whether a person had better read it."""
        return not self.problem and self.score < UNSURE_BELOW


@dataclass(frozen=True, slots=True)
class FileResult:
    """A file that was classified: what was asked, its lines, whether it had more, and how long it took."""

    id: str
    name: str
    ask: Ask
    lines: tuple[Line, ...]
    is_cut: bool
    took_s: float


async def classify_file(site: Site, name: str, texts: FileTexts, ask: Ask, words: Words) -> FileResult | Trouble:
    """Every row through the inbox, some at a time. Rows that fail keep their reason; Trouble where all fail alike."""
    started_s = time.monotonic()
    timeout_s = site.settings.http_timeout_s
    lines: list[Line] = []
    stopped_by: FenliuError | None = None
    chunk = _chunk(ask, site.settings.http_body_bytes)
    for at in range(0, len(texts.rows), chunk):
        rows = texts.rows[at : at + chunk]
        good = [row for row in rows if not row.problem]
        replies: Sequence[Reply | FenliuError] = [stopped_by] * len(good) if stopped_by else []
        if not stopped_by:
            replies = await site.client.classify_many(
                [row.text for row in good], timeout_s=timeout_s, **options_of(ask)
            )
        stopped_by = stopped_by or _what_stops(replies)
        if stopped_by and not any(line.label for line in lines):
            return trouble_of(stopped_by, words, timeout_s)
        answers = iter(replies)
        lines += [
            Line(row.line, row.text, problem=row.problem)
            if row.problem
            else _line(row, next(answers), ask, lambda error: _reason(error, words, timeout_s))
            for row in rows
        ]
    took_s = round(time.monotonic() - started_s, 1)
    return FileResult(secrets.token_urlsafe(16), name[:200], ask.without_text(), tuple(lines), texts.is_cut, took_s)


def _chunk(ask: Ask, most_bytes: int) -> int:
    """How many rows are in the inbox at once. Labels travel with each: of long ones there are fewer."""
    label_bytes = len(ask.labels.encode()) if ask.mode is Mode.LABELS else 0
    return max(1, min(_CHUNK, most_bytes // max(1, label_bytes)))


def _what_stops(replies: Sequence[Reply | FenliuError]) -> FenliuError | None:
    """The error because of which no other row need be tried: one that all share, and that is not about their texts."""
    errors = [reply for reply in replies if isinstance(reply, FenliuError)]
    if not errors or len(errors) < len(replies):
        return None
    first = errors[0]
    shared = isinstance(first, RetryableError) or (isinstance(first, EntryError) and first.field != "text")
    return first if shared else None


def _reason(error: FenliuError, words: Words, timeout_s: float) -> str:
    return " ".join(trouble_of(error, words, timeout_s).problems.values())


def _line(row: FileText, reply: Reply | FenliuError, ask: Ask, reason: Callable[[FenliuError], str]) -> Line:
    if isinstance(reply, FenliuError):
        return Line(row.line, row.text, problem=reason(reply))
    found: Mapping[str, Any] = reply.result[ask.task.value]
    scores: dict[str, float] = found["scores"]
    return Line(
        row.line,
        row.text,
        found["label"],
        round(found["score"], 6),
        {label: round(score, 6) for label, score in scores.items()} if len(scores) <= _KEPT_SCORES else {},
        tuple(label for label, score in scores.items() if score * 100 >= ask.percent) if ask.is_multi else (),
        f"{found['model']}/{found['model_version']}",
    )


def labels_of(result: FileResult) -> list[str]:
    """The labels whose scores every line has, in the order in which they were given."""
    scored = next((line.scores for line in result.lines if line.scores), {})
    given = [name for name, _ in pairs_of(result.ask.labels) if name in scored]
    return given if result.ask.mode is Mode.LABELS else sorted(scored)


class Kept:
    """Results of one browser, by its secret, for KEPT_S; only its latest, so that they take little of Redis."""

    def __init__(self, site: Site, secret: str) -> None:
        digest = hashlib.sha256(f"trial {secret}".encode()).hexdigest()
        self._key = f"{site.settings.prefix}:trial:{digest[:32]}"
        self._server = site.server

    async def put(self, result: FileResult) -> None:
        """Keep a result. Raises InboxUnavailableError."""
        content = json.dumps(dataclasses.asdict(result), ensure_ascii=False, separators=(",", ":"))
        packed = await asyncio.to_thread(zlib.compress, content.encode("utf-8", "surrogatepass"))
        try:
            await asyncio.to_thread(self._server.set, self._key, packed, ex=KEPT_S)
        except redis.RedisError as error:
            raise InboxUnavailableError(str(error)) from error

    async def get(self, id_: str) -> FileResult | None:
        """The result with this id, if it is still there. Raises InboxUnavailableError."""
        try:
            packed = await asyncio.to_thread(self._server.get, self._key)
        except redis.RedisError as error:
            raise InboxUnavailableError(str(error)) from error
        if packed is None:
            return None
        result = await asyncio.to_thread(_unpacked, packed)
        return result if secrets.compare_digest(result.id.encode(), id_.encode("utf-8", "replace")) else None


def _unpacked(packed: Any) -> FileResult:
    found = json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))
    found["ask"] = Ask(**found["ask"] | {"mode": Mode(found["ask"]["mode"])})
    found["lines"] = tuple(Line(**line | {"passing": tuple(line["passing"])}) for line in found["lines"])
    return FileResult(**found)
