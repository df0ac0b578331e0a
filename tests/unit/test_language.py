"""The guess at a text's language."""

from __future__ import annotations

import pytest

from worker.language import guess


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("zh", "物流太慢了，等了两个星期"),
        ("zh", "iPhone屏幕碎了，怎么办"),
        ("en", "The parcel never arrived."),
        ("en", "My order from 淘 never arrived at the address that I gave you"),
        ("yue", "佢哋嘅服務好差"),
        ("yue", "點解我嘅訂單仲未到？等咗成個禮拜都冇人覆我，唔知係咪寄失咗，請盡快跟進"),
        (None, "これは良いです、本当に"),
        (None, "Отлично"),
        (None, "12345 !!!"),
        (None, "👍👍"),
        (None, ""),
    ],
)
def test_guess(expected: str | None, text: str) -> None:
    assert expected == guess(text)
