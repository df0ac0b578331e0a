"""The tokenizer of the default model: XLM-R's Unigram pieces, pruned to what Chinese and English text need.

Special tokens exist by id only. They are never matched in text: their entries in the vocabulary contain a space,
which no normalized text has, and the post-processor adds them by id.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

BOS_ID, PAD_ID, EOS_ID, UNK_ID = 0, 1, 2, 3
SPECIALS = (" <s>", " <pad>", " </s>", " <unk>")
META = "▁"
MASK = "<mask>"
_LATIN_PIECE = re.compile(r"▁?[A-Za-z0-9'’\-.,!?]+")
_KEPT_RANGES = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xFF), (0x3040, 0x30FF), (0x3105, 0x312F), (0xFF00, 0xFFEF))


def normalizer() -> normalizers.Normalizer:
    """NFKC; control and zero-width characters removed; any run of white space one space; none at the ends."""
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"[\r\n\t\v\f\u0085\u2028\u2029]"), " "),
            normalizers.Replace(Regex(r"[\p{Cc}\p{Cs}\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufe0f]"), ""),
            normalizers.NFKC(),
            normalizers.Replace(Regex(r"[\p{Z}" + META + "]+"), " "),
            normalizers.Strip(),
        ]
    )


def build(pieces: Sequence[tuple[str, float]]) -> Tokenizer:
    """A tokenizer over `pieces` in id order; the first four are the specials, whatever their text."""
    vocabulary = [(name, 0.0) for name in SPECIALS] + [(text, score) for text, score in pieces[len(SPECIALS) :]]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=UNK_ID, byte_fallback=False))
    tokenizer.normalizer = normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=META, prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace(replacement=META, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", BOS_ID), ("</s>", EOS_ID)],
    )
    return tokenizer


def piece_counts(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[int]:
    """How often each id is used when `texts` are encoded without specials."""
    counts: Counter[int] = Counter()
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == 4096:
            _count(tokenizer, batch, counts)
            batch = []
    _count(tokenizer, batch, counts)
    return counts


def _count(tokenizer: Tokenizer, batch: list[str], counts: Counter[int]) -> None:
    for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
        counts.update(encoding.ids)


def kept_ids(pieces: Sequence[tuple[str, float]], used: Counter[int], limit: int, min_count: int = 2) -> list[int]:
    """Ids of the pieces to keep, ascending: specials, every single character of the wanted scripts, every piece of
    Han characters only, what the corpus uses, then the most probable Latin pieces up to `limit` in all."""
    keep = set(range(len(SPECIALS)))
    spare: list[tuple[float, int]] = []
    for number, (text, score) in enumerate(pieces):
        if number in keep or text == MASK:
            continue
        bare = text.removeprefix(META)
        is_character = len(bare) <= 1 and is_wanted_character(bare)
        is_used = used[number] >= min_count and is_wanted(text)
        if is_character or is_used or is_han(bare):
            keep.add(number)
        elif _LATIN_PIECE.fullmatch(text):
            spare.append((-score, number))
    keep.update(number for _, number in sorted(spare)[: max(0, limit - len(keep))])
    return sorted(keep)


def is_han(text: str) -> bool:
    """True for one or more Han characters and nothing else."""
    return bool(text) and all(
        character in "〇々" or unicodedata.name(character, "").startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEO"))
        for character in text
    )


def is_wanted_character(character: str) -> bool:
    """True for Han, Latin, kana, bopomofo, digits, punctuation, marks, symbols, the word marker, and nothing at all."""
    if not character or character == META or is_han(character):
        return True
    category = unicodedata.category(character)
    return category[0] in "PSNM" or category == "Zs" or any(a <= ord(character) <= b for a, b in _KEPT_RANGES)


def is_wanted(text: str) -> bool:
    """True for pieces made only of Han, Latin, kana, digits, punctuation and symbols."""
    return all(is_wanted_character(character) for character in text)
