"""Raw outputs of an ONNX graph for many texts, through the product's own tokenizer, windows and engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from worker.inference.engine import Engine
from worker.inference.tokenizer import TextTokenizer
from worker.inference.windows import weights, windows

Rows = npt.NDArray[np.float32]
RUN_TOKENS = 512


class Runner:
    """A graph and its tokenizer. Texts longer than `max_tokens` are cut into windows whose outputs are averaged."""

    def __init__(self, graph: Path, tokenizer: Path, max_tokens: int, threads: int = 2) -> None:
        self._tokenizer = TextTokenizer.load(tokenizer)
        self._engine = Engine(graph, run_tokens=RUN_TOKENS, threads=threads, pad_id=self._tokenizer.pad_id)
        self._max_tokens = max_tokens

    def outputs(self, texts: Sequence[str], prefix: str = "") -> dict[str, Rows]:
        """`embedding` [N, H] of length 1 and `logits` [N, labels] of the texts, in their order."""
        head, tail = self._tokenizer.head, self._tokenizer.tail
        if prefix:
            head = np.concatenate((head, self._tokenizer.encode([prefix])[0]))
        parts = [windows(ids, head, tail, self._max_tokens) for ids in self._tokenizer.encode(texts)]
        rows = self._engine.run([window for part in parts for window in part])
        shares = [np.array(weights(part, len(head) + len(tail)), np.float32) for part in parts]
        starts = np.concatenate(([0], np.cumsum([len(part) for part in parts])[:-1]))
        spread = np.concatenate([share / share.sum() for share in shares])[:, None]
        joined = {name: np.add.reduceat(values * spread, starts, axis=0) for name, values in rows.items()}
        joined["embedding"] /= np.linalg.norm(joined["embedding"], axis=1, keepdims=True)
        return joined
