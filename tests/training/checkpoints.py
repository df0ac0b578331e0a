"""ModelScope checkpoints on disk, made from a seed: those on which `modelscope/reference.json` was recorded."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent / "modelscope"
HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 64, 2, 4, 128, 512
SENTIMENT_LABELS = {"负面": 0, "正面": 1}
NLI_LABELS = {"entailment": 0, "neutral": 1, "contradiction": 2}
Weights = dict[str, np.ndarray]


def reference() -> dict[str, Any]:
    """What ModelScope answered."""
    return json.loads((HERE / "reference.json").read_text(encoding="utf-8"))


def weights(kind: str) -> Weights:
    """The tensors of `sentiment` or `zero_shot` by transformers' names without a prefix, in the order of the draws."""
    recorded = reference()
    draws = np.random.RandomState(recorded["seed"] + (kind == "zero_shot"))

    def drawn(*shape: int, std: float = 0.2, mean: float = 0.0) -> np.ndarray:
        return (draws.standard_normal(shape) * std + mean).astype(np.float32)

    found: Weights = {"embeddings.position_ids": np.arange(POSITIONS, dtype=np.int64)[None, :]}
    for table, rows, std in (
        ("word", recorded["vocab_size"], 1.0),
        ("position", POSITIONS, 0.3),
        ("token_type", 2, 0.5),
    ):
        found[f"embeddings.{table}_embeddings.weight"] = drawn(rows, HIDDEN, std=std)

    def norm(name: str) -> None:
        found[f"{name}.LayerNorm.weight"] = drawn(HIDDEN, std=0.1, mean=1.0)
        found[f"{name}.LayerNorm.bias"] = drawn(HIDDEN, std=0.1)

    def dense(name: str, rows: int, columns: int, std: float = 0.2) -> None:
        found[f"{name}.weight"] = drawn(rows, columns, std=std)
        found[f"{name}.bias"] = drawn(rows, std=0.1)

    norm("embeddings")
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        for part in ("query", "key", "value"):
            dense(f"{layer}.attention.self.{part}", HIDDEN, HIDDEN)
        dense(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
        norm(f"{layer}.attention.output")
        dense(f"{layer}.intermediate.dense", INNER, HIDDEN)
        dense(f"{layer}.output.dense", HIDDEN, INNER)
        norm(f"{layer}.output")
    dense("pooler.dense", HIDDEN, HIDDEN)
    dense("classifier", len(SENTIMENT_LABELS if kind == "sentiment" else NLI_LABELS), HIDDEN, std=0.3)
    return found


def digest(found: Weights) -> str:
    """As `tensors_sha256` in the reference."""
    whole = hashlib.sha256()
    for name, values in found.items():
        whole.update(name.encode())
        whole.update(values.tobytes())
    return whole.hexdigest()


def config() -> dict[str, Any]:
    """config.json as ModelScope's StructBERT has it: without a model_type."""
    return {
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": reference()["vocab_size"],
    }


def configuration(kind: str, *, backbone: bool = False) -> dict[str, Any]:
    """configuration.json; with `backbone` as ModelScope's task models have it."""
    if kind == "zero_shot":
        return {
            "framework": "pytorch",
            "task": "zero-shot-classification",
            "preprocessor": {"type": "zero-shot-cls-tokenizer"},
            "model": {"type": "structbert"},
            "pipeline": {"type": "zero-shot-classification"},
        }
    model = {"type": "text-classification", "backbone": {**config(), "type": "structbert", "prefix": "encoder"}}
    return {
        "framework": "pytorch",
        "task": "text-classification",
        "preprocessor": {"val": {"type": "sen-cls-tokenizer", "first_sequence": "sentence"}},
        "pipeline": {"type": "sentiment-classification"},
        "model": model if backbone else {"type": "structbert"},
    }


def prefixed(prefix: str, head: str = "") -> Callable[[str], str]:
    """A key layout: `prefix` before the trunk's names, `head` before the classifier's."""
    return lambda name: head + name if name.startswith("classifier.") else prefix + name


def write(
    folder: Path,
    kind: str,
    *,
    named: Callable[[str], str] = prefixed("bert."),  # noqa: B008
    backbone: bool = False,
    **changes: Any,
) -> Path:
    """A ModelScope checkpoint; `changes` replace fields of config.json, None removes one."""
    folder.mkdir(parents=True)
    state = {named(name): torch.from_numpy(values.copy()) for name, values in weights(kind).items()}
    torch.save(state, folder / "pytorch_model.bin")
    shutil.copyfile(HERE / "vocab.txt", folder / "vocab.txt")
    fields = config()
    if kind == "zero_shot":
        fields |= {"label2id": NLI_LABELS, "id2label": {str(index): label for label, index in NLI_LABELS.items()}}
    else:
        put(folder / "label_mapping.json", SENTIMENT_LABELS)
    put(folder / "config.json", {name: value for name, value in (fields | changes).items() if value is not None})
    put(folder / "configuration.json", configuration(kind, backbone=backbone))
    return folder


def put(path: Path, content: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
