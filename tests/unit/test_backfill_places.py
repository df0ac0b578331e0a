"""Where a backfill goes on: codecs of its position, and rows passed over in every format."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.backfill.display import Display
from producers.backfill.feed import Fed, chunks
from producers.backfill.files import check_same, open_file
from producers.backfill.holder import is_dead, my_name, shown
from producers.backfill.options import Options
from producers.backfill.pace import Pace
from producers.backfill.progress import KEPT_REFUSALS, KEPT_SOURCES, Progress, Refusal
from producers.backfill.queries import key_from_json, key_to_json, shown_url
from producers.backfill.shape import Shape
from producers.backfill.stopping import Stop, StoppedError
from schemas.errors import BackfillError, SetupError, SourceError
from schemas.names import Keys

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def fed(path: Path, place: dict[str, Any] | None = None) -> list[tuple[dict[str, Any], str | None]]:
    """The place after each row, and the row's text; None for one that is refused."""
    feed = open_file(Options(origin=str(path)))
    found = feed.rows(place or {}, Shape(Options(origin=str(path)), Keys(), "2026-01-01T00:00:00+00:00"))
    rows = [(feed.place(mark), None if fields is None else fields["text"]) for mark, _, fields, _ in found]
    feed.close()
    return rows


# --- codecs ----------------------------------------------------------------------------------------------------------

progresses = st.builds(
    Progress,
    place=st.dictionaries(words, st.integers() | words, max_size=3),
    file=st.none() | st.dictionaries(words, words, max_size=2),
    read_at=st.none() | words,
    chunk=st.integers(0),
    read=st.integers(0),
    first=st.none() | words,
    open=st.booleans(),
    sources=st.none() | st.lists(words, max_size=3).map(tuple),
    refusals=st.lists(st.builds(Refusal, words, st.none() | words, words), max_size=3).map(tuple),
    spent_s=st.floats(0, 1e6),
)


@given(progresses)
def test_progress_survives_redis_and_the_table(progress: Progress) -> None:
    assert progress == Progress.load(progress.dump())
    assert progress == Progress.load(json.loads(json.dumps(progress.as_json())))


def test_an_empty_position_is_the_beginning_and_a_foreign_one_is_refused() -> None:
    assert Progress() == Progress.load({})
    with pytest.raises(BackfillError, match="cannot be read"):
        Progress.load({"offset": 7})


@given(
    st.integers() | words | st.decimals(allow_nan=False, allow_infinity=False) | st.uuids()
    | st.datetimes() | st.datetimes(timezones=st.just(UTC)) | st.dates()
)  # fmt: skip
def test_a_key_of_any_kind_survives(key: int | str | Decimal | UUID | datetime | date) -> None:
    again = key_from_json(json.loads(json.dumps(key_to_json("k", key))))
    assert (type(key), key) == (type(again), again)


def test_a_key_without_an_order_is_refused() -> None:
    with pytest.raises(SourceError, match="use an integer, decimal, text, time or UUID"):
        key_to_json("k", b"x")


@given(
    st.builds(
        Options, origin=words, query=words, meta_columns=st.none() | st.lists(words).map(tuple), rate=st.floats(0, 9e9),
        source=st.none() | words, only_missing=st.booleans(),
    )
)  # fmt: skip
def test_options_survive_the_table(options: Options) -> None:
    assert options == Options.from_json(json.loads(json.dumps(options.as_json())))


def test_what_is_kept_stays_bounded() -> None:
    progress = Progress()
    for number in range(3 * KEPT_REFUSALS):
        refusals = progress.with_refusals([Refusal(f"line {number}", None, "x" * 10_000)])
        sources = progress.with_sources({f"s{number}"})
        progress = Progress(refusals=refusals, sources=sources)
        assert len(refusals) == min(number + 1, KEPT_REFUSALS)
        assert (sources is None) is (number >= KEPT_SOURCES)
    assert "line 0" == progress.refusals[0].where
    assert 200 == len(progress.refusals[0].message)


# --- passing rows over -----------------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=20), st.data())
def test_a_csv_goes_on_after_any_row(tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: Any) -> None:
    # Given rows with quotes, line ends and blanks of every kind, some of them refused
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("id", "text"), *((number, text) for number, text in enumerate(texts))])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(buffer.getvalue().encode())
    whole = fed(path)
    # When reading begins after one of them, then exactly those behind it come
    cut = data.draw(st.integers(0, len(whole) - 1)) if whole else 0
    for place, _ in whole[cut : cut + 1]:
        assert whole[cut + 1 :] == fed(path, place)


