"""Near-copies: what counts as the same text, and that looking for them misses none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.desk.copies import LIKENESS, Copies, fingerprint, likeness, normalised

PARCEL = "订单号 20260301 的包裹到现在还没有更新物流信息，请尽快帮我查询一下"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("订单123还没到！", "订单 98765 还没到"),
        ("Where is my ORDER?", "where is my order…"),
        ("ＡＢＣ　退款", "abc退款"),
        ("物流太慢了😡", "物流太慢了！！😡"),
        ("第1单，第2单", "第10单第33单"),
    ],
)
def test_signs_case_and_digits_do_not_tell_texts_apart(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("好", "坏"), ("😀", "😡"), ("！！！", "？？？"), ("", "0"), ("12345", "67890"), ("不好", "好不")],
)
def test_what_says_something_else_has_another_fingerprint(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert [] == Copies([one]).like(other)


def test_a_text_of_signs_alone_is_itself() -> None:
    assert "!!! ???" == normalised(" !!!\n???")
    assert "订单0还没到" == normalised("订单 #123 还没到。")


def test_texts_that_differ_in_a_few_characters_are_found_and_others_are_not() -> None:
    # Given a text, one with a word more, one with its beginning alone and one about something else
    texts = [f"您好，{PARCEL}", PARCEL[:16], "电子发票的抬头写错了，怎么重新开一张", f"{PARCEL}，谢谢"]
    # Then those alone are like it that share four fifths of their 3-grams
    assert [0, 3] == Copies(texts).like(PARCEL)
    assert [True, False, False, True] == [likeness(text, PARCEL) >= LIKENESS for text in texts]


def test_five_hundred_texts_are_compared_by_few_pairs() -> None:
    # Given 500 texts of 200 characters in 100 groups of five copies
    texts = [f"{chr(0x4E00 + group * 7)}{chr(0x4E00 + group * 11)}" * 97 + f"第{copy}次" for group in range(100)
             for copy in range(5)]  # fmt: skip
    looked_for = Copies(texts)
    # When each is looked for, then its group is found and nothing else
    assert [list(range(at - at % 5, at - at % 5 + 5)) for at in range(500)] == [looked_for.like(text) for text in texts]


@given(st.lists(st.text("ab好坏 1,", max_size=30), max_size=12), st.text("ab好坏 1,", max_size=30))
def test_looking_for_copies_misses_none(texts: list[str], text: str) -> None:
    expected = [number for number, each in enumerate(texts) if likeness(each, text) >= LIKENESS]
    assert expected == Copies(texts).like(text)
