"""The shipped INT8 graph's weights as floats under the names that transformers gives a BERT's: for peers in PyTorch.

Each matrix is its int8 levels times its columns' scales, and times the factors that smoothing moved into it; the export
folds attention's 1 / sqrt(width of a head) into the query, which is taken out again. Nothing else is changed, so the
logits differ from the graph's only by what rounding activations does. (`training.graph_weights` spreads the
levels with noise, to train on; a comparison wants them as they are.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from training.graph_constants import GraphConstants

Array = npt.NDArray[np.float32]


def float_weights(path: Path, heads: int) -> dict[str, Array]:
    """Tensors of BERT's trunk under `bert.` and of Fenliu's head under `head.`, as torch lays them out.

    `heads`: attention heads, which the constants do not tell. Raises ModelError that names what the graph lacks.
    """
    return GraphConstants(path, onnx.load(path), spread=False).state("bert", heads)


def bert_sizes(weights: dict[str, Array], heads: int) -> dict[str, Any]:
    """The sizes that a BertConfig wants for these tensors."""
    words, positions = (weights[f"bert.embeddings.{name}_embeddings.weight"] for name in ("word", "position"))
    layers = {name.split(".")[3] for name in weights if name.startswith("bert.encoder.layer.")}
    return {
        "vocab_size": len(words),
        "hidden_size": words.shape[1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": heads,
        "intermediate_size": len(weights["bert.encoder.layer.0.intermediate.dense.bias"]),
        "max_position_embeddings": len(positions),
    }
