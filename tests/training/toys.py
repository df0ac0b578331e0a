"""Bases and data so small that a whole run takes seconds."""

from __future__ import annotations

import random
from pathlib import Path

import torch
import transformers

from schemas.manifest import Source
from tests.models import tiny_tokenizer
from training import network
from training.bases import Base
from training.data_files import Row

GOOD, BAD = "好评", "差评"
SIGNS = {GOOD: "很好", BAD: "太慢"}
FILLERS = "abcdefgh账号"


def toy_network(n_labels: int = 2, kind: network.HeadKind = network.HeadKind.MEAN, hidden: int = 32) -> network.Network:
    """Two layers, the same weights each time."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=tiny_tokenizer().get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        max_position_embeddings=40,
        initializer_range=0.1,
        pad_token_id=1,
    )
    trunk = transformers.BertModel(config, add_pooling_layer=False)
    return network.Network(trunk, network.new_head(kind, hidden, n_labels)).eval()


def toy_base(model: network.Network | None = None, labels: tuple[str, ...] = ()) -> Base:
    """What `load_base` would give."""
    source = Source(description="made by a test", licence="MIT")
    return Base("toy", model or toy_network(), tiny_tokenizer(), labels, 40, source, "made by a test")


def toy_text(rng: random.Random, label: str) -> str:
    """A sign of the label between letters that mean nothing."""
    before, after = ("".join(rng.choices(FILLERS, k=count)) for count in (5, 3))
    return before + SIGNS[label] + after + SIGNS[label]


def toy_rows(count: int, seed: int = 1) -> list[Row]:
    """Labelled texts that a word tells apart."""
    rng = random.Random(seed)
    labels = [rng.choice((GOOD, BAD)) for _ in range(count)]
    return [Row(toy_text(rng, label), label, number) for number, label in enumerate(labels, 2)]


def write_csv(path: Path, rows: list[Row]) -> Path:
    """`text,label`; the texts hold no commas."""
    path.write_text("text,label\n" + "".join(f"{row.text},{row.label}\n" for row in rows), encoding="utf-8")
    return path
