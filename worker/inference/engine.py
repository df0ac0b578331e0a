"""One ONNX Runtime session that all slots share: sequences of token ids in, output rows in the same order out.

Sequences are sorted by length and run in small groups of like length: on a CPU, padding is what costs, and a small run
stays in the cache. What the ids mean and what becomes of the rows is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from schemas.errors import InferenceError, ModelError
from worker.inference.plan import plan
from worker.inference.providers import CPU, execution_providers
from worker.inference.run_tally import RunTally
from worker.inference.tokenizer import IdArray

Rows = npt.NDArray[np.float32]

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
EMBEDDING, LOGITS = "embedding", "logits"
_KNOWN_INPUTS = frozenset([IDS, MASK, TYPES])
_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FLOATS = frozenset(["tensor(float)", "tensor(float16)", "tensor(double)"])
_ERRORS = (
    ort.EPFail,
    ort.EngineError,
    ort.Fail,
    ort.InvalidArgument,
    ort.InvalidGraph,
    ort.InvalidProtobuf,
    ort.ModelRequiresCompilation,
    ort.NoModel,
    ort.NoSuchFile,
    ort.NotFound,
    ort.NotImplemented,
    ort.RuntimeException,
)
"""ONNX Runtime's errors have no common base but Exception."""


class Engine:
    """`outputs` names what `run` gives: `embedding` [N, H], `logits` [N, labels], or both."""

    def __init__(
        self,
        path: Path,
        *,
        run_tokens: int,
        threads: int = 1,
        pad_id: int = 0,
        tally: RunTally | None = None,
        provider: str = CPU,
    ) -> None:
        """`tally` counts the runs; `provider` is one of `worker.inference.providers`.

        Raises ModelError if ONNX Runtime refuses the file, lacks the provider, or inputs or outputs are not as
        expected.
        """
        providers = execution_providers(provider, threads)
        try:
            self._session = onnxruntime.InferenceSession(path, _options(threads), providers=providers)
        except (*_ERRORS, ValueError, RuntimeError) as error:  # ValueError: names in the graph that are not UTF-8
            raise ModelError(f"{path}: ONNX Runtime refuses it: {error}") from error
        _give_back_memory()
        inputs = {node.name: node.type for node in self._session.get_inputs()}
        if IDS not in inputs or not inputs.keys() <= _KNOWN_INPUTS or not set(inputs.values()) <= _INTEGERS.keys():
            raise ModelError(
                f"{path}: takes {inputs}; an encoder takes integers named {IDS} and, if it wants, {MASK} and {TYPES}"
            )
        outputs = {node.name: node.type for node in self._session.get_outputs() if node.name in (EMBEDDING, LOGITS)}
        if not set(outputs.values()) <= _FLOATS:
            raise ModelError(f"{path}: gives {outputs}; they must be tensors of floats")
        self.outputs = tuple(outputs)
        if not self.outputs:
            raise ModelError(f"{path}: gives neither {EMBEDDING!r} nor {LOGITS!r}")
        self._types = {name: _INTEGERS[kind] for name, kind in inputs.items()}
        self._run_tokens = run_tokens
        self._pad_id = pad_id
        self._by = "" if provider == CPU else f" with FENLIU_PROVIDER={provider}"
        self._tally = tally or RunTally()

    def run(self, sequences: Sequence[IdArray], first_tokens: Sequence[int] | None = None) -> dict[str, Rows]:
        """Output rows of each of one or more sequences, in order, by output name. Threads may call it at once.

        `first_tokens`: of sequences that are pairs, how many tokens are of type 0; those after them are of type 1.
        Raises InferenceError if ONNX Runtime fails or a row is not finite.
        """
        parts: list[list[Rows]] = []
        order: list[int] = []
        for group in plan([len(sequence) for sequence in sequences], self._run_tokens):
            firsts = None if first_tokens is None else [first_tokens[number] for number in group]
            parts.append(self._run_padded([sequences[number] for number in group], firsts))
            order.extend(group)
        back = np.argsort(np.array(order, dtype=np.intp))
        return {
            name: np.concatenate([part[number] for part in parts])[back] for number, name in enumerate(self.outputs)
        }

    def _run_padded(self, sequences: Sequence[IdArray], first_tokens: Sequence[int] | None) -> list[Rows]:
        length = max(len(sequence) for sequence in sequences)
        ids = np.full((len(sequences), length), self._pad_id, dtype=self._types[IDS])
        mask = np.zeros((len(sequences), length), dtype=self._types.get(MASK, np.int64))
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        feed = {IDS: ids, MASK: mask}
        if TYPES in self._types:
            types = np.zeros_like(ids, dtype=self._types[TYPES])
            for row, first in enumerate(first_tokens or ()):
                types[row, first : len(sequences[row])] = 1
            feed[TYPES] = types
        try:
            rows: list[Rows] = self._session.run(
                list(self.outputs), {name: values for name, values in feed.items() if name in self._types}
            )
        except _ERRORS as error:
            raise InferenceError(f"ONNX Runtime failed{self._by} on {len(ids)} x {length} tokens: {error}") from error
        for name, values in zip(self.outputs, rows, strict=True):
            if values.ndim != 2 or len(values) != len(sequences):
                raise InferenceError(
                    f"the model gave {name} of the shape {values.shape} for {len(sequences)} sequences"
                )
            if not np.isfinite(values).all():
                raise InferenceError(f"the model gave no finite {name} for {ids.shape[0]} x {length} tokens")
        tokens = sum(map(len, sequences))
        self._tally.ran(len(sequences), tokens, ids.size - tokens)
        return rows


def _options(threads: int) -> onnxruntime.SessionOptions:
    """How every session runs: `threads` threads of its own for one run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A thread that spins between two operators takes its CPU from the slot beside it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Patterns are kept per input shape, and with texts there are thousands of shapes.
    options.enable_mem_pattern = False
    return options


def _give_back_memory() -> None:
    """What loading took and freed goes back to the system: the weights of a base-size INT8 model stand in memory twice
    while they are packed, and glibc would keep the 56 MiB."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # another C library has no such function
            ctypes.CDLL(None).malloc_trim(0)
