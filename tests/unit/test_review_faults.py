"""Why a review could not be made is told in the reviewer's language."""

from __future__ import annotations

import pytest

from dashboard.review.faults import said_of
from dashboard.words import words_of
from schemas.errors import ReviewError
from worker.desk.reviews import Fault

VALUES = {"item": "shop/1", "who": "mei", "label": "x", "known": "a, b", "most": 9}


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_is_told_in_both_languages(fault: Fault) -> None:
    error = ReviewError("in English", fault, **VALUES)
    english, chinese = (said_of(error, words_of(language)) for language in ("en", "zh"))
    assert english != chinese
    assert "%" not in english + chinese


def test_what_no_page_brings_about_stands_there_as_it_is() -> None:
    assert "in English" == said_of(ReviewError("in English"), words_of("zh"))
