"""Texts as they come: promptly from a slow pipe, by the inbox's rules, and never more than bounded memory."""

import io
import json
import os

import pytest

from schemas.errors import SourceError
from worker.cli.texts import MAX_LINE_BYTES, TextLine, read_texts


def texts(content: bytes) -> list[TextLine]:
    return [line for chunk in read_texts(io.BufferedReader(io.BytesIO(content))) for line in chunk]


def jsonl(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def test_every_line_is_a_text_and_blank_ones_are_skipped():
    expected = [TextLine(1, "物流太慢"), TextLine(4, " 很好 "), TextLine(6, "end")]
    assert expected == texts("物流太慢\r\n\n \t\n 很好 \n\u3000\nend".encode())


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert [TextLine(1, "好")] == texts("\ufeff好\n".encode())


def test_json_lines_are_known_by_the_first_line_that_is_not_blank():
    assert [TextLine(2, "好\nx"), TextLine(3, "b")] == texts(b"\n" + jsonl({"text": "好\nx", "id": 1}, {"text": "b"}))


@pytest.mark.parametrize("first", ['{"a": 1}', '["text"]', '{"text": ', "[SEP]", '"text"', "{" * 5_000])
def test_a_first_line_that_is_no_object_with_text_means_plain_lines(first):
    assert [TextLine(1, first), TextLine(2, '{"text": "b"}')] == texts(f'{first}\n{{"text": "b"}}\n'.encode())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"plain\n", "is not JSON"),
        (b"[1]\n", 'no JSON object with a "text"'),
        (jsonl({"txt": "a"}), 'no JSON object with a "text"'),
        (jsonl({"text": 5}), "must be text, not int"),
        (jsonl({"text": None}), "must be text, not NoneType"),
        (jsonl({"text": " "}), "is empty"),
        (jsonl({"text": "a" * 20_001}), "at most 20000"),
        (b'{"text": "\\ud83d"}\n', "half of a surrogate pair"),
        (b'{"text": "\xff"}\n', "is not UTF-8"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(line, problem):
    first, bad, last = texts(jsonl({"text": "a"}) + line + jsonl({"text": "c"}))
    assert [TextLine(1, "a"), TextLine(3, "c")] == [first, last]
    assert (bad.line, bad.text) == (2, "")
    assert problem in bad.problem


def test_bytes_that_are_not_utf8_do_not_decide_the_format():
    bad, good = texts(b"\xff\n" + jsonl({"text": "a"}))
    assert "is not UTF-8 at byte 0" in bad.problem
    assert TextLine(2, "a") == good


def test_control_characters_become_spaces_as_in_the_inbox():
    assert [TextLine(1, "a b c")] == texts(b"a\x00b\x1bc\n")


def test_a_line_without_end_does_not_fill_the_memory():
    # Given a first line of 40 times the bound, when the stream is read
    bad, good = texts(b"x" * (40 * MAX_LINE_BYTES) + b"\nok\n")
    # then it is refused by its number, and the next one is fine
    assert (1, f"is over {MAX_LINE_BYTES} bytes; cut it") == (bad.line, bad.problem)
    assert TextLine(2, "ok") == good


def test_utf16_is_refused_with_the_fix():
    with pytest.raises(SourceError, match="save it as UTF-8"):
        texts("好".encode("utf-16"))


def test_nothing_gives_nothing():
    assert [] == texts(b"")


def test_a_slow_pipe_is_answered_before_it_ends():
    # Given a pipe whose writer waits for answers
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as stream, os.fdopen(write_end, "wb", buffering=0) as writer:
        chunks = read_texts(stream)
        # when it writes a line and a half, then the whole line is there at once, and the half waits for its end
        writer.write("一\n半".encode())
        assert [TextLine(1, "一")] == next(chunks)
        writer.write("行\n".encode())
        assert [TextLine(2, "半行")] == next(chunks)
