"""What a slot does when what it waited for is back, and others have gone on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from schemas.errors import DatabaseUnavailableError, InboxUnavailableError
from schemas.messages import RawEntry, decode
from schemas.names import Lane, ReplyStatus
from schemas.settings import Settings
from worker.draft import Draft, Work
from worker.held import Held, Key
from worker.inbox import Inbox
from worker.metrics import Metrics
from worker.outcome import Done, Outcome
from worker.pace import Pace
from worker.share import Share
from worker.slot import Slot

SETTINGS = Settings(claim_idle_s=1.0, retry_max_s=0.05)


class Cut:
    """A slot that reaches neither Postgres nor Redis for a while, in which others settle `theirs`."""

    def __init__(self, entries: Sequence[RawEntry], theirs: str) -> None:
        self._pending = {(entry.lane, entry.entry_id) for entry in entries} - {(Lane.BULK, theirs)}
        self._failures: list[Exception] = [InboxUnavailableError("away"), InboxUnavailableError("away")]
        self.asked = 0
        self.written: list[str] = []
        self.settled: list[str] = []
        self.held = Held()
        self.held.add(entries)
        inbox = SimpleNamespace(refresh=self._refresh, settle=self._settle, read=lambda *_: [], give_back=list)
        self.slot = Slot(
            inbox=cast(Inbox, inbox), held=self.held, classify=self, write=self._write, pace=Pace(1e9),
            share=Share(0.1, lambda: 256), slots=1, settings=SETTINGS, metrics=Metrics(), stopping=threading.Event(),
            on_settled=lambda _: None,
        )  # fmt: skip

    def read(self, entries: Sequence[RawEntry]) -> list[Draft]:
        return [Draft(entry, decode(entry, SETTINGS.keys), Work(), 1.0) for entry in entries]

    def classify(self, drafts: Sequence[Draft], now: datetime) -> list[Outcome]:
        return [Done(decode(draft.raw, SETTINGS.keys), ()) for draft in drafts]

    def _write(self, outcomes: Sequence[Outcome], received_at: datetime) -> list[ReplyStatus]:
        self.asked += 1
        if self.asked == 1:
            for key in self.held._sure_s:  # long since anything was refreshed
                self.held._sure_s[key] -= 60
            raise DatabaseUnavailableError("away")
        self.written += [outcome.entry.id for outcome in outcomes if isinstance(outcome, Done)]
        return [ReplyStatus.OK for _ in outcomes]

    def _refresh(self, entries: Sequence[RawEntry]) -> set[Key]:
        if self._failures:
            raise self._failures.pop()
        return self._pending

    def _settle(self, entries: Sequence[RawEntry], *_: Any) -> None:
        self.settled += [entry.entry_id for entry in entries]


def test_what_others_settled_while_postgres_was_away_is_not_written_afterwards() -> None:
    # Given a slot that was cut off with three entries, of which others have settled one, and its item was erased
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    entries = [RawEntry(Lane.BULK, f"{now_ms}-{n}", {b"id": f"{n}".encode(), b"text": "好".encode()}) for n in range(3)]
    cut = Cut(entries, theirs=f"{now_ms}-1")
    # when it reaches Postgres again, and Redis a little later
    cut.slot.work(cut.slot.take(entries))
    # then it writes and acknowledges the others alone, once
    assert ["0", "2"] == cut.written
    assert [f"{now_ms}-0", f"{now_ms}-2"] == cut.settled
    assert 2 == cut.asked
    # and holds nothing any more
    assert [] == cut.held.entries()
