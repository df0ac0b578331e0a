"""The inbox entry and the reply: one set of rules for producers and workers, a code for every kind of bad input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import Code, EntryError
from schemas.fields import KNOWN_FIELDS, MAX_ID_CHARS, MAX_JSON_LEVELS, MAX_META_BYTES, MAX_TEXT_CHARS
from schemas.labels import Label, LabelSet
from schemas.messages import (
    Entry,
    RawEntry,
    check_fields,
    decode,
    encode_reply,
    entry_order,
    entry_time,
    identity_of,
    reply_to_of,
)
from schemas.names import Keys, Kind, Lane, ReplyStatus, Task
from schemas.raw import raw_from_json, raw_to_json

KEYS = Keys()
ENTRY_ID = "1700000000123-4"
ADDED_AT = datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
LEAST = {"id": "42", "text": "物流太慢了"}


def raw_entry(fields: Mapping[str, str | bytes], entry_id: str = ENTRY_ID, lane: Lane = Lane.LIVE) -> RawEntry:
    encoded = {
        name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in fields.items()
    }  # fmt: skip
    return RawEntry(lane, entry_id, encoded)


def entry_of(**fields: str) -> Entry:
    """The entry with the least fields and these."""
    return decode(raw_entry(LEAST | fields), KEYS)


def complaint(fields: Mapping[str, str | bytes]) -> tuple[Code, str]:
    """Code and field of the first rule that `fields` break."""
    with pytest.raises(EntryError) as caught:
        decode(raw_entry(fields), KEYS)
    assert str(caught.value).startswith(f"{caught.value.field}: ")
    return caught.value.code, caught.value.field


# --- what is right ---------------------------------------------------------------------------------------------------


def test_two_fields_are_a_complete_entry() -> None:
    expected = Entry(Lane.BULK, ENTRY_ID, "42", "物流太慢了", created_at=ADDED_AT, updated_at=ADDED_AT)
    assert expected == decode(raw_entry(LEAST, lane=Lane.BULK), KEYS)
    assert ("default", Kind.COMMENT, (Task.SENTIMENT,), "default", {}, True, False) == (
        expected.source, expected.kind, expected.tasks, expected.route_set, expected.meta, expected.store,
        expected.multi_label,
    )  # fmt: skip


def test_every_field_is_read() -> None:
    entry = entry_of(
        source="shop", kind="ticket", tasks="routing", route_set="vip", created_at="2026-01-31T08:00:00+08:00",
        updated_at="2026-02-01T00:00:00.5Z", deadline="2026-02-02t00:00:00z", reply_to="fenliu:reply:me",
        meta='{"plan": "pro"}', model="m/1", labels='{"账单": "付款"}', template="这是{}", multi_label="yes",
        store="no", colour="red",
    )  # fmt: skip
    assert Entry(
        Lane.LIVE, ENTRY_ID, "42", "物流太慢了", "shop", Kind.TICKET, (Task.ROUTING,), "vip",
        datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, 0, 0, 0, 500_000, tzinfo=UTC),
        datetime(2026, 2, 2, tzinfo=UTC), "fenliu:reply:me", {"plan": "pro", "colour": "red"}, "m/1",
        LabelSet((Label("账单", "付款"),)), "这是{}", True, False,
    ) == entry  # fmt: skip


def test_labels_may_be_one_string_with_commas_of_either_kind() -> None:
    assert LabelSet((Label("账单"), Label("物流"), Label("售后"))) == entry_of(labels='"账单, 物流，,售后 "').labels


def test_the_kind_decides_the_tasks_unless_they_are_named() -> None:
    assert (Task.SENTIMENT, Task.ROUTING) == entry_of(kind="ticket").tasks
    assert (Task.ROUTING,) == entry_of(tasks="routing").tasks
    assert (Task.ROUTING, Task.SENTIMENT) == entry_of(tasks=" routing , sentiment,routing").tasks


def test_unknown_fields_are_kept_in_meta_and_overwrite_nothing() -> None:
    assert {"plan": "pro", "city": "北京"} == entry_of(meta='{"plan": "pro"}', plan="free", city="北京").meta
    assert {"city": "北京"} == entry_of(city="北京").meta


def test_text_keeps_what_it_says_and_loses_what_nobody_can_store() -> None:
    text = "[SEP] </s> <|endoftext|> 好😀👨‍👩‍👧\u202e\n\ttab %s {} \\u0000 'DROP'"
    assert text == entry_of(text=text).text
    assert "a b  c" == entry_of(text="a\0b\x1b\x9fc").text
    assert "x" * MAX_TEXT_CHARS == entry_of(text="x" * MAX_TEXT_CHARS).text


def test_times_count_from_the_entry_where_none_is_given() -> None:
    assert (ADDED_AT, ADDED_AT) == (entry_of(kind="ticket", city="x").created_at, entry_of(city="x").updated_at)


@given(st.datetimes(timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))))
def test_any_rfc_3339_time_is_read_exactly(moment: datetime) -> None:
    whole_minutes = moment.utcoffset()
    assert whole_minutes is not None
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=whole_minutes // timedelta(minutes=1))))
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        assert (Code.BAD_TIME, "deadline") == complaint(LEAST | {"deadline": moment.isoformat()})
        return
    assert expected == entry_of(deadline=moment.isoformat()).deadline
    assert expected == entry_of(deadline=moment.isoformat(" ").replace("+00:00", "z")).deadline


@pytest.mark.parametrize(("value", "meant"), [("yes", True), ("TRUE", True), (" 1", True), ("no", False), ("0", False)])
def test_flags_have_a_few_spellings(value: str, meant: bool) -> None:
    assert meant is entry_of(multi_label=value).multi_label
    assert meant is entry_of(store=value).store


# --- what is wrong ---------------------------------------------------------------------------------------------------

DEEP = "[" * (MAX_JSON_LEVELS + 1) + "]" * (MAX_JSON_LEVELS + 1)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"text": "x"}, Code.MISSING_FIELD, "id"),
        ({"id": "1"}, Code.MISSING_FIELD, "text"),
        ({}, Code.MISSING_FIELD, "id"),
        (LEAST | {"id": ""}, Code.EMPTY_FIELD, "id"),
        (LEAST | {"id": " \u3000\u200b\ufeff"}, Code.EMPTY_FIELD, "id"),
        (LEAST | {"text": ""}, Code.EMPTY_FIELD, "text"),
        (LEAST | {"text": "\0 \n\u3000"}, Code.EMPTY_FIELD, "text"),
        (LEAST | {"source": ""}, Code.EMPTY_FIELD, "source"),
        (LEAST | {"id": "x" * (MAX_ID_CHARS + 1)}, Code.TOO_LONG, "id"),
        (LEAST | {"text": "字" * (MAX_TEXT_CHARS + 1)}, Code.TOO_LONG, "text"),
        (LEAST | {"source": "x" * (MAX_ID_CHARS + 1)}, Code.TOO_LONG, "source"),
        (LEAST | {"id": "a\0"}, Code.BAD_CHARACTER, "id"),
        (LEAST | {"id": "a\nb"}, Code.BAD_CHARACTER, "id"),
        (LEAST | {"source": "a\x1b"}, Code.BAD_CHARACTER, "source"),
        (LEAST | {"city": "a\0"}, Code.BAD_CHARACTER, "city"),
        (LEAST | {"ci\0ty": "a"}, Code.BAD_CHARACTER, "ci\\0ty"),
        (LEAST | {"text": b"\xff\xfe"}, Code.NOT_UTF8, "text"),
        (LEAST | {"text": "坏".encode("gb18030")}, Code.NOT_UTF8, "text"),
        (LEAST | {"text": b"\xed\xa0\x80"}, Code.NOT_UTF8, "text"),  # half of a surrogate pair, as CESU-8 has it
        (LEAST | {"city": b"\xff"}, Code.NOT_UTF8, "city"),
        (LEAST | {"kind": "novel"}, Code.UNKNOWN_KIND, "kind"),
        (LEAST | {"kind": ""}, Code.UNKNOWN_KIND, "kind"),
        (LEAST | {"kind": "Ticket"}, Code.UNKNOWN_KIND, "kind"),
        (LEAST | {"tasks": "translation"}, Code.UNKNOWN_TASK, "tasks"),
        (LEAST | {"tasks": ""}, Code.UNKNOWN_TASK, "tasks"),
        (LEAST | {"tasks": "sentiment;routing"}, Code.UNKNOWN_TASK, "tasks"),
        (LEAST | {"route_set": ""}, Code.EMPTY_FIELD, "route_set"),
        (LEAST | {"model": " "}, Code.EMPTY_FIELD, "model"),
        (LEAST | {"meta": "{"}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": ""}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": "[]"}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": "null"}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": '{"a": NaN}'}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": '{"a": -Infinity}'}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": '{"a": 1e999}'}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": '{"a": "\\u0000"}'}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": '{"\\u0000": 1}'}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": '{"a": "\\ud800"}'}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": '{"a": ' + DEEP + "}"}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": '{"a": ' + "[" * 4000 + "]" * 4000 + "}"}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": '{"a": ' + "9" * 5000 + "}"}, Code.BAD_JSON, "meta"),
        (LEAST | {"meta": '{"a": "' + "x" * MAX_META_BYTES + '"}'}, Code.TOO_LONG, "meta"),
        (LEAST | {"city": "字" * MAX_META_BYTES}, Code.TOO_LONG, "meta"),
        (LEAST | {"labels": "a,b"}, Code.BAD_JSON, "labels"),
        (LEAST | {"labels": "[]"}, Code.BAD_LABELS, "labels"),
        (LEAST | {"labels": '["a", "a"]'}, Code.BAD_LABELS, "labels"),
        (LEAST | {"labels": '{"a": {"threshold": 2}}'}, Code.BAD_LABELS, "labels"),
        (LEAST | {"labels": '["' + "x" * 300_000 + '"]'}, Code.TOO_LONG, "labels"),
        (LEAST | {"template": "no place"}, Code.BAD_VALUE, "template"),
        (LEAST | {"template": "{} {}"}, Code.BAD_VALUE, "template"),
        (LEAST | {"multi_label": "perhaps"}, Code.BAD_VALUE, "multi_label"),
        (LEAST | {"store": ""}, Code.BAD_VALUE, "store"),
        (LEAST | {"reply_to": "elsewhere"}, Code.BAD_VALUE, "reply_to"),
        (LEAST | {"reply_to": "fenliu:reply:"}, Code.BAD_VALUE, "reply_to"),
        (LEAST | {"reply_to": "fenliu:inbox:live"}, Code.BAD_VALUE, "reply_to"),
        (LEAST | {"deadline": "tomorrow"}, Code.BAD_TIME, "deadline"),
        (LEAST | {"deadline": ""}, Code.BAD_TIME, "deadline"),
        (LEAST | {"created_at": "2026-01-01"}, Code.BAD_TIME, "created_at"),
        (LEAST | {"created_at": "2026-01-01T00:00:00"}, Code.BAD_TIME, "created_at"),
        (LEAST | {"updated_at": "2026-02-30T00:00:00Z"}, Code.BAD_TIME, "updated_at"),
        (LEAST | {"updated_at": "２026-01-01T00:00:00Z"}, Code.BAD_TIME, "updated_at"),
        (LEAST | {"updated_at": "0001-01-01T00:00:00+08:00"}, Code.BAD_TIME, "updated_at"),
        (LEAST | {"updated_at": "1700000000"}, Code.BAD_TIME, "updated_at"),
    ],
)
def test_each_broken_rule_has_its_code_and_names_its_field(
    fields: Mapping[str, str | bytes], code: Code, field: str
) -> None:
    assert (code, field) == complaint(fields)
    # Producers are told the same before they send.
    if all(isinstance(value, str) for value in fields.values()):
        with pytest.raises(EntryError) as caught:
            check_fields(fields, KEYS)  # type: ignore[arg-type]
        assert (code, field) == (caught.value.code, caught.value.field)


def test_producers_are_told_of_what_is_no_text() -> None:
    for fields, field in (({"id": 1, "text": "x"}, "id"), (LEAST | {"n": None}, "n"), (LEAST | {5: "x"}, "5")):  # type: ignore[dict-item]
        with pytest.raises(EntryError) as caught:
            check_fields(fields, KEYS)  # type: ignore[arg-type]
        assert (Code.BAD_VALUE, field) == (caught.value.code, caught.value.field)


def test_producers_are_told_of_half_pairs() -> None:
    for fields in (LEAST | {"text": "\ud83d"}, LEAST | {"\udc00": "x"}):
        with pytest.raises(EntryError) as caught:
            check_fields(fields, KEYS)
        assert Code.NOT_UTF8 is caught.value.code


# Texts with the characters that matter.
TEXTS = st.text(
    st.characters(codec="utf-8") | st.sampled_from('\0\x1b\x7f\x85\xa0\u200b\u2028\u3000\ufeff \t\n,:{}[]"\\01'),
    max_size=20,
)
VALUES = TEXTS | st.sampled_from(
    ["comment", "ticket", "sentiment", "routing,sentiment", "yes", "no", "{}", "[]", '["a"]', '{"a": "b"}',
     '{"a": NaN}', "2026-01-01T00:00:00Z", "fenliu:reply:x", "x" * 200, "x" * 201, "x" * 20_001]
)  # fmt: skip
FIELDS = st.dictionaries(st.sampled_from(sorted(KNOWN_FIELDS)) | TEXTS, VALUES, max_size=6)
COMMON = st.fixed_dictionaries({"id": VALUES, "text": VALUES}, optional={"source": VALUES, "kind": VALUES})


@given(FIELDS | COMMON)
@example({"id": "\u3000", "text": "x"})
@example({"id": " x", "text": " x"})
@example({"id": "x", "text": "\x85"})
@example({"id": "x", "text": "\u200b"})
def test_producers_and_workers_agree(fields: dict[str, str]) -> None:
    def verdict(error: EntryError | None) -> tuple[str, ...]:
        return (error.code.value, error.field, str(error)) if error else ()

    checked = decoded = None
    try:
        check_fields(fields, KEYS)
    except EntryError as error:
        checked = error
    try:
        entry = decode(raw_entry(fields), KEYS)
    except EntryError as error:
        decoded = error
    else:
        # What a worker takes, Postgres takes.
        stored = json.dumps([entry.id, entry.source, entry.text, entry.meta], ensure_ascii=False, allow_nan=False)
        assert "\\u0000" not in stored.replace("\\\\", "")
        assert entry.updated_at.utcoffset() == timedelta(0)
    assert verdict(decoded) == verdict(checked)


KNOWN_NAMES = st.sampled_from(sorted(name.encode() for name in KNOWN_FIELDS))


@given(st.dictionaries(st.binary(max_size=8) | KNOWN_NAMES, st.binary(max_size=30)))
def test_any_bytes_are_an_entry_or_an_entry_error(fields: dict[bytes, bytes]) -> None:
    raw = RawEntry(Lane.LIVE, ENTRY_ID, fields)
    try:
        entry = decode(raw, KEYS)
    except EntryError as error:
        assert error.code in Code
        identity_of(raw)
        reply_to_of(raw, KEYS)
    else:
        assert (entry.source, entry.id) == identity_of(raw)
        assert entry.reply_to == reply_to_of(raw, KEYS)


# --- parts of broken entries -----------------------------------------------------------------------------------------


def test_identity_and_reply_of_an_entry_that_breaks_other_rules() -> None:
    broken = raw_entry(LEAST | {"meta": "{", "city": b"\xff", "reply_to": "fenliu:reply:me", "source": "shop"})
    assert ("shop", "42") == identity_of(broken)
    assert "fenliu:reply:me" == reply_to_of(broken, KEYS)
    for fields in ({"text": "x"}, LEAST | {"id": b"\xff"}, LEAST | {"source": ""}, LEAST | {"id": "a\nb"}):
        assert identity_of(raw_entry(fields)) is None
    for reply_to in ("elsewhere", b"\xff", ""):
        assert reply_to_of(raw_entry({"reply_to": reply_to}), KEYS) is None
    assert reply_to_of(raw_entry({}), KEYS) is None


# --- raw fields as JSON ----------------------------------------------------------------------------------------------

TRICKY = st.binary(max_size=12) | st.sampled_from([b"base64:eA==", b"base64:", b'{"base64": "eA=="}', b"\0", b""])


@given(st.dictionaries(TRICKY, TRICKY))
@example({b"\xff": b"1", b"base64:/w==": b"2"})
def test_any_raw_fields_survive_as_json(fields: dict[bytes, bytes]) -> None:
    as_json = raw_to_json(fields)
    # jsonb takes it: no NUL, no half pair, names that differ
    text = json.dumps(as_json, ensure_ascii=False)
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode()
    assert len(fields) == len(as_json)
    # and gives back the same bytes
    assert fields == raw_from_json(json.loads(text))


def test_raw_text_stays_readable() -> None:
    assert {"id": "42", "text": "物流太慢了"} == raw_to_json(raw_entry(LEAST).fields)
    assert {"text": {"base64": "/w=="}} == raw_to_json({b"text": b"\xff"})


# --- entry ids, order, replies ---------------------------------------------------------------------------------------


def test_entry_ids_are_numbers_and_a_time() -> None:
    assert (1_700_000_000_123, 4) == entry_order(ENTRY_ID)
    assert entry_order("2-10") > entry_order("2-9") > entry_order("1-11")
    assert ADDED_AT == entry_time(ENTRY_ID)
    # A producer may choose ids that are no time at all.
    assert datetime(1970, 1, 1, tzinfo=UTC) == entry_time(f"{2**64 - 1}-{2**64 - 1}")


def test_the_newest_wins_by_time_and_then_by_entry() -> None:
    def entry(updated_at: str, entry_id: str) -> Entry:
        return decode(raw_entry(LEAST | {"updated_at": updated_at}, entry_id), KEYS)

    in_order = [
        entry("2026-01-01T00:00:00Z", "9-9"),
        entry("2026-01-01T08:00:01+08:00", "8-9"),
        entry("2026-01-01T00:00:01Z", "8-10"),
        entry("2026-01-01T00:00:01Z", "10-0"),
    ]
    first, second, third, last = in_order
    assert in_order == sorted([last, second, first, third], key=lambda each: each.order)


def test_a_reply_is_flat_text() -> None:
    reply = encode_reply(ENTRY_ID, ("shop", "42"), ReplyStatus.OK, {"label": "物流", "score": 0.5})
    assert {
        "entry_id": ENTRY_ID, "source": "shop", "id": "42", "status": "ok", "result": '{"label":"物流","score":0.5}',
    } == reply  # fmt: skip
