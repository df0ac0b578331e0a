"""What it takes to load a model, and what it then holds: weights read, memory-mapped, and packed ahead of time.

    python -m benchmarks.engine_loading [--rounds 5] [--shape base] [--dry]

An INT8 encoder with random weights in several files on one disk, each loaded in a process of its own, in turn. The
table goes into docs/quantization.md. Files that onnxruntime packs ahead are for the kind of processor that packed them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import onnxruntime
import psutil

from benchmarks.encoder_graph import encoder
from benchmarks.machine import keep_result
from benchmarks.operators import feed
from benchmarks.quantization_forms import calibrated
from benchmarks.random_model import SHAPES
from training.quantize import Quantization

TEXTS, TOKENS, RUNS = 8, 64, 3
_PACKED = {
    "session.save_external_prepacked_constant_initializers": "1",
    "session.optimized_model_external_initializers_file_name": "packed.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
}
_MAPPED = {"session.use_memory_mapped_ort_model": "1", "session.use_ort_model_bytes_for_initializers": "1"}


@dataclass(frozen=True)
class Way:
    """A file, how it is made from the plain one, and how it is loaded; session entries by name."""

    name: str
    what: str
    file: str
    made: dict[str, str] | None
    loaded: dict[str, str]


WAYS = (
    Way("plain", "the ONNX file, as a worker loads it", "model.onnx", None, {}),
    Way("ort", "onnxruntime's own format", "model.ort", {"session.save_model_format": "ORT"}, {}),
    Way("mapped", "the same, memory-mapped, weights used where they lie", "model.ort", None, _MAPPED),
    Way("packed", "weights packed ahead in a file beside it, memory-mapped", "packed.onnx", _PACKED, {}),
)


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.shape, options.rounds)
    print(json.dumps(result["ways"], indent=2))  # noqa: T201 - a command's output
    keep_result("engine_loading", result, dry=options.dry)


def measure(folder: Path, shape: str, rounds: int) -> dict[str, Any]:
    """Every way in turn, a process each; `exit_code` for one in which that ends."""
    graph = calibrated(Quantization(improve=False, compensate=False))(encoder(SHAPES[shape]))
    (folder / WAYS[0].file).write_bytes(graph.SerializeToString())
    for way in WAYS:
        if way.made is not None:
            onnxruntime.InferenceSession(folder / WAYS[0].file, _options(way.made, folder / way.file))
    found: dict[str, list[dict[str, float]]] = {way.name: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            found[way.name].append(_in_a_process(folder / way.file, way.loaded))
    return {
        "shape": shape,
        "rounds": rounds,
        "version": onnxruntime.__version__,
        "run": [TEXTS, TOKENS],
        "ways": [
            {"name": way.name, "what": way.what}
            | {name: statistics.median(one[name] for one in found[way.name]) for name in found[way.name][0]}
            | {"rounds": found[way.name]}
            for way in WAYS
        ],
    }


def _options(entries: dict[str, str], optimized: Path | None = None) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return options


def _in_a_process(file: Path, entries: dict[str, str]) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_load, args=(theirs, file, entries))
    process.start()
    theirs.close()
    try:
        found: dict[str, float] = ours.recv()
    except EOFError:
        process.join()
        return {"exit_code": float(process.exitcode or 0)}
    process.join()
    return found


def _load(connection: Connection, file: Path, entries: dict[str, str]) -> None:
    """Seconds of loading, MiB of its own and of files that it holds after some runs, processor ms of a run."""
    fed = feed(TEXTS, TOKENS)
    before = psutil.Process().memory_info()
    begun_s = time.perf_counter()
    session = onnxruntime.InferenceSession(file, _options(entries), providers=["CPUExecutionProvider"])
    load_s = time.perf_counter() - begun_s
    session.run(None, fed)
    took_ms = []
    for _ in range(RUNS):
        before_s = time.process_time()
        session.run(None, fed)
        took_ms.append((time.process_time() - before_s) * 1000)
    now = psutil.Process().memory_info()
    shared = now.shared - before.shared
    connection.send(
        {
            "load_s": load_s,
            "own_mib": (now.rss - before.rss - shared) / 2**20,
            "of_files_mib": shared / 2**20,
            "run_ms": min(took_ms),
        }
    )


if __name__ == "__main__":
    main(sys.argv[1:])
