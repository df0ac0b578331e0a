"""The search for the fastest INT8 that does not depend on batch-mates: speed, batch-dependence and size of each form.

    python -m benchmarks quantization
    python -m benchmarks.quantization [--rounds 5] [--shapes base,4x384,4x312]

Encoders with random weights, 16 texts of 32 tokens, two ways: one run on two threads, and two slots that share a
session of one thread each, as the worker has them. Every form is measured once per round, so that a machine that slows
down slows them all; ratios are taken inside a round. Processor time stands beside the clock's, for machines with
company. About fifteen minutes on two cores, and 8 GB of memory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from benchmarks.encoder_graph import VOCABULARY, Shape, encoder
from benchmarks.machine import write_result
from benchmarks.quantization_forms import Form, forms

SHAPES = {
    shape.name: shape
    for shape in (
        Shape("base", 12, 768, 12, 3072),
        Shape("6x384", 6, 384, 12, 1536),
        Shape("4x384", 4, 384, 12, 1536),
        Shape("4x312", 4, 312, 12, 1200),
    )
}
TEXTS, TOKENS, SLOTS = 16, 32, 2
_LEAST_S = 0.4
_MIXED_TEXTS, _MOST_TOKENS = 12, 150

Feed = dict[str, npt.NDArray[np.int64]]


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", default="base,4x384,4x312", help=f"of {', '.join(SHAPES)}")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.shapes.split(",") if name not in SHAPES]
    if unknown:
        parser.error(f"unknown shape {unknown[0]!r}; known: {', '.join(SHAPES)}")
    shapes = [measure(SHAPES[name], options.rounds) for name in options.shapes.split(",")]
    write_result(
        "quantization", {"texts": TEXTS, "tokens": TOKENS, "slots": SLOTS, "rounds": options.rounds, "shapes": shapes}
    )


def measure(shape: Shape, rounds: int) -> dict[str, Any]:
    """Every form at one shape."""
    found = {form.name: _Measured(form, shape) for form in forms()}
    for _ in range(rounds):
        for measured in found.values():
            measured.once()
    first = next(iter(found.values()))
    return {"shape": shape.name, "forms": [measured.row(first) for measured in found.values()]}


class _Measured:
    def __init__(self, form: Form, shape: Shape) -> None:
        self.form = form
        graph = form.make(encoder(shape, form.parts)).SerializeToString()
        self.bytes = len(graph)
        self.wide, self.narrow = session(graph, SLOTS), session(graph, 1)
        self.largest_difference = largest_difference(self.narrow)
        rng = np.random.default_rng(1)
        ids = rng.integers(5, VOCABULARY, (TEXTS, TOKENS))
        self.feed: Feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        self.one_run: list[float] = []
        self.slots: list[float] = []
        self.processor_ms: list[float] = []

    def once(self) -> None:
        """One round."""
        self.one_run.append(texts_per_s(lambda: self.wide.run(None, self.feed)))
        start = time.process_time()
        runs, seconds = in_slots(lambda: self.narrow.run(None, self.feed))
        self.slots.append(runs * TEXTS / seconds)
        self.processor_ms.append((time.process_time() - start) / runs / TEXTS * 1e3)

    def row(self, base: _Measured) -> dict[str, Any]:
        """Medians, and the raw figures."""
        return {
            "form": self.form.name,
            "note": self.form.note,
            "ratio_one_run": _ratio(self.one_run, base.one_run),
            "ratio_slots": _ratio(self.slots, base.slots),
            "ratio_processor": _ratio(base.processor_ms, self.processor_ms),
            "one_run_texts_per_s": _rounded(self.one_run),
            "slots_texts_per_s": _rounded(self.slots),
            "processor_ms_per_text": [round(value, 4) for value in self.processor_ms],
            "largest_difference": float(f"{self.largest_difference:.1e}"),
            "megabytes": round(self.bytes / 1e6, 1),
        }


def session(graph: bytes, threads: int) -> Any:
    """As the worker makes one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def texts_per_s(run: Callable[[], object]) -> float:
    """Of one run after the other, for a while."""
    run()
    runs, start = 0, time.perf_counter()
    while runs == 0 or time.perf_counter() - start < _LEAST_S:
        run()
        runs += 1
    return runs * TEXTS / (time.perf_counter() - start)


def in_slots(run: Callable[[], object]) -> tuple[int, float]:
    """Runs, and the seconds they took, of SLOTS threads for a while."""
    start = time.perf_counter()

    def slot(_: int) -> int:
        runs = 0
        while runs == 0 or time.perf_counter() - start < _LEAST_S:
            run()
            runs += 1
        return runs

    with ThreadPoolExecutor(SLOTS) as pool:
        runs = sum(pool.map(slot, range(SLOTS)))
    return runs, time.perf_counter() - start


def largest_difference(found: Any) -> float:
    """Of any output between a text alone and the same text in batches of any size, padded in several ways."""
    rng = np.random.default_rng(2)
    texts = [rng.integers(5, VOCABULARY, length) for length in rng.integers(2, _MOST_TOKENS, _MIXED_TEXTS)]
    alone = [_run(found, [text], len(text)) for text in texts]
    worst = 0.0
    for size, padding in ((2, 0), (5, 3), (len(texts), 0), (len(texts), 17)):
        order = rng.permutation(len(texts))
        for start in range(0, len(texts), size):
            group = order[start : start + size]
            together = _run(found, [texts[number] for number in group], max(len(texts[n]) for n in group) + padding)
            for row, number in enumerate(group):
                for output, expected in zip(together, alone[number], strict=True):
                    worst = max(worst, float(np.abs(output[row] - expected[0]).max()))
    return worst


def _run(found: Any, texts: Sequence[npt.NDArray[np.int64]], length: int) -> list[npt.NDArray[np.float32]]:
    ids = np.ones((len(texts), length), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    outputs: list[npt.NDArray[np.float32]] = found.run(None, {"input_ids": ids, "attention_mask": mask})
    return outputs


def _ratio(values: Sequence[float], base: Sequence[float]) -> float:
    return round(statistics.median(value / other for value, other in zip(values, base, strict=True)), 2)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 1) for value in values]


if __name__ == "__main__":
    main(sys.argv[1:])
