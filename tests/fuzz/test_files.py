"""Files of items and of training rows, damaged in every way: an error that says where, and nothing lost before it."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from producers.item import fields_of
from producers.sources import BadRow, Format, Source
from schemas.errors import EntryError, SourceError
from schemas.messages import check_fields
from schemas.names import Keys
from tests.fuzz.budget import examples
from tests.fuzz.mutations import mutated_bytes
from tests.fuzz.values import ODD_TEXTS, json_texts
from training.data_files import Columns, read_rows
from training.evaluating.data import label_column

KEYS = Keys("fenliu")
TEXTS = [text for text in ODD_TEXTS if 0 < len(text) < 300 and "\0" not in text]
ROWS = [{"id": str(number), "text": text, "label": "positive"} for number, text in enumerate(TEXTS)]
SUFFIX = {Format.CSV: ".csv", Format.JSONL: ".jsonl", Format.PARQUET: ".parquet", Format.LINES: ".txt"}


def written(format: Format) -> bytes:
    """Good rows in a format."""
    match format:
        case Format.CSV:
            cells = ('"{}"'.format(text.replace('"', '""')) for text in TEXTS)
            lines = (f"{number},{cell},positive\r\n" for number, cell in enumerate(cells))
            return ("id,text,label\r\n" + "".join(lines)).encode()
        case Format.JSONL:
            return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
        case Format.LINES:
            return "".join(row["text"].replace("\n", " ") + "\n" for row in ROWS).encode()
        case Format.PARQUET:
            file = io.BytesIO()
            parquet.write_table(pa.Table.from_pylist(ROWS), file, row_group_size=7)
            return file.getvalue()


GOOD = {format: written(format) for format in Format}


def read(path: Path, **more: Any) -> tuple[list[dict[str, Any]], list[BadRow], str]:
    """Rows, bad rows, and the error that ended it; every row is checked as producers do."""
    good: list[dict[str, Any]] = []
    bad: list[BadRow] = []
    try:
        with Source(str(path), **more) as source:
            for row in source:
                if isinstance(row, BadRow):
                    assert re.match(rf"{source.unit} {row.line}: ", str(row.error))
                    bad.append(row)
                    continue
                good.append(dict(row))
                try:
                    check_fields(fields_of(row), KEYS)
                except EntryError as error:
                    assert str(error).startswith(f"{error.field}: ")
    except SourceError as error:
        assert str(error)
        return good, bad, str(error)
    return good, bad, ""


@pytest.mark.parametrize("format", list(Format), ids=[format.value for format in Format])
@given(data=st.data())
@examples(30)
def test_a_damaged_file_gives_rows_and_errors_that_say_where(
    tmp_path: Path, format: Format, data: st.DataObject
) -> None:
    damaged = data.draw(mutated_bytes(GOOD[format]))
    (path := tmp_path / f"a{SUFFIX[format]}").write_bytes(damaged)
    good, _, _ = read(path)
    # What stands before the damage is read as it was.
    same = next((at for at, (a, b) in enumerate(zip(damaged, GOOD[format], strict=False)) if a != b), len(damaged))
    before = max(0, GOOD[format][:same].count(b"\n") - 3)
    if format in (Format.JSONL, Format.LINES):
        assert before <= len(good) + 1
    if format is Format.JSONL:
        assert ROWS[:before] == good[:before]


PACKED = gzip.compress(GOOD[Format.JSONL], mtime=0)
BEHIND = (b"garbage", b"\x1f\x8b", b"\x1f\x8b\x08\x1c" + b"\xff" * 20)
DAMAGED = st.one_of(
    st.integers(0, len(PACKED) - 1).map(lambda cut: PACKED[:cut]),
    st.sampled_from(BEHIND).map(lambda more: PACKED + more),
)


@given(packed=DAMAGED)
@examples(30)
def test_a_damaged_gzip_gives_all_rows_before_the_damage(tmp_path: Path, packed: bytes) -> None:
    # Given packed rows, cut or with something behind them
    (path := tmp_path / "a.jsonl.gz").write_bytes(packed)
    # When they are read
    good, bad, problem = read(path)
    # Then those that could be unpacked are there, and the damage is told
    assert ROWS[: len(good)] == good
    assert len(bad) <= 1
    assert problem or bad or not packed
    if len(packed) > len(PACKED):
        assert ROWS == good


@pytest.mark.parametrize("format", list(Format), ids=[format.value for format in Format])
@given(data=st.data())
@examples(30)
def test_training_tells_of_a_damaged_file(tmp_path: Path, format: Format, data: st.DataObject) -> None:
    (path := tmp_path / f"a{SUFFIX[format]}").write_bytes(data.draw(mutated_bytes(GOOD[format])))
    columns = data.draw(st.sampled_from([Columns(), Columns(label=None), Columns("nothing", None)]))
    try:
        rows = read_rows(path, columns, allowed=data.draw(st.sampled_from([None, ["positive"], ["other"]])))
    except SourceError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(row.text, str) and row.text.strip() for row in rows)


@given(lines=st.lists(st.one_of(json_texts, json_texts.map(lambda value: f'{{"id": 1, "text": {value}}}')), max_size=5))
@examples(30)
def test_lines_of_odd_json_spoil_no_other(tmp_path: Path, lines: list[str]) -> None:
    good_line = json.dumps(ROWS[0])
    content = "\n".join([good_line, *(line.replace("\n", " ") for line in lines), good_line])
    (path := tmp_path / "a.jsonl").write_bytes(content.encode("utf-8", "surrogatepass"))
    good, bad, problem = read(path)
    assert "" == problem
    assert [ROWS[0]] * 2 == [good[0], good[-1]]
    asked = sum(bool(line.strip()) for line in lines)
    assert asked + 2 == len(good) + len(bad)


ENCODINGS = st.sampled_from(
    ["rot13", "base64", "idna", "punycode", "undefined", "nonsense", "\0", "", "utf-16", "utf-7", "gb18030", "cp037"]
)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt", "a.dat"])
@given(encoding=ENCODINGS)
@examples(12)
def test_an_encoding_is_one_or_is_refused(tmp_path: Path, name: str, encoding: str) -> None:
    (path := tmp_path / name).write_bytes(GOOD[Format.CSV])
    read(path, encoding=encoding)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
@given(content=mutated_bytes(GOOD[Format.CSV]), encoding=ENCODINGS)
@examples(20)
def test_training_in_any_encoding_reads_rows_or_says_why_not(
    tmp_path: Path, name: str, content: bytes, encoding: str
) -> None:
    (path := tmp_path / name).write_bytes(content)
    columns = Columns(label=None if name == "a.txt" else label_column(path, encoding))
    try:
        read_rows(path, columns, encoding=encoding)
    except SourceError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("line", ["{" * 100_000, '{"a":' * 100_000, "x" * 200_000, '{"text": ' + "9" * 9_000 + "}"])
def test_no_first_line_ends_the_search_for_labels(tmp_path: Path, line: str) -> None:
    (path := tmp_path / "a.csv").write_text(line)
    assert "label" == label_column(path)


@pytest.mark.parametrize("field", ["text", "label"])
def test_training_names_the_line_with_half_a_surrogate_pair(tmp_path: Path, field: str) -> None:
    rows = [ROWS[0], ROWS[1] | {field: "\ud800"}]
    (path := tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(SourceError, match="line 2: holds half of a surrogate pair"):
        read_rows(path)


CELLS = {
    "a time after 9999": pa.array([2**62, 1], pa.timestamp("us", "UTC")),
    "a zone that nobody knows": pa.array([1, 1], pa.timestamp("us", "Foo/Bar")),
    "a day after 9999": pa.array([2**30, 1], pa.date32()),
    "a span too long": pa.array([2**62, 1], pa.duration("s")),
    "text that is not UTF-8": pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfeok")]
    ),
}


@pytest.mark.parametrize("cells", list(CELLS.values()), ids=list(CELLS))
def test_a_cell_that_cannot_be_read_spoils_its_row_and_no_other(tmp_path: Path, cells: Any) -> None:
    table = pa.table({"id": ["1", "2"], "text": ["好", "坏"], "odd": cells})
    parquet.write_table(table, tmp_path / "a.parquet")
    good, bad, problem = read(tmp_path / "a.parquet")
    assert "" == problem
    assert 2 == len(good) + len(bad)
    assert "'odd' cannot be read" in str(bad[0].error)
    assert [2] == [int(row["id"]) for row in good] or len(bad) == 2


def test_a_footer_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    """pyarrow 26 ends the process when it is asked for the column chunk of one like this: text declared a boolean."""
    content = GOOD[Format.PARQUET]
    footer_at = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    at = content.index(b"\x15\x0c\x25", footer_at)  # a column of the schema: BYTE_ARRAY, then how often it repeats
    (tmp_path / "a.parquet").write_bytes(content[:at] + b"\x15\x00" + content[at + 2 :])
    good, _, problem = read(tmp_path / "a.parquet")
    assert [] == good
    assert problem.startswith("a.parquet: ")
