"""Entries that break the contract in every way, through inbox, pipeline and sink, beside good ones."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from schemas.errors import Code, EntryError
from schemas.labels import Label, LabelSet
from schemas.messages import RawEntry, check_fields, decode, identity_of
from schemas.names import DEFAULT_SOURCE, Keys, Lane
from schemas.raw import raw_from_json
from schemas.settings import Settings
from schemas.tables import dead_letters, items, predictions
from tests.fuzz.budget import examples
from tests.fuzz.entries import Sent, batches, odd_fields
from tests.integration.collecting import FixedPace, left
from tests.models import Home
from worker.held import Held
from worker.inbox import Inbox, connect
from worker.inference.classifier import Classifier
from worker.metrics import Metrics
from worker.outcome import Dead, Done, Expired, Outcome
from worker.pipeline import Pipeline
from worker.router import RouteSetVersion
from worker.share import Share
from worker.shelf import Shelf
from worker.sink import Sink
from worker.slot import Slot

TEAMS = LabelSet((Label("物流", "太慢"), Label("退款", threshold=1.0)))


class Sets:
    """One route set."""

    def resolve(self, name: str) -> RouteSetVersion | None:
        return RouteSetVersion(name, 3, TEAMS) if name == "default" else None


@dataclass
class Line:
    """Everything between the inbox and the tables, in this thread."""

    settings: Settings
    engine: Engine
    client: redis.Redis
    pipeline: Pipeline
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.client, self.settings.keys, "first")
        self.inbox.ensure_groups()
        self.slot = Slot(
            inbox=self.inbox, held=Held(), classify=self.pipeline, write=Sink(self.engine).write, pace=FixedPace(5),
            share=Share(0.1, lambda: 256), slots=1, settings=self.settings, metrics=Metrics(),
            stopping=threading.Event(), on_settled=lambda items: None,
        )  # fmt: skip

    def send(self, sent: Sent) -> str:
        """Put it into the live inbox, good ones with an id of their own; its entry's id."""
        fields = {**sent.fields, b"id": f"good-{next(self.numbers)}".encode()} if sent.good else sent.fields
        added: Any = self.client.xadd(self.settings.keys.inbox(Lane.LIVE), fields)  # type: ignore[arg-type]
        return str(added.decode())

    def work(self) -> list[RawEntry]:
        """Take all there is, as a slot would."""
        taken = self.inbox.read(Lane.LIVE, 256)
        self.slot.work(self.slot.take(taken))
        return taken

    def rows(self, table: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(table)))

    def clear(self) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM dead_letters; DELETE FROM items")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    home = Home(Path(tmp_path_factory.mktemp("models")))
    home.add("tiny")
    (home.add("broken") / "model.onnx").write_bytes(b"no model")
    production = Classifier.load(home.path / "tiny" / "1", run_tokens=64)
    return Pipeline(Shelf(production, [home.path], run_tokens=64), Sets(), Settings())


@pytest.fixture
def line(settings: Settings, engine: Engine, pipeline: Pipeline) -> Iterator[Line]:
    with connect(settings, read_block_s=1) as client:
        own = Pipeline(pipeline._shelf, Sets(), settings)
        yield Line(settings, engine, client, own)


@given(batch=batches)
@examples(50)
def test_every_entry_leaves_a_row_or_a_dead_letter_and_harms_no_neighbour(line: Line, batch: list[Sent]) -> None:
    # Given a batch of good and odd entries
    line.clear()
    ids = [line.send(sent) for sent in batch]
    # When a slot works it off
    taken = {entry.entry_id: entry for entry in line.work()}
    # Then nothing is left in the inbox
    assert (0, 0) == left(line.client, line.settings)
    letters = {row.entry_id: row for row in line.rows(dead_letters)}
    written = {(row.source, row.item_id): row for row in line.rows(items)}
    current = {(row.source, row.item_id) for row in line.rows(predictions) if row.current}
    for entry_id, sent in zip(ids, batch, strict=True):
        entry = taken[entry_id]
        asked_for_no_rows = entry.fields.get(b"store", b"").strip().lower() == b"no"
        # and every good entry has its row and its result
        if sent.good:
            assert (DEFAULT_SOURCE, entry.fields[b"id"].decode()) in current
        # and every other one a row under its name, or a dead letter that keeps its bytes and names a field
        elif entry_id in letters:
            letter = letters[entry_id]
            assert entry.fields == raw_from_json(letter.raw)
            assert letter.code in set(Code)
            assert letter.message.startswith(f"{letter.field}: ") or letter.code == Code.MODEL_FAILED
            assert 0 < len(letter.message) < 1_000
        elif not asked_for_no_rows:
            assert identity_of(entry) in written


@given(fields=st.lists(odd_fields(), max_size=6))
@examples(50)
def test_a_batch_has_one_outcome_for_each_entry_in_order(pipeline: Pipeline, fields: list[dict[bytes, bytes]]) -> None:
    entries = [RawEntry(Lane.BULK, f"{number}-0", each) for number, each in enumerate(fields)]
    outcomes = pipeline(entries, datetime(2026, 6, 1, tzinfo=UTC))
    assert [entry.entry_id for entry in entries] == [_entry_id(outcome) for outcome in outcomes]


@given(fields=odd_fields(), entry_id=st.sampled_from(["0-0", "1-1", "18446744073709551615-18446744073709551615"]))
@examples(120)
def test_producers_refuse_exactly_what_workers_refuse(fields: dict[bytes, bytes], entry_id: str) -> None:
    """What can be sent as text at all."""
    keys = Keys("fenliu")
    refused = _refusal(lambda: decode(RawEntry(Lane.LIVE, entry_id, fields), keys))
    given_fields = {_text(name): _text(value) for name, value in fields.items()}
    assert refused == _refusal(lambda: check_fields(given_fields, keys))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _refusal(check: Any) -> Any:
    try:
        check()
    except EntryError as error:
        assert str(error).startswith(f"{error.field}: ")
        assert len(str(error)) < 1_000
        return error.code
    return None


def _entry_id(outcome: Outcome) -> str:
    match outcome:
        case Done() | Expired():
            return outcome.entry.entry_id
        case Dead():
            return outcome.raw.entry_id
