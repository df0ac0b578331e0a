"""What is typed into "Try it", and what people are told when it cannot be asked."""

from __future__ import annotations

import pytest
from starlette.datastructures import FormData

from dashboard.trial.ask import Ask, Mode, ask_of, options_of, pairs_of, problems_of_choices, problems_of_text
from dashboard.trial.asking import trouble_of
from dashboard.trial.examples import EXAMPLES, example_of
from dashboard.trial.result import shown
from dashboard.words import words_of
from schemas.errors import (
    Code,
    EntryError,
    ExpiredError,
    FenliuError,
    InboxFullError,
    InboxUnavailableError,
    PermanentError,
    ReplyTimeoutError,
)
from schemas.messages import Reply
from schemas.names import ReplyStatus, Task

ENGLISH, CHINESE = words_of("en"), words_of("zh")


@pytest.mark.parametrize(
    ("typed", "pairs"),
    [
        ("物流，退款、 账号,a;b；c", [(name, "") for name in ("物流", "退款", "账号", "a", "b", "c")]),
        ("a\r\n\n  b \n", [("a", ""), ("b", "")]),
        ("bill: pay, invoices: all\n物流：催发货、查", [("bill", "pay, invoices: all"), ("物流", "催发货、查")]),
        ("a, b\nc: d", [("a", ""), ("b", ""), ("c", "d")]),
        ("a:", [("a", "")]),
        (" ,，\n", []),
    ],
)  # fmt: skip
def test_labels_stand_on_lines_or_between_commas(typed: str, pairs: list[tuple[str, str]]) -> None:
    assert pairs == pairs_of(typed)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("", "at least one label"),
        ("a\n: b", "begins with a colon"),
        ("a, b, a", "“a” is there twice"),
        ("a\na: b", "“a” is there twice"),
        (",".join(str(number) for number in range(501)), "501 labels; at most 500"),
        ("a" * 201, "at most 200"),
    ],
)
def test_labels_that_cannot_be_are_named(labels: str, said: str) -> None:
    assert said in problems_of_choices(Ask("x", Mode.LABELS, labels), ENGLISH)["labels"]
    # Who asks for the sentiment need not care what stands in the other field.
    assert {} == problems_of_choices(Ask("x", Mode.SENTIMENT, labels), ENGLISH)


def test_a_template_has_one_place_for_the_label() -> None:
    for template, fits in (("about {}", True), ("about", False), ("{} {}", False), ("", True)):
        assert fits == ("template" not in problems_of_choices(Ask("x", Mode.LABELS, "a", template), ENGLISH))


def test_a_text_is_neither_empty_nor_endless() -> None:
    for text, said in (("", "Type a text"), ("\u3000\n\x00", "Type a text"), ("长" * 20_001, "20,001 characters")):
        assert said in problems_of_text(Ask(text), ENGLISH)["text"]
    assert {} == problems_of_text(Ask("长" * 20_000), ENGLISH)


def test_a_hostile_form_is_read_as_far_as_it_makes_sense() -> None:
    # Given a form that no browser of ours sends
    form = FormData({"text": "a\r\nb\ud800", "mode": "poem", "percent": "nan", "multi_label": "", "model": " m "})
    ask = ask_of(form)
    # then what makes no sense is as at first, and the text can be sent
    assert (Mode.SENTIMENT, 50.0, False, "m") == (ask.mode, ask.percent, ask.multi_label, ask.model)
    assert "a\nb?" == ask.text
    assert [100.0, 0.0, 50.0] == [ask_of(FormData({"percent": text})).percent for text in ("1e9", "-1", "x")]


def test_what_is_asked_goes_to_the_inbox_as_the_client_takes_it() -> None:
    assert {"source": "try"} == options_of(Ask("x", labels="a", template="{}", multi_label=True))
    assert {
        "source": "try", "model": "m/2", "tasks": [Task.ROUTING], "labels": {"a": "", "b": "c"}, "multi_label": True,
        "template": "about {}",
    } == options_of(Ask("x", Mode.LABELS, "a\nb: c", "about {}", True, model="m/2"))  # fmt: skip
    assert ["a", "b"] == options_of(Ask("x", Mode.LABELS, "a,b"))["labels"]


