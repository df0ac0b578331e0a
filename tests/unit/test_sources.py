"""Rows from files and pipes: every format, what is wrong with a row, what is wrong with a file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.sources import MAX_LINE_CHARS, BadRow, Columns, Format, Row, Source, stable_id
from producers.sources.parquet import ParquetRows
from schemas.errors import SourceError


def rows(path: Path, **options: Any) -> list[tuple[int, dict[str, Any]]]:
    """Line and values of each row; fails on a bad one."""
    with Source(str(path), **options) as source:
        found = list(source)
    assert [] == [row for row in found if isinstance(row, BadRow)]
    return [(row.line, dict(row)) for row in found]


def bad(path: Path, **options: Any) -> dict[int, str]:
    """What is said of each bad row."""
    with Source(str(path), **options) as source:
        return {row.line: str(row.error) for row in source if isinstance(row, BadRow)}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# --- CSV -------------------------------------------------------------------------------------------------------------


def test_csv_columns_become_fields_and_blank_ones_are_left_out(write: Any) -> None:
    path = write(
        "a.csv", '\ufeffid,text,kind,city\r\n1,很好,,北京\r\n2,"逗号,引号""和\n换行",ticket,\r\n\r\n3,末行\r\n'
    )
    assert [
        (2, {"id": "1", "text": "很好", "city": "北京"}),
        (3, {"id": "2", "text": '逗号,引号"和\n换行', "kind": "ticket"}),
        (6, {"id": "3", "text": "末行"}),
    ] == rows(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_what_parts_the_cells(write: Any, delimiter: str) -> None:
    path = write("a.csv", f"id{delimiter}text\n1{delimiter}a\n")
    assert [(2, {"id": "1", "text": "a"})] == rows(path)


def test_columns_can_have_other_names(write: Any) -> None:
    path = write("a.csv", "no,body,text\n1,正文,标题\n")
    assert [(2, {"id": "1", "text": "正文", "column_text": "标题"})] == rows(path, id_column="no", text_column="body")


def test_a_bad_csv_row_spoils_no_other(write: Any) -> None:
    path = write("a.csv", b'id,text\n1,a\n2,a,b\n3,\xc4\xe3\n4,"a"b\n5,a\n,a\n6,"open\n7,a\n')
    told = bad(path)
    assert [3, 4, 5, 8] == list(told)
    assert "line 3: has 3 cells for 2 columns; quote cells that hold ','" == told[3]
    assert "is not UTF-8" in told[4]
    assert "line 8: cannot be read, up to line 9" in told[8]
    with Source(str(path)) as source:
        assert [("1", "a"), ("5", "a"), ("", "a")] == [(r["id"], r["text"]) for r in source if isinstance(r, Row)]


def test_an_endless_quote_costs_a_part_of_the_file_and_not_all_of_it(write: Any) -> None:
    lines = "".join(f"{number},好\n" for number in range(3, 40_000))
    path = write("a.csv", 'id,text\n1,a\n2,"open\n' + lines)
    told = bad(path)
    assert [3] == list(told)
    assert "look for a quote left open" in told[3]
    with Source(str(path)) as source:
        last = [row for row in source if isinstance(row, Row)][-1]
    assert "39999" == last["id"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("id,body\n1,a\n", "has no column 'text' (columns: id, body)"),
        ("id,text,text\n1,a,b\n", "has the column 'text' twice"),
        ("", "has no column 'text' (columns: none)"),
        ("id,文".encode("gb18030") + b",text\n1,a,b\n", "line 1: is not UTF-8; save the file as UTF-8"),
        ("id,text\n" + "x" * (MAX_LINE_CHARS + 1), "is this CSV?"),
    ],
)
def test_a_csv_that_is_wrong_as_a_whole(write: Any, content: str | bytes, problem: str) -> None:
    with pytest.raises(SourceError) as caught:
        rows(write("a.csv", content))
    assert problem in str(caught.value)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), min_size=1))
def test_any_text_survives_csv(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerows([("id", "text"), *((number, text) for number, text in enumerate(texts))])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(buffer.getvalue().encode())
    assert texts == [values["text"] for _, values in rows(path)]


# --- JSON lines ------------------------------------------------------------------------------------------------------


def test_json_lines_keep_types(write: Any) -> None:
    first = {"id": 7, "text": "好\u2028行", "meta": {"a": 1}, "labels": ["a"], "stars": 5, "note": None, "tag": " "}
    path = write("a.jsonl", json.dumps(first, ensure_ascii=False) + '\r\n\n{"text": "无号"}\n')
    assert [
        (1, {"id": 7, "text": "好\u2028行", "meta": {"a": 1}, "labels": ["a"], "stars": 5}),
        (3, {"id": stable_id("a.jsonl", 3, "无号"), "text": "无号"}),
    ] == rows(path)


def test_a_bad_json_line_spoils_no_other(write: Any) -> None:
    deep = b"[" * 100_000
    long = b"x" * MAX_LINE_CHARS + b"y"
    lines = [b'{"text": "a"}', b'{"text": ', b"[1]", b'{"id": 1}', b'"x"', b"\xff", deep, long, b'{"text": "b"}']
    path = write("a.jsonl", b"\n".join(lines))
    told = bad(path)
    assert [2, 3, 4, 5, 6, 7, 8] == list(told)
    assert "is not JSON" in told[2]
    assert 'is not a JSON object; write {"text": …}' in told[3]
    assert "has no 'text'" in told[4]
    assert "has over 1048576 characters" in told[8]
    with Source(str(path)) as source:
        assert [(1, "a"), (9, "b")] == [(row.line, row["text"]) for row in source if isinstance(row, Row)]


def test_a_json_array_says_what_to_do(write: Any) -> None:
    with pytest.raises(SourceError, match="one object a line"):
        rows(write("a.json", '[{"text": "a"}]'))


# --- plain lines -----------------------------------------------------------------------------------------------------


def test_plain_lines_get_ids_that_stay(write: Any, tmp_path: Path) -> None:
    content = "好评\n\n差评\r\n好评"
    first = rows(write("a.txt", content))
    assert [(1, "好评"), (3, "差评"), (4, "好评")] == [(line, values["text"]) for line, values in first]
    # Equal texts are different items,
    assert 3 == len({values["id"] for _, values in first})
    # the same file wherever it lies has the same ids, so that nothing comes twice,
    (tmp_path / "elsewhere").mkdir()
    assert first == rows(write("elsewhere/a.txt", content))
    # and another file has others.
    other = rows(write("b.txt", content))
    assert set() == {values["id"] for _, values in first} & {values["id"] for _, values in other}


def test_a_line_that_is_not_utf8_spoils_no_other(write: Any) -> None:
    path = write("a.txt", "好\n".encode() + "坏\n".encode("gb18030") + "好\n".encode())
    assert {2: "line 2: is not UTF-8; save the file as UTF-8, or name its encoding, such as gb18030"} == bad(path)


def test_other_encodings_are_read_when_named(write: Any) -> None:
    assert [(1, "坏")] == [(n, v["text"]) for n, v in rows(write("a.txt", "坏".encode("gb18030")), encoding="gb18030")]
    utf16 = write("b.txt", "坏".encode("utf-16"))
    assert [(1, "坏")] == [(n, v["text"]) for n, v in rows(utf16, encoding="utf-16")]
    with pytest.raises(SourceError, match="is UTF-16"):
        rows(utf16)


# --- Parquet ---------------------------------------------------------------------------------------------------------


def test_parquet_rows_keep_types_and_lose_blanks(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    when = datetime(2026, 1, 1, tzinfo=UTC)
    table = pyarrow.table(
        {
            "id": [1, 2, None],
            "text": ["一", "二", None],
            "created_at": [when, None, None],
            "stars": [4.5, float("nan"), 1.0],
        }
    )
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path)
    expected = [
        (1, {"id": 1, "text": "一", "created_at": when, "stars": 4.5}),
        (2, {"id": 2, "text": "二"}),
        (3, {"id": stable_id("a.parquet", 3, ""), "text": "", "stars": 1.0}),
    ]
    assert expected == rows(path)
    with Source(str(path)) as source:
        assert "row" == source.unit
        list(source)
        assert 1.0 == source.share_read
    with pytest.raises(SourceError, match="has no column 'body'"):
        rows(path, text_column="body")


def test_what_is_no_parquet_says_so(write: Any) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        rows(write("a.parquet", b"PAR1 but no more"))


# --- files and pipes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "text\nx", Format.CSV),
        ("a.TSV", "text\nx", Format.CSV),
        ("a.ndjson", "", Format.JSONL),
        ("a.txt", '{"text": "x"}', Format.LINES),
        ("a", '\ufeff{"text": "x"}', Format.JSONL),
        ("a", "id\ttext\n1\tx", Format.CSV),
        ("a", "{很好} 不错\n", Format.LINES),
        ("a", "这里,没有表头\n", Format.LINES),
        ("a", "", Format.LINES),
        ("a", "PAR1....", Format.PARQUET),
    ],
)
def test_the_name_tells_the_format_and_else_the_first_line(
    write: Any, name: str, content: str, expected: Format
) -> None:
    with Source(str(write(name, content))) as source:
        assert expected is source.format
    with Source(str(write(name, content)), format=Format.JSONL) as source:
        assert Format.JSONL is source.format


def test_gzip_is_unpacked_and_a_torn_one_says_so(write: Any) -> None:
    packed = gzip.compress("id,text\n1,好\n".encode())
    assert [(2, {"id": "1", "text": "好"})] == rows(write("a.csv.gz", packed))
    with pytest.raises(SourceError, match=r"a\.csv"):
        rows(write("a.csv.gz", packed[:-6]))


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        Source(str(tmp_path / "none.csv"))
    with pytest.raises(SourceError, match="directory"):
        Source(str(tmp_path))


def test_the_share_read_grows_to_one(write: Any) -> None:
    path = write("a.txt", "".join(f"这是第{number}行\n" for number in range(50_000)))
    with Source(str(path)) as source:
        shares = [source.share_read or 0.0 for _ in source]
    assert sorted(shares) == shares
    assert 0 < shares[0] < 0.2
    assert 1.0 == shares[-1]


@pytest.mark.parametrize(
    "content",
    ["id,text\n1,好\n".encode(), b'{"id": "1", "text": "\\u597d"}\n', gzip.compress("id,text\n1,好\n".encode())],
    ids=["csv", "jsonl", "gzip"],  # packed bytes hold the time, and every test process must find the same names
)
def test_a_pipe_is_read_like_a_file(content: bytes) -> None:
    program = (
        "from producers.sources import Source\n"
        "with Source('-') as source:\n"
        "    print([dict(row) for row in source], source.share_read, source.name)"
    )
    done = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=True)
    assert "[{'id': '1', 'text': '好'}] None stdin" == done.stdout.decode().strip()


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_packed_parquet_is_unpacked_up_to_a_bound(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given Parquet inside gzip, whole, torn, and larger than what may be unpacked
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"id": [1], "text": ["好"]}), tmp_path / "a.parquet")
    packed = gzip.compress((tmp_path / "a.parquet").read_bytes())
    whole, torn = write("whole.parquet.gz", packed), write("torn.parquet.gz", packed[: len(packed) // 2])
    # when it is opened by itself, as a backfill does, then errors name the file and what to do
    for path, most, problem in ((torn, 10**6, "^torn.parquet: "), (whole, 20, "over 20 bytes unpacked; give Parquet")):
        monkeypatch.setattr("producers.sources.parquet.MAX_UNPACKED_BYTES", most)
        with Source(path) as source, pytest.raises(SourceError, match=problem):
            ParquetRows(source.opened, Columns())


def test_an_endless_line_takes_no_memory(write: Any) -> None:
    # Given a small gzip of one line of 64 MB, then a good one
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(b"x" * 1_000_000)
        file.write(b"\n" + '{"id": 1, "text": "好"}\n'.encode())
    tracemalloc.start()
    with Source(write("a.jsonl.gz", packed.getvalue())) as source:
        found = list(source)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # then the one is refused and the other read, and memory held a few pieces of it at most
    assert ["line 1: has over 1048576 characters; cut it"] == [
        str(row.error) for row in found if isinstance(row, BadRow)
    ]
    assert [2] == [row.line for row in found if isinstance(row, Row)]
    assert most_bytes < 16_000_000
