"""Float weights to integers so that products keep their values: GPTQ (arXiv 2210.17323).

Rounded to the nearest, every weight is off by up to half a step, and on the inputs that occur those errors add up. Here
rows are rounded one after the other, and what each leaves is made good by the rows still to come, as far as the inputs'
correlations allow. It costs nothing when the model runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK_ROWS = 128
_DAMPING = 0.01

Matrix = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int8]


def nearest(matrix: Matrix, scale: Matrix, levels: int) -> Integers:
    """int8 [K, N] of a matrix [K, N] with a scale for each column [N]."""
    integers: Integers = np.clip(np.rint(matrix / scale), -levels, levels).astype(np.int8)
    return integers


def compensated(matrix: Matrix, scale: Matrix, levels: int, gram: npt.NDArray[np.floating[Any]]) -> Integers:
    """Like `nearest`, for inputs whose products with each other summed up to `gram` [K, K]."""
    damped = gram.astype(np.float64) + np.eye(len(gram)) * max(_DAMPING * float(np.diag(gram).mean()), 1e-12)
    # Upper triangular: row k tells how the rows below take over what row k's rounding leaves.
    shares = np.linalg.cholesky(np.linalg.inv(damped)).T
    left = matrix.astype(np.float64)
    found = np.empty(matrix.shape, np.int8)
    for start in range(0, len(left), _BLOCK_ROWS):
        end = min(start + _BLOCK_ROWS, len(left))
        errors = np.empty((end - start, left.shape[1]))
        for row in range(start, end):
            found[row] = np.clip(np.rint(left[row] / scale), -levels, levels)
            errors[row - start] = (left[row] - found[row] * scale) / shares[row, row]
            left[row + 1 : end] -= np.outer(shares[row, row + 1 : end], errors[row - start])
        left[end:] -= shares[start:end, end:].T @ errors
    return found
