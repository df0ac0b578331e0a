"""Files of texts: read whatever wrote them, shown as a table, written so that spreadsheets open them safely."""

from __future__ import annotations

import csv
import gzip
import io

import pytest

from dashboard.sheet import harmless
from dashboard.trial.ask import Ask, Mode
from dashboard.trial.lines import FileResult, Line
from dashboard.trial.reading import MOST_ROWS, encoding_of, read_texts
from dashboard.trial.sheet import sheet
from dashboard.trial.table import LINES_A_PAGE, table_of, view_of
from dashboard.words import words_of
from schemas.errors import SourceError

WORDS = words_of("en")
CHINESE_CSV = '编号,内容\n1,物流太慢\n2,"很好，\n很满意"\n'


def _texts(name: str, content: bytes, column: str = "") -> list[str]:
    return [row.text or row.problem for row in read_texts(name, content, column, WORDS).rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_a_table_from_any_of_peoples_tools_is_read(encoding: str) -> None:
    # Given a CSV with a quoted line break, as Excel and others write it
    assert ["物流太慢", "很好，\n很满意"] == _texts("评论.csv", CHINESE_CSV.encode(encoding))


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("a.txt", "好\n\n坏\n", ""),
        ("a", "好\n坏", ""),
        ("a", "好\r坏", ""),
        ("a", "text,n\r好,1\r坏,2\r", ""),
        ("a.csv", "text;n\n好;1\n坏;2\n", ""),
        ("a.tsv", "n\tcomment\n1\t好\n2\t坏\n", ""),
        ("a.csv", "what\n好\n坏\n", ""),
        ("a.csv", "text,said\nx,好\ny,坏\n", "said"),
        ("a.jsonl", '{"text": "好"}\n{"text": "坏"}\n', ""),
        ("a.jsonl", '{"n": 1, "content": "好"}\n{"content": "坏"}\n', ""),
        ("a", '{"said": "好"}\n{"said": "坏"}\n', "said"),
    ],
)
def test_lines_csv_and_json_lines_are_read(name: str, content: str, column: str) -> None:
    assert ["好", "坏"] == _texts(name, content.encode(), column)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"text\na", mtime=0), "no text file"),
        (b"PK\x03\x04....", "no text file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no text file"),
        ("text\n好\n".encode("utf-16-le"), "no text file"),
        (b"text," + b"x" * 200_000 + b"\n1,2\n", "has no column"),
        (b"", "no text in this file"),
        (b"\n\n", "no text in this file"),
        (b"a,b\n1,2\n", "has no column 'text' (columns: a, b)"),
    ],
)
def test_a_file_without_texts_says_why(content: bytes, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_texts("a.csv", content, "", WORDS)
    assert said in str(caught.value)


def test_a_few_wrong_bytes_spoil_their_rows_only() -> None:
    # Given UTF-8 with one broken line among twenty
    lines = ["很好".encode()] * 20
    lines[3] = "很".encode() + b"\xe5"
    found = _texts("a.txt", b"\n".join(lines))
    # then the others are read, and this one says what is wrong
    assert ["很好"] * 3 == found[:3]
    assert "UTF-8" in found[3]
    assert "gb18030" == encoding_of("很好".encode("gb18030"))


def test_half_of_a_surrogate_pair_spoils_no_page() -> None:
    assert ["好?", "坏"] == _texts("a.jsonl", '{"text": "好\\ud800"}\n{"text": "坏"}\n'.encode())


def test_no_more_rows_are_read_than_are_said() -> None:
    for rows, is_cut in ((MOST_ROWS, False), (MOST_ROWS + 1, True)):
        texts = read_texts("a.txt", b"x\n" * rows, "", WORDS)
        assert (MOST_ROWS, is_cut) == (len(texts.rows), texts.is_cut)


def _line(number: int, label: str = "positive", score: float = 0.9, **more: object) -> Line:
    scores = {"positive": score, "negative": 1 - score}
    return Line(number, f"text {number}", label, score, scores, model="m/1", **more)  # type: ignore[arg-type]


def _result(*lines: Line, ask: Ask | None = None) -> FileResult:
    return FileResult("id", "a.csv", ask or Ask(), lines, False, 0.1)


LINES = (
    _line(1, score=0.8),
    _line(2, "negative", 0.95),
    _line(3, score=0.6),
    Line(4, "", problem="it is empty"),
    _line(5, "negative", 0.7),
)


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"order": "desc"}, [5, 4, 3, 2, 1]),
        ({"sort": "score"}, [3, 5, 1, 2, 4]),
        ({"sort": "score", "order": "desc"}, [2, 1, 5, 3, 4]),
        ({"sort": "label"}, [2, 5, 1, 3, 4]),
        ({"label": "negative"}, [2, 5]),
        ({"label": "no such"}, []),
        ({"only": "failed"}, [4]),
        ({"only": "unsure"}, [3]),
        ({"sort": "'; --", "order": "x", "only": "x", "page": "9" * 400}, [1, 2, 3, 4, 5]),
        ({"page": "-1"}, [1, 2, 3, 4, 5]),
        ({"page": "٣"}, [1, 2, 3, 4, 5]),
    ],
)
def test_a_table_is_sorted_and_filtered_by_its_address(query: dict[str, str], lines: list[int]) -> None:
    table, view = table_of(_result(*LINES), view_of(query))
    assert (lines, len(lines), 1) == ([line.line for line in table.lines], table.chosen, view.page)
    assert ((("positive", 2), ("negative", 2)), 1, 1) == (table.counts, table.failed, table.unsure)


def test_a_heading_sorts_the_other_way_round_the_second_time() -> None:
    view = view_of({"label": "negative"})
    first = view.sorted_by("score")
    assert {"sort": "score", "order": "desc", "label": "negative"} == first
    assert {"sort": "score", "label": "negative"} == view_of(first).sorted_by("score")


def test_a_long_table_has_pages() -> None:
    result = _result(*(_line(number) for number in range(1, 2 * LINES_A_PAGE + 2)))
    table, view = table_of(result, view_of({"page": "7"}))
    assert (3, 3, [2 * LINES_A_PAGE + 1]) == (view.page, table.pages, [line.line for line in table.lines])


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", "\t=1", "\r=1", " =1", "\n@x"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert f"'{text}" == harmless(text)
    result = _result(Line(1, text, text, 0.5, {text: 0.5}), ask=Ask(mode=Mode.LABELS, labels=text.strip()))
    rows = list(csv.reader(io.StringIO(sheet(result).decode("utf-8-sig"), newline="")))
    assert [f"'{text}"] * 2 == rows[1][1:3]


def test_a_spreadsheet_gets_every_line_and_score() -> None:
    content = sheet(_result(*LINES))
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert ["1", "2", "3", "4", "5"] == [row["line"] for row in rows]
    assert ("negative", "0.95", "0.95", "m/1", "") == tuple(
        rows[1][name] for name in ("label", "score", "score of positive", "model", "error")
    )
    assert ("", "", "it is empty") == tuple(rows[3][name] for name in ("label", "score", "error"))


def test_several_labels_stand_in_one_cell() -> None:
    ask = Ask(mode=Mode.LABELS, labels="b, a", multi_label=True)
    line = Line(1, "x", "a", 0.9, {"a": 0.9, "b": 0.8}, ("a", "b"), "m/1")
    head, row = csv.reader(io.StringIO(sheet(_result(line, ask=ask)).decode("utf-8-sig"), newline=""))
    assert ["line", "text", "label", "score", "labels", "model", "error", "score of b", "score of a"] == head
    assert "a; b" == row[4]
