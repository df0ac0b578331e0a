"""Logits of the model's own labels to probabilities. Joining windows and ranking is `worker.inference.scores`'."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from worker.inference.scores import Array, softmax


def probabilities(logits: npt.NDArray[np.float32], temperature: float) -> Array:
    """Softmax of `logits / temperature`, row by row: [windows, labels] to [windows, labels].

    Temperature scaling after Guo et al., "On Calibration of Modern Neural Networks" (2017).
    """
    return softmax(logits.astype(np.float64) / temperature)
