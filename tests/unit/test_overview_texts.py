"""CSV that no spreadsheet runs, and statements without the lines of filters that are not set."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.overview.plots import PLOTS
from dashboard.overview.plots.plot import Chart, Series
from dashboard.overview.sql import applied, named_in
from dashboard.sheet import to_csv


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")), min_size=2, max_size=2)
    )
)
def test_csv_keeps_every_text_but_for_the_mark_before_formulas(rows: list[list[str]]) -> None:
    header, *lines = read(to_csv(["a", "b"], rows))
    assert ["a", "b"] == header
    for row, line in zip(rows, lines, strict=True):
        for given_text, cell in zip(row, line, strict=True):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
            assert given_text in {cell, cell.removeprefix("'")}


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"), ("@x", "'@x"), ("\t=1", "'\t=1"), ("物流", "物流"), ("a\"b,c\nd", "a\"b,c\nd"),
        (-3, "-3"), (0.25, "0.25"), (None, ""), (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
    ],
)  # fmt: skip
def test_cells_are_raw_values(value: object, cell: str) -> None:
    assert [cell, "end"] == read(to_csv(["x", "y"], [[value, "end"]]))[1]


def test_lines_of_filters_that_are_not_set_are_left_out() -> None:
    statement = "\nSELECT 1\nWHERE true\n  AND a = %(a)s\n  AND b = %(b)s\n"
    assert "SELECT 1\nWHERE true\n  AND b = %(b)s" == applied(statement, {"a": None, "b": 0})
    assert {"a", "b"} == named_in(statement)


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_can_be_filtered_by_time_and_ends(name: str) -> None:
    assert PLOTS[name].filters >= {"begin", "end"}
    assert PLOTS[name].statement.endswith("LIMIT 20000\n")


def test_a_chart_has_no_number_that_json_has_not() -> None:
    chart = Chart("line", ["a", "b", "c"], [Series("s", [1.0, float("nan"), float("inf")], "ms")], "Said.")
    assert {
        "kind": "line",
        "about": "Title: Said.",
        "x": ["a", "b", "c"],
        "bin": None,
        "zone": "UTC",
        "series": [{"name": "s", "values": [1.0, None, None], "unit": "ms"}],
    } == chart.as_json("Title: Said.", "UTC")
