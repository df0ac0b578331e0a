"""Fenliu's model as the peers want it: `config.json`, tokenizer, `model.onnx`, and float weights for PyTorch."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from benchmarks.encoder_graph import Shape
from benchmarks.peers.dequantize import bert_sizes, float_weights
from schemas.manifest import MODEL_FILE, TOKENIZER_FILE, read_manifest

WEIGHTS_FILE = "weights.npz"
SHIPPED_HEADS = 12
_SPECIAL = {"pad_token": ("<pad>", "[PAD]"), "unk_token": ("<unk>", "[UNK]")}
"""Spellings of special tokens; Fenliu's own vocabularies put a space before them, so that no text has them."""


def random_shape(source: Path, shape: Shape) -> Shape:
    """The shape with as many words as the tokenizer beside the graph has."""
    return replace(shape, vocabulary=Tokenizer.from_file(str(source / TOKENIZER_FILE)).get_vocab_size())


def write(source: Path, target: Path, shape: Shape | None = None) -> Path:
    """A folder as transformers and optimum read it, from a Fenliu model folder. Returns `target`.

    With `shape`, the graph has random weights: those of PyTorch are then other random ones of the same sizes, and only
    speed can be compared. Raises ModelError where the graph's weights cannot be read.
    """
    manifest = read_manifest(source)
    target.mkdir(parents=True)
    shutil.copy(source / MODEL_FILE, target / MODEL_FILE)
    shutil.copy(source / TOKENIZER_FILE, target / TOKENIZER_FILE)
    if shape:
        sizes = {
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "intermediate_size": shape.ffn,
            "max_position_embeddings": 512,
        }
    else:
        weights = float_weights(source / MODEL_FILE, SHIPPED_HEADS)
        sizes = bert_sizes(weights, SHIPPED_HEADS)
        with (target / WEIGHTS_FILE).open("wb") as file:
            np.savez(file, allow_pickle=False, **weights)
    known = Tokenizer.from_file(str(source / TOKENIZER_FILE)).get_vocab()
    special = {kind: next(token for token in known if token.strip() in names) for kind, names in _SPECIAL.items()}
    config = sizes | {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "layer_norm_eps": 1e-12,
        "pad_token_id": known[special["pad_token"]],
        "id2label": {str(number): label for number, label in enumerate(manifest.labels)},
        "label2id": {label: number for number, label in enumerate(manifest.labels)},
    }
    tokenizer_config = special | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": manifest.max_tokens,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    for name, content in (("config.json", config), ("tokenizer_config.json", tokenizer_config)):
        (target / name).write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
    return target
