"""Dead letters on the pages: every code in words, and raw fields that survive a form unchanged."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import FormData

from dashboard.dead_letters import fields
from dashboard.dead_letters.advice import ADVICE, advice_of
from dashboard.dead_letters.fields import FieldRow
from schemas.errors import Code
from schemas.raw import raw_to_json
from tests.conftest import ROOT

FIELDS = st.dictionaries(st.binary(min_size=1, max_size=12) | st.text("idtex", min_size=1).map(str.encode), st.binary())


def sent(rows: list[FieldRow]) -> FormData:
    """The form as a browser sends it: every end of a line is CRLF, bytes are kept."""
    pairs: list[tuple[str, str]] = []
    for row in rows:
        value = row.value.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
        pairs += [("key", row.key), ("name", row.name), ("value", "" if row.is_bytes else value)]
        pairs += [("kept", row.key)] if row.is_bytes else []
    return FormData(pairs)


def test_every_code_is_put_in_words_on_the_page_and_in_the_docs() -> None:
    assert set(Code) == set(ADVICE)
    docs = (ROOT / "docs" / "dead-letters.md").read_text(encoding="utf-8")
    for code, advice in ADVICE.items():
        assert f"| `{code}` | {advice.meaning} | {advice.to_do} |\n" in docs
    assert "does not know" in advice_of("code_of_a_later_version").meaning


@given(FIELDS)
def test_fields_that_nobody_changes_come_back_byte_for_byte(given_fields: Mapping[bytes, bytes]) -> None:
    raw = raw_to_json(given_fields)
    assert given_fields == fields.to_raw(fields.rows_in(sent(fields.rows_of(raw)), raw), raw)


def test_a_changed_value_has_the_line_ends_that_it_had_before() -> None:
    def changed(before: str) -> bytes:
        raw = {"text": before}
        form = FormData([("key", "text"), ("name", "text"), ("value", "c\r\nd")])
        return fields.to_raw(fields.rows_in(form, raw), raw)[b"text"]

    assert b"c\nd" == changed("a\nb")
    assert b"c\r\nd" == changed("a\r\nb")


def test_bytes_become_the_text_that_they_were_meant_as() -> None:
    def text(value: bytes) -> str:
        raw = raw_to_json({b"text": value})
        [row] = fields.rows_of(raw)
        assert row.is_bytes
        return fields.as_text(row, raw).value

    assert "物流太慢" == text("物流太慢".encode("gb18030"))
    assert "物 流" == text("物\0流".encode())
    assert "a\ufffd" == text(b"a\xff")


def test_the_field_at_fault_is_there_and_has_the_cursor() -> None:
    rows = fields.with_problem(fields.rows_of({"id": "7", "kind": "?"}), "kind", "is ?")
    assert [("id", "", False), ("kind", "is ?", True)] == [(row.name, row.problem, row.has_focus) for row in rows]
    rows = fields.with_problem(rows[:1], "text", "is missing")
    assert [("text", "", True), ("id", "7", False)] == [(row.name, row.value, row.has_focus) for row in rows]


def test_names_are_given_once() -> None:
    rows = [FieldRow("", "a", "1"), FieldRow("", "", ""), FieldRow("", "a", "2"), FieldRow("", "", "x")]
    assert (2, 3) == (fields.named_twice(rows), fields.nameless(rows))
    assert {b"a": b"1"} == fields.to_raw(rows[:2], {})
