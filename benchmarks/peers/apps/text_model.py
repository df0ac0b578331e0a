"""The ONNX session as somebody writes it who has a model file: a tokenizer, a session, softmax.

One thread per run and no spinning, as ONNX Runtime's documentation has it for several runs at once: the workers'
threads or processes are what uses the CPUs, as Fenliu's slots are.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

_lock = threading.Lock()
_loaded: dict[Path, TextModel] = {}


class TextModel:
    """Threads may share one."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        config = json.loads((folder / "config.json").read_text("utf-8"))
        limits = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        self._labels = [config["id2label"][str(number)] for number in range(len(config["id2label"]))]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(limits["model_max_length"])
        self._tokenizer.enable_padding(pad_id=config["pad_token_id"], pad_token=limits["pad_token"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(folder / "model.onnx", options)

    def classify(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """Label and score of each text, in one run, padded to the longest."""
        encoded = self._tokenizer.encode_batch(list(texts))
        feed = {
            "input_ids": np.array([text.ids for text in encoded], np.int64),
            "attention_mask": np.array([text.attention_mask for text in encoded], np.int64),
        }
        [logits] = self._session.run(["logits"], feed)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        scores = powers / powers.sum(axis=-1, keepdims=True)
        best = scores.argmax(axis=-1)
        return [(self._labels[label], float(row[label])) for row, label in zip(scores, best, strict=True)]


def loaded(folder: Path) -> TextModel:
    """The folder's model, read once in this process: by the first task, so after a fork if there is one."""
    with _lock:
        if folder not in _loaded:
            _loaded[folder] = TextModel(folder)
        return _loaded[folder]
