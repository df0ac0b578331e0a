"""Token ids from vocab.txt are those of BERT's tokenizer in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from schemas.errors import ModelError
from tests.training import checkpoints
from training.importing.wordpiece import WordPieceForm, read_vocabulary, wordpiece
from worker.inference.tokenizer import TextTokenizer

VOCABULARY = checkpoints.HERE / "vocab.txt"
REFERENCE = checkpoints.reference()
FORMS = {
    "as BERT has it": WordPieceForm(),
    "cased": WordPieceForm(lowercase=False),
    "accents kept": WordPieceForm(strip_accents=False),
    "accents dropped, cased": WordPieceForm(lowercase=False, strip_accents=True),
    "CJK not split": WordPieceForm(split_cjk=False),
}
OURS = {name: wordpiece(read_vocabulary(VOCABULARY), form) for name, form in FORMS.items()}
THEIRS = {
    name: BertTokenizerLegacy(
        str(VOCABULARY),
        do_lower_case=form.lowercase,
        strip_accents=form.strip_accents,
        tokenize_chinese_chars=form.split_cjk,
    )
    for name, form in FORMS.items()
}


def _tokens(name: str, text: str) -> tuple[list[str], list[str]]:
    return THEIRS[name].tokenize(text), OURS[name].encode(text, add_special_tokens=False).tokens


@pytest.mark.parametrize("case", REFERENCE["sentiment"], ids=lambda case: case["text"])
def test_ids_are_those_that_modelscope_gave_its_model(case: dict[str, Any], tmp_path: Path) -> None:
    if case["text"] in ("special_tokens", "emoji_unicode15"):  # see test_parity
        return
    OURS["as BERT has it"].save(str(tmp_path / "tokenizer.json"))
    tokenizer = TextTokenizer.load(tmp_path / "tokenizer.json")
    [ids] = tokenizer.encode([REFERENCE["texts"][case["text"]]])
    room = 512 - len(tokenizer.head) - len(tokenizer.tail)
    assert case["rows"][0]["input_ids"] == [*tokenizer.head, *ids[:room], *tokenizer.tail]


@pytest.mark.parametrize("name", FORMS)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=24))
@example("ΟΔΟΣ Σ ΣΑΣ.")
@example("İstanbul ſtraße ﬁ Å Å")
@example("a\u1734b᙭c𫠠d\U0001faf8")
@example("か\u3099 e\u0301 \u0301 豈")
def test_any_text_gets_the_tokens_of_the_tokenizer_in_python(name: str, text: str) -> None:
    if not any(special in text for special in THEIRS[name].all_special_tokens):
        expected, found = _tokens(name, text)
        assert expected == found


def test_of_a_token_that_stands_twice_the_last_line_counts(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("[PAD]\r\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n好\n\u2028\n好\n".encode())
    vocabulary = read_vocabulary(path)
    assert (0, 7, 6) == (vocabulary["[PAD]"], vocabulary["好"], vocabulary["\u2028"])


def test_a_vocabulary_without_the_special_tokens_is_refused() -> None:
    with pytest.raises(ModelError, match=r"has no \[CLS\], \[SEP\]; name the special tokens in tokenizer_config\.json"):
        wordpiece({"[PAD]": 0, "[UNK]": 1, "[MASK]": 2}, WordPieceForm())