def test_every_example_can_be_asked() -> None:
    for number, example in enumerate(EXAMPLES):
        assert example == example_of(str(number))
        assert {} == problems_of_text(example.ask, ENGLISH) | problems_of_choices(example.ask, ENGLISH)
    assert [None] * 5 == [example_of(given) for given in (None, "", "99", "-1", "٣")]


@pytest.mark.parametrize(
    ("error", "status", "field"),
    [
        (EntryError(Code.UNKNOWN_MODEL, "model", "is 'x'"), 422, "model"),
        (EntryError(Code.BAD_LABELS, "labels", "too long"), 422, "labels"),
        (EntryError(Code.BAD_VALUE, "deadline", "is late"), 422, "form"),
        (InboxFullError("full"), 429, "form"),
        (ReplyTimeoutError("late"), 504, "form"),
        (ExpiredError("late"), 504, "form"),
        (InboxUnavailableError("away"), 503, "form"),
        (PermanentError("odd"), 422, "form"),
    ],
)
def test_what_goes_wrong_is_said_where_it_belongs(error: FenliuError, status: int, field: str) -> None:
    trouble = trouble_of(error, CHINESE, 30.0)
    assert (status, [field]) == (trouble.status, list(trouble.problems))
    assert trouble.problems[field]


def _reply(task: str, scores: dict[str, float], **more: object) -> Reply:
    label = max(scores, key=lambda name: scores[name])
    found = {"label": label, "score": scores[label], "scores": scores, "model": "m", "model_version": "3",
             "stage": "classifier", "infer_ms": 4.0} | more  # fmt: skip
    return Reply("1-1", "try", "x", ReplyStatus.OK, {task: found})


def test_sentiment_has_a_face_and_says_when_it_is_unsure() -> None:
    sure = shown(_reply("sentiment", {"positive": 0.9, "negative": 0.1}), Ask("x"), 9.0)
    unsure = shown(_reply("sentiment", {"positive": 0.4, "negative": 0.6}), Ask("x"), 9.0)
    assert ("😄", False, "😠", True) == (sure.emoji, sure.is_unsure, unsure.emoji, unsure.is_unsure)
    assert ["negative", "positive"] == [bar.label for bar in unsure.bars]


def test_an_imported_models_own_labels_are_shown_as_they_are() -> None:
    found = shown(_reply("sentiment", {"4 stars": 0.8, "5 stars": 0.2}), Ask("x"), 9.0)
    assert ("4 stars", "", "") == (found.label, found.emoji, found.bars[0].mood)
    # and so is a label of one's own that happens to be called like ours
    own = shown(_reply("routing", {"positive": 0.8, "b": 0.2}), Ask("x", Mode.LABELS, "positive,b"), 9.0)
    assert ("", "") == (own.emoji, own.bars[0].mood)


def test_of_several_labels_those_count_that_pass() -> None:
    ask = Ask("x", Mode.LABELS, "a,b,c", multi_label=True, percent=60)
    found = shown(_reply("routing", {"a": 0.7, "b": 0.6, "c": 0.59}), ask, 9.0)
    assert (("a", "b"), False) == (found.passing, found.is_unsure)


def test_parts_are_the_texts_own_words() -> None:
    # Given a text with a control character, which the worker has read as a space
    text = "，好\x01" + "很" * 400
    windows = [{"start": 0, "end": 300, "scores": {"positive": 0.9, "negative": 0.1}},
               {"start": 200, "end": 403, "scores": {"negative": 0.8, "positive": 0.2}}]  # fmt: skip
    found = shown(_reply("sentiment", {"positive": 0.6, "negative": 0.4}, windows=windows), Ask(text), 9.0)
    # then each part begins with its own words and says what it says
    first, second = found.parts
    assert first.excerpt.startswith("好 很")
    assert "…" in second.excerpt
    assert ["negative", "positive"] == [bar.label for bar in second.bars]


def test_many_labels_are_folded() -> None:
    scores = {str(number): 1 / (number + 2) for number in range(50)}
    found = shown(_reply("routing", scores), Ask("x", Mode.LABELS, "x"), 9.0)
    assert (20, 30) == (len(found.bars), len(found.more_bars))
