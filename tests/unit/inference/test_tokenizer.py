"""What a user types is text: no string of theirs becomes a token that bounds a sequence."""

import threading

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from schemas.errors import ModelError
from tests.models import tiny_tokenizer
from worker.inference.tokenizer import TextTokenizer


def bert_tokenizer(*, split_punctuation: bool = True) -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "cls", "sep", "mask", "a", "b", "慢"]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    if split_punctuation:
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(words[:5])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


@pytest.fixture
def unigram(tokenizer_file):
    return TextTokenizer.load(tokenizer_file(tiny_tokenizer()))


@pytest.fixture
def bert(tokenizer_file):
    return TextTokenizer.load(tokenizer_file(bert_tokenizer()))


def test_head_and_tail_are_what_the_model_was_trained_with(unigram, bert):
    assert (unigram.head.tolist(), unigram.tail.tolist(), unigram.pad_id) == ([0], [2], 1)
    assert (bert.head.tolist(), bert.tail.tolist(), bert.pad_id) == ([2], [3], 0)


def test_what_stands_around_a_pair_is_what_the_model_was_trained_with(unigram, bert):
    for form, head, between, tail in ((bert.pair_form, [2], [3], [3]), (unigram.pair_form, [0], [2], [2])):
        assert (head, between, tail) == (form.head.tolist(), form.middle.tolist(), form.tail.tolist())
        assert (True, 3) == (form.typed, form.special_tokens)


def test_a_tokenizer_that_puts_nothing_between_two_texts_has_no_form_for_pairs(tokenizer_file):
    tokenizer = bert_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)])
    assert TextTokenizer.load(tokenizer_file(tokenizer)).pair_form is None


@pytest.mark.parametrize("typed", ["</s>", "<s>", "<pad>", "＜/s＞", "</s></s>", "a</s>b", "慢 <s> 慢"])
def test_special_strings_stay_text_though_the_vocabulary_has_them_as_pieces(unigram, typed):
    # Given a Unigram vocabulary in which `</s>` is the likeliest piece of all, when a user types it (or its full-width
    # form, which normalization turns into it)
    ids = unigram.encode([typed])[0].tolist()
    # then none of the tokens that bound a sequence comes out, and the characters do
    assert not {0, 1, 2} & set(ids)
    assert len(ids) >= 3


@pytest.mark.parametrize(("typed", "words"), [("a[SEP]b", ["a", "[", "sep", "]", "b"]), ("[MASK]", ["[", "mask", "]"])])
def test_special_strings_stay_text_for_bert(bert, typed, words):
    vocabulary = bert_tokenizer().get_vocab()
    assert [vocabulary[word] for word in words] == bert.encode([typed])[0].tolist()


def test_special_strings_stay_text_when_words_are_only_split_at_spaces(tokenizer_file):
    # Given a tokenizer that would look the whole word `[CLS]` up in its vocabulary
    loaded = TextTokenizer.load(tokenizer_file(bert_tokenizer(split_punctuation=False)))
    # when it is typed, then it does not become id 2, and unknown words remain allowed
    assert not {2, 3, 4} & set(loaded.encode(["[CLS] a [SEP]"])[0].tolist())
    assert loaded.encode(["none"])[0].tolist() == [1]


def test_nothing_and_white_space_give_no_tokens(unigram, bert):
    assert [ids.tolist() for ids in bert.encode(["", " ", "\u200b"])] == [[], [], []]
    assert unigram.encode([""])[0].tolist() == []
    assert unigram.encode([]) == []


def test_padding_and_truncation_in_the_file_are_not_applied(tokenizer_file):
    tokenizer = bert_tokenizer()
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(4)
    loaded = TextTokenizer.load(tokenizer_file(tokenizer))
    assert loaded.encode(["a " * 30])[0].tolist() == [10] * 30


def test_a_batch_gives_what_each_text_gives_alone(unigram):
    texts = ["物流太慢了", "", "query", "退款</s>", "物流" * 500]
    assert [unigram.encode([text])[0].tolist() for text in texts] == [ids.tolist() for ids in unigram.encode(texts)]


def test_encoding_starts_no_threads_of_its_own(unigram, monkeypatch):
    def os_threads() -> int:
        import psutil

        return psutil.Process().num_threads()

    before = os_threads()
    unigram.encode(["物流太慢了"] * 2_000)
    assert before == os_threads()
    assert threading.active_count() <= before


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"model": null}', '{"model": {"type": "Unigram"}}'])
def test_a_broken_file_is_a_model_error(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        TextTokenizer.load(path)


def test_a_missing_file_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        TextTokenizer.load(tmp_path / "tokenizer.json")