@given(st.lists(st.sampled_from(['{"text": "好"}', "{", "", " ", '{"text": ""}', "[1]", "\udcff"]), max_size=20))
def test_json_lines_go_on_after_any_row(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    path.write_bytes("\n".join(['{"text": "首"}', *lines]).encode("utf-8", "surrogateescape"))
    whole = fed(path)
    for at, (place, _) in enumerate(whole):
        assert whole[at + 1 :] == fed(path, place)


@settings(max_examples=20)
@given(st.integers(1, 60), st.integers(1, 25))
def test_parquet_goes_on_after_any_row(tmp_path_factory: pytest.TempPathFactory, rows: int, group_rows: int) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    table = pyarrow.table({"id": list(range(rows)), "text": [str(number) for number in range(rows)]})
    parquet.write_table(table, path, row_group_size=group_rows)
    whole = fed(path)
    assert [str(number) for number in range(rows)] == [text for _, text in whole]
    for at in {0, rows // 3, rows // 2, rows - 1}:
        place = whole[at][0]
        assert min(rows, place["group"] * group_rows) + place["row"] == at + 1
        assert whole[at + 1 :] == fed(path, place)


@given(st.lists(st.integers(0, 300_000), max_size=40), st.integers(1, 10))
def test_chunks_are_bounded_and_lose_nothing(lengths: list[int], most_rows: int) -> None:
    rows = [Fed(number, "", {"text": "x" * length}, None) for number, length in enumerate(lengths)]
    found = list(chunks(iter(rows), most_rows))
    assert [row.fields for row in rows] == [entry for chunk in found for entry in chunk.entries]
    assert len(rows) == sum(chunk.read for chunk in found)
    for chunk in found:
        assert 1 <= chunk.read <= most_rows
        assert sum(len(entry["text"]) for entry in chunk.entries[:-1]) < 1_000_000


# --- who and what ----------------------------------------------------------------------------------------------------


def test_a_file_is_told_from_another(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("一\n")

    def identity() -> Mapping[str, Any] | None:
        feed = open_file(Options(origin=str(path)))
        feed.close()
        return feed.file

    before = identity()
    check_same(None, before)
    check_same(before, before)
    path.write_text("二二\n")
    with pytest.raises(BackfillError, match=r"its size .*changed.*--force"):
        check_same(before, identity())


def test_a_dead_process_is_known_on_its_own_machine_only() -> None:
    mine = my_name()
    assert not is_dead(mine)
    host, boot, space, _, token = mine.split(" ")
    assert is_dead(f"{host} {boot} {space} 4194399 {token}")
    assert not is_dead(f"elsewhere {boot} {space} 4194399 {token}")
    assert "process 4194399 on elsewhere" == shown(f"elsewhere {boot} {space} 4194399 {token}")
    for strange in ("", "x", "a b c d e f"):
        assert not is_dead(strange)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_waiting_at_once_and_work_when_it_looks(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with Stop() as stop, pytest.raises(StoppedError) as waiting, stop.at_once():
        os.kill(os.getpid(), number)
        time.sleep(60)
    assert code == waiting.value.code
    with Stop() as stop:
        os.kill(os.getpid(), number)
        with pytest.raises(StoppedError) as looking:
            stop.sleep(0)
    assert code == looking.value.code
    assert before is signal.getsignal(number)


def test_urls_are_shown_without_their_password() -> None:
    assert "postgresql+psycopg2://u:****@h/d" == shown_url("postgresql://u:geheim@h/d")
    assert "geheim" not in shown_url("postgresql://h/d?user=u&password=geheim")
    for wrong in ("://geheim", "postgresql://u:ge@heim@h/d", "geheim"):
        with pytest.raises(SetupError) as caught:
            shown_url(wrong)
        assert "heim" not in str(caught.value)


# --- pace and display ------------------------------------------------------------------------------------------------


def test_a_rate_holds_after_a_long_wait_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given 100 rows a second, and ten minutes in which the inbox was full
    now_s = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    pace = Pace(100)
    assert 1.0 == pace.pause_s(100)
    now_s += 600
    # when it goes on, then a second's rows are made good and no more
    assert [0.0, 1.0] == [pace.pause_s(100), pace.pause_s(100)]
    assert 0.0 == Pace(0).pause_s(1_000)


def test_what_a_bar_notes_is_text_and_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "w", closefd=False) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Display() as display:
            assert display.is_bar
            display.note("no [red]socket[/tmp/a] here")
    os.close(theirs)
    assert b"no [red]socket[/tmp/a] here" in _all_of(ours)
    os.close(ours)


def _all_of(terminal: int) -> bytes:
    """All that was written to a terminal whose other end is closed; one read may give the beginning of it alone."""
    found = b""
    with contextlib.suppress(OSError):  # Linux says so at the end, others give nothing
        while part := os.read(terminal, 65_536):
            found += part
    return found
