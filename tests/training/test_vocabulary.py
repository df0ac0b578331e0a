"""Pruning and the tokenizer made of what is left."""

from collections import Counter

import pytest

tokenizers = pytest.importorskip("tokenizers")

from training import vocabulary  # noqa: E402

PIECES = [
    ("<s>", 0.0),
    ("<pad>", 0.0),
    ("</s>", 0.0),
    ("<unk>", 0.0),
    ("▁", -3.0),
    ("物流", -8.0),
    ("物", -9.0),
    ("流", -9.0),
    ("▁the", -5.0),
    ("▁und", -5.5),
    ("ст", -6.0),
    ("<", -7.0),
    ("/", -7.0),
    ("s", -6.0),
    (">", -7.0),
    ("很", -9.5),
    ("<mask>", 0.0),
]


def _kept(used: Counter[int], limit: int) -> list[str]:
    return [PIECES[number][0] for number in vocabulary.kept_ids(PIECES, used, limit)]


def test_han_and_single_characters_stay_other_scripts_and_the_mask_go() -> None:
    kept = _kept(Counter(), 0)
    assert {"物流", "物", "流", "很", "<", "/", "s", ">", "▁"} <= set(kept)
    assert not {"ст", "<mask>", "▁the", "▁und"} & set(kept)


def test_latin_pieces_stay_if_used_and_else_by_probability_while_there_is_room() -> None:
    # Given that the corpus uses "▁und" only
    used = Counter({9: 5})
    # Then it stays without room to spare, and "▁the" needs one more place
    assert "▁und" in _kept(used, 0)
    assert "▁the" not in _kept(used, 14)
    assert "▁the" in _kept(used, 15)


def test_special_tokens_that_a_user_types_are_text() -> None:
    tokenizer = vocabulary.build(PIECES)
    ids = tokenizer.encode("</s><s>物流").ids
    assert (vocabulary.BOS_ID, vocabulary.EOS_ID) == (ids[0], ids[-1])
    assert not {0, 1, 2} & set(ids[1:-1])
    assert "物流" == tokenizer.id_to_token(ids[-2])


def test_odd_white_space_and_control_characters_do_not_matter() -> None:
    tokenizer = vocabulary.build(PIECES)
    expected = tokenizer.encode("物流 很").ids
    assert expected == tokenizer.encode("\u3000物\u200b流\r\n\t很 \x00").ids
    assert [0, 2] == tokenizer.encode(" \n ").ids
