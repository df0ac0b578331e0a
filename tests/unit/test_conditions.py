"""Conditions of rules: what they say of a ticket, what is refused and how it is shown, and that reading is safe."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.condition_text import MAX_CONDITION_CHARS, MAX_DEPTH, parse_condition
from schemas.conditions import (
    TEXT_FIELDS,
    And,
    Comparison,
    Condition,
    Exists,
    Facts,
    Field,
    Literal,
    Not,
    Operator,
    Or,
)
from schemas.errors import ConditionError

META: dict[str, Any] = {
    "plan": "enterprise",
    "seats": 250,
    "share": 0.5,
    "vip": True,
    "nothing": None,
    "tags": ["urgent", 7, ["x"]],
    "customer": {"name": "远山", "since": "2021-05-01", "full address": {"city": "杭州"}},
    "in": 1,
    "套餐": "企业版",
}
TICKET = Facts("desk", "ticket", "T-7", "我要退款，don't wait", META)


def holds(condition: str) -> bool:
    return parse_condition(condition).holds(TICKET)


@pytest.mark.parametrize(
    "condition",
    [
        'meta.plan == "enterprise"',
        "meta.plan == 'enterprise'",
        'meta.plan == "enterprise" and not (source in ["test", "staging"])',
        'source == "desk" and kind == "ticket" and id starts_with "T-"',
        'text contains "退款"',
        r"text contains 'don\'t'",
        "meta.seats >= 250 and meta.seats > 249.5 and meta.seats <= 250 and meta.seats < 1e3",
        "meta.share == 0.5 and -1 < meta.share",
        "meta.vip == true and meta.vip != 1",
        "meta.nothing == null and exists meta.nothing",
        "meta.missing == null and not exists meta.missing",
        "meta.missing.deeper.still == null",
        "meta.plan.deeper == null",
        'meta.tags contains "urgent" and 7 in meta.tags and ["x"] in meta.tags',
        'meta.tags == ["urgent", 7.0, ["x"]]',
        'meta["customer"]["full address"].city == "杭州"',
        "meta.in == 1",
        'meta.套餐 == "企业版"',
        'meta.customer.since < "2022"',
        'meta.missing != "enterprise"',
        'meta.missing not in ["a", null] or meta.missing in [null]',
        # and binds closer than or, not closer than either
        'source == "x" and source == "x" or source == "desk"',
        'not source == "x" and source == "desk"',
        'not (source == "x" or source == "y")',
        '\n  source == "desk"\n  and kind == "ticket"\n',
    ],
)
def test_what_holds_of_a_ticket(condition: str) -> None:
    assert holds(condition)


@pytest.mark.parametrize(
    "condition",
    [
        'meta.plan == "Enterprise"',
        "meta.seats == true",
        'meta.seats == "250"',
        'meta.seats < "300"',
        'meta.seats > "200"',
        "meta.vip > 0",
        "meta.missing < 5",
        "meta.missing >= null",
        "meta.tags contains true",
        "meta.seats contains 2",
        'meta.customer contains "name"',
        'meta.plan in meta.missing or "plan" in meta.customer or "ent" in meta.plan',
        'meta.tags starts_with "urgent"',
        "text contains meta.seats",
        "exists meta.customer.plan",
        'meta.tags == ["urgent", true, ["x"]]',
    ],
)
def test_what_does_not_and_fails_no_ticket(condition: str) -> None:
    assert not holds(condition)


@pytest.mark.parametrize(
    ("condition", "said", "place"),
    [
        ("", "the condition is empty", 0),
        ('meta.plan = "x"', "write == to compare", 10),
        ('meta.plan == "a" && kind == "x"', "write and", 17),
        ("meta.plan ==", "expected a value such as", 12),
        ('plan == "x"', "plan is no field; fields are source, kind, id, text, meta.…", 0),
        ("meta.plan == enterprise", 'text needs quotes: "enterprise"', 13),
        ("meta.vip", "a comparison is missing; write meta.vip == true or exists meta.vip", 8),
        ("meta.vip and source", "a comparison is missing; write meta.vip == true", 9),
        ("meta == 1", "meta needs a key; write meta.plan", 5),
        ("source.name == 1", "source has no keys; only meta has", 6),
        ("id > 100", 'id is always text; write it in quotes, such as "100"', 5),
        ('meta.plan in "abc"', 'in needs a list; write in ["a", "b"]', 13),
        ("meta.plan in source", "in needs a list", 13),
        ("meta.plan in [a]", 'write text in quotes: "a"', 14),
        ('meta.plan in ["a"', "this [ is never closed; add ]", 13),
        ('meta.plan in ["a" "b"]', "expected , or ]", 18),
        ("(meta.a == 1", "this ( is never closed; add )", 0),
        ("meta.a == 1)", "this ) was never opened", 11),
        ("meta.a == 1 meta.b == 2", "expected and, or, or the end, not meta", 12),
        ('meta.a == "x', 'the text has no end; close it with "', 10),
        (r'meta.a == "\q"', r"holds a \ that means nothing", 10),
        ("meta.a == 1e999", "this number is too large", 10),
        ("meta.my-key == 1", 'write a key with other characters as meta["my-key"]', 7),
        ("meta. == 1", "expected a key, as in meta.plan", 6),
        ("meta[0] == 1", 'such keys are written meta["my-key"]', 5),
        ("exists source", "exists asks for a key of meta", 7),
        ("meta.a not 1", "expected in after not", 11),
        ("meta.a is 1", "expected one of ==, !=", 7),
        ("meta.a == __import__('os')", "__import__ is no field", 10),
    ],
)
def test_what_cannot_be_understood_is_shown_with_its_place_and_the_fix(condition: str, said: str, place: int) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_condition(condition)
    message, line, caret = str(caught.value).split("\n")
    assert said in message
    assert (f"  {condition}", "  " + " " * place + "^") == (line, caret)


def test_the_caret_stands_under_its_place_among_wide_characters_and_lines() -> None:
    with pytest.raises(ConditionError) as caught:
        parse_condition('source == "desk"\nand meta.套餐 = 1')
    assert "'=' has no meaning here; write == to compare\n  and meta.套餐 = 1\n                ^" == str(caught.value)
    with pytest.raises(ConditionError) as caught:
        parse_condition("meta.a in [" + "1, " * 500 + "x]")
    assert all(len(line) < 140 for line in str(caught.value).splitlines())


def test_length_and_depth_are_bounded() -> None:
    parse_condition("(" * (MAX_DEPTH - 1) + "meta.a == 1" + ")" * (MAX_DEPTH - 1))
    for too_deep in ("(" * 500, "not " * 400, "meta.a == " + "[" * 1500):
        with pytest.raises(ConditionError, match=f"nested over {MAX_DEPTH} levels"):
            parse_condition(too_deep)
    with pytest.raises(ConditionError, match=f"at most {MAX_CONDITION_CHARS}"):
        parse_condition("x" * (MAX_CONDITION_CHARS + 1))


@given(st.text() | st.text("meta.source ()[]\"'\\=!<>andornti,1-"))
def test_any_text_is_a_condition_or_an_error_that_shows_its_place(text: str) -> None:
    try:
        condition = parse_condition(text)
    except ConditionError as error:
        assert text.strip() == "" or "^" in str(error)
        return
    assert condition == parse_condition(str(condition))


# --- trees -----------------------------------------------------------------------------------------------------------

PLAIN_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | PLAIN_TEXT
CONSTANTS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
PATHS = st.lists(PLAIN_TEXT | st.sampled_from(["plan", "in", "not", "套餐", "a-b"]), min_size=1, max_size=3).map(
    lambda keys: Field(("meta", *keys))
)
META_OPERANDS = PATHS | CONSTANTS.map(Literal)
COMPARISONS = (
    st.builds(
        Comparison, META_OPERANDS, st.sampled_from([*set(Operator) - {Operator.IN, Operator.NOT_IN}]), META_OPERANDS
    )
    | st.builds(
        Comparison,
        META_OPERANDS,
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        PATHS | st.lists(CONSTANTS, max_size=3).map(lambda values: Literal(tuple(values))),
    )
    | st.builds(
        Comparison,
        st.sampled_from(TEXT_FIELDS).map(lambda name: Field((name,))),
        st.sampled_from([Operator.EQUAL, Operator.CONTAINS, Operator.LESS]),
        PLAIN_TEXT.map(Literal) | PATHS,
    )
)
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    COMPARISONS | st.builds(Exists, PATHS),
    lambda inner: (
        st.builds(Not, inner)
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(tuple(parts)))
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts)))
    ),
    max_leaves=6,
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["plan", "in", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(CONDITIONS)
def test_what_is_written_reads_the_same(condition: Condition) -> None:
    written = str(condition)
    assume(len(written) <= MAX_CONDITION_CHARS)
    assert condition == parse_condition(written)


@given(CONDITIONS, st.dictionaries(st.sampled_from(["plan", "in", "套餐"]), JSON))
def test_asking_never_fails_and_not_is_always_the_opposite(condition: Condition, meta: dict[str, Any]) -> None:
    facts = Facts("desk", "ticket", "1", "text", meta)
    assert condition.holds(facts) is not Not(condition).holds(facts)


@given(JSON, JSON)
def test_opposite_operators_are_opposite_for_any_values(left: Any, right: Any) -> None:
    facts = Facts("desk", "ticket", "1", "text", {"a": left, "b": right})
    for positive, negative in (("==", "!="), ("in", "not in")):
        one, other = (parse_condition(f"meta.a {operator} meta.b").holds(facts) for operator in (positive, negative))
        assert one is not other


def test_true_is_not_one_in_a_tree_either() -> None:
    assert parse_condition("meta.a == 1") != parse_condition("meta.a == true")
    assert len({parse_condition("meta.a == 1"), parse_condition("meta.a==1"), parse_condition("meta.a == true")}) == 2


def test_meta_as_deep_as_json_can_be_fails_no_ticket() -> None:
    # Given two values that differ only at the very bottom, deeper than Python's calls may go
    def nested(bottom: object) -> object:
        value = bottom
        for level in range(2_000):
            value = [value] if level % 2 else {"in": value}
        return value

    facts = Facts("desk", "ticket", "1", "text", {"a": nested(1), "b": nested(1), "c": nested(True), "d": [nested(1)]})
    assert parse_condition("meta.a == meta.b").holds(facts)
    assert not parse_condition("meta.a == meta.c").holds(facts)
    assert parse_condition("meta.a in meta.d and meta.d contains meta.b").holds(facts)
