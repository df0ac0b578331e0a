"""The short way from a row to an entry gives what the long way gives, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.backfill.options import Options
from producers.backfill.plain import PlainRows
from producers.backfill.shape import Shape, tasks_of
from producers.item import fields_of
from schemas.errors import EntryError
from schemas.messages import check_fields
from schemas.names import Keys

names = st.sampled_from(
    ["id", "text", "source", "kind", "created_at", "updated_at", "meta", "deadline", "stars", "城市", 'a"b', "a\0b"]
)
values = (
    st.text(max_size=30) | st.integers() | st.floats() | st.booleans() | st.none() | st.datetimes()
    | st.datetimes(timezones=st.timezones()) | st.sampled_from(["comment", "ticket", " ", "x" * 300, "“" * 2000, "\\"])
    | st.binary(max_size=3) | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)  # fmt: skip


@given(st.dictionaries(names, values), st.text(min_size=1, max_size=9), st.text(min_size=1, max_size=9))
def test_what_is_plain_is_right_and_the_same(row: dict[str, Any], item_id: str, text: str) -> None:
    row = {"id": item_id, "text": text} | row
    short = PlainRows().fields(row)
    if short is not None:
        check_fields(short, Keys())
        assert short == fields_of(row)


def test_the_commonest_rows_are_plain() -> None:
    when = datetime(2026, 1, 31, 8, tzinfo=UTC)
    row = {"id": 7, "text": "物流太慢了", "source": "shop", "created_at": when, "stars": 4, "city": "上海"}
    assert {
        "id": "7", "text": "物流太慢了", "source": "shop", "created_at": "2026-01-31T08:00:00+00:00", "city": "上海",
        "meta": '{"stars":4}',
    } == PlainRows().fields(row)  # fmt: skip


def test_options_fill_in_and_a_model_wins() -> None:
    options = Options(origin="-", source="shop", kind="ticket", tasks="routing", model="other/2")
    shape = Shape(options, Keys(), "2026-01-01T00:00:00+00:00")
    entry = shape.entry(
        {"id": "1", "text": "好", "kind": "comment", "model": "mine", "updated_at": "2020-01-01T00:00:00Z"}
    )
    assert {
        "id": "1", "text": "好", "source": "shop", "kind": "comment", "tasks": "routing", "model": "other/2",
        "updated_at": "2020-01-01T00:00:00Z",
    } == entry  # fmt: skip
    assert {"routing"} == tasks_of(entry)
    assert {"sentiment", "routing"} == tasks_of({"kind": "ticket"})
    with pytest.raises(EntryError, match="text: is empty"):
        shape.entry({"id": "1", "text": ""})


@pytest.mark.parametrize(
    "wrong", [{"source": "x" * 201}, {"tasks": "joy"}, {"kind": "letter"}, {"model": ""}, {"route_set": "\n"}]
)
def test_what_is_wrong_for_all_rows_is_said_at_once(wrong: dict[str, str]) -> None:
    with pytest.raises(EntryError, match=next(iter(wrong))):
        Options(origin="-", **wrong).check(Keys())  # type: ignore[arg-type]
