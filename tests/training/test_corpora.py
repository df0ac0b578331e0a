"""The fixed test split, the conflicts, and the reader of the article file."""

import hashlib
import struct

import pytest

from training import corpora


def test_a_text_and_its_near_duplicates_share_a_split() -> None:
    # Given texts that differ only after their first 15 characters
    start = "这家酒店的房间很大也很干净服务"
    texts = [start, start + "好", start + "差极了，不会再来"]
    # Then all fall on one side
    assert 15 == len(start)
    assert 1 == len({corpora.split_of(text) for text in texts})


def test_the_test_split_is_the_published_rule() -> None:
    texts = [f"第{number}条评论，写得很短" for number in range(2000)]
    expected = {t for t in texts if int(hashlib.sha1(t[:15].encode()).hexdigest(), 16) % 10 == 0}
    assert expected == {t for t in texts if corpora.split_of(t) == "test"}
    assert 0 < sum(corpora.split_of(t) == "dev" for t in texts) < 200


def test_lines_that_stand_on_both_sides_are_dropped_and_repeats_count_once() -> None:
    # Given a line that is called both positive and negative, and one that stands twice
    found = corpora.labelled(["很好", "一般", "很好", ""], [" 一般 ", "很差"])
    # Then only the undisputed lines are left, once each
    assert [("很好", corpora.POSITIVE), ("很差", corpora.NEGATIVE)] == [(r.text, r.label) for r in found]


def _string(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def test_articles_are_read_without_running_what_the_file_says() -> None:
    # Given the three lists of an article file, a title referred to a second time
    data = b"\x80\x03]q\x00(" + _string("标题") + b"q\x01h\x01e]q\x02(" + _string("甲") + b"q\x03" + _string("乙")
    data += b"q\x04e]q\x05(K\x00K\x02e\x87."
    # Then they come out
    assert (["标题", "标题"], ["甲", "乙"], [0, 2]) == corpora._three_lists(data)


def test_an_article_file_that_wants_to_call_something_is_refused() -> None:
    with pytest.raises(corpora.CorpusError, match="GLOBAL"):
        corpora._three_lists(b"\x80\x03]q\x00cos\nsystem\n.")


def test_articles_are_cut_at_sentence_ends() -> None:
    body = "第一句话说得不算短。第二句话也是这样的！第三句话结束了全文。"
    assert ["第一句话说得不算短。第二句话也是这样的！", "第三句话结束了全文。"] == corpora.snippets(body, 22)
