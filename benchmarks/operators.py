"""What a run of the shipped model goes to, operator by operator, and how near its products come to the machine's peak.

    python -m benchmarks.operators [--rounds 5] [--runs 20]

One thread. The profile is onnxruntime's own; the time of a whole run is processor time without the profiler, the best
round of several. The peaks are those of large matrices, in multiplications with addition (GMAC) a second, measured in
turn with the runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.machine import write_result
from schemas.manifest import MODEL_FILE
from schemas.settings import load_settings
from worker.inference.folder import find, model_homes

RUNS = ((16, 32), (8, 64), (4, 128))
"""Texts and tokens of each: 512 tokens, the default run."""
PEAK_SIZE = 1024
PRODUCT = "MatMulIntegerToFloat"
_TOKEN_IDS = 20_000

Feed = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Measured:
    """Something to run, and the processor seconds of one run in each round."""

    run: Callable[[], object]
    runs: int
    seconds: list[float]

    def once(self) -> None:
        """One round."""
        self.run()
        start = time.process_time()
        for _ in range(self.runs):
            self.run()
        self.seconds.append((time.process_time() - start) / self.runs)


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=20, help="runs of the model in a round, and in the profile")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    settings = load_settings()
    result = measure(find(settings.model, model_homes(settings.models_home)), options.rounds, options.runs)
    if options.dry:
        print(json.dumps(result, indent=2))  # noqa: T201 - a command's output
    else:
        write_result("operators", result)


def measure(folder: Path, rounds: int, runs: int) -> dict[str, Any]:
    """Profiles, times and peaks for the model of a folder."""
    path = folder / MODEL_FILE
    model = onnx.load(path)
    plain = session(path)
    peaks = {name: Measured(run, 4, []) for name, run in (("fp32", _fp32_product()), ("int8", _int8_product()))}
    shapes = {shape: Measured(_runner(plain, feed(*shape)), runs, []) for shape in RUNS}
    for _ in range(rounds):
        for measured in (*peaks.values(), *shapes.values()):
            measured.once()
    peak = {name: PEAK_SIZE**3 / min(measured.seconds) / 1e9 for name, measured in peaks.items()}
    return {
        "model": "/".join(folder.parts[-2:]),
        "peak_size": PEAK_SIZE,
        "peak_gmac_per_s": {name: round(value, 1) for name, value in peak.items()},
        "peak_seconds": {name: measured.seconds for name, measured in peaks.items()},
        "runs": [_row(path, model, shape, measured, peak["int8"]) for shape, measured in shapes.items()],
    }


def _row(path: Path, model: ModelProto, shape: tuple[int, int], measured: Measured, peak: float) -> dict[str, Any]:
    operators = profile(path, feed(*shape), measured.runs)
    share = operators.get(PRODUCT, {"share": 0.0})["share"]
    gmac = product_macs(model) * shape[0] * shape[1] / 1e9
    run_s = min(measured.seconds)
    return {
        "texts": shape[0],
        "tokens": shape[1],
        "run_ms": round(run_s * 1e3, 3),
        "seconds": measured.seconds,
        "product_gmac": round(gmac, 4),
        "peak_share_of_run": round(gmac / run_s / peak, 3),
        "peak_share_of_products": round(gmac / (run_s * share) / peak, 3) if share else None,
        "operators": operators,
    }


def product_macs(model: ModelProto) -> int:
    """Multiplications with addition in the integer products, for one token; the head's, one row a text, left out."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    names = [node.input[1] for node in model.graph.node if node.op_type == PRODUCT]
    return sum(sizes[name] for name in names if not name.startswith("head."))


def profile(path: Path, fed: Feed, runs: int) -> dict[str, dict[str, float]]:
    """Share of a run's time and calls by operator, those that take most first."""
    with tempfile.TemporaryDirectory() as scratch:
        profiled = session(path, profile_prefix=str(Path(scratch) / "profile"))
        profiled.run(None, fed)
        for _ in range(runs):
            profiled.run(None, fed)
        events = json.loads(Path(profiled.end_profiling()).read_text(encoding="utf-8"))
    took: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            took[event["args"]["op_name"]] += event["dur"]
            calls[event["args"]["op_name"]] += 1
    total = sum(took.values())
    return {
        name: {"share": round(duration / total, 4), "calls": calls[name] // (runs + 1)}
        for name, duration in took.most_common()
    }


def session(model: Path | bytes, *, profile_prefix: str = "") -> Any:
    """As the worker makes one, of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False
    if profile_prefix:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feed(texts: int, tokens: int) -> Feed:
    """Random ids without padding."""
    ids = np.random.default_rng(1).integers(5, _TOKEN_IDS, (texts, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _runner(found: Any, fed: Feed) -> Callable[[], object]:
    return lambda: found.run(None, fed)


def _fp32_product() -> Callable[[], object]:
    rng = np.random.default_rng(2)
    left, right = (rng.normal(size=(PEAK_SIZE, PEAK_SIZE)).astype(np.float32) for _ in range(2))
    return _product("MatMul", left, {"right": right}, TensorProto.FLOAT)


def _int8_product() -> Callable[[], object]:
    rng = np.random.default_rng(2)
    left = rng.integers(0, 256, (PEAK_SIZE, PEAK_SIZE)).astype(np.uint8)
    right = rng.integers(-63, 64, (PEAK_SIZE, PEAK_SIZE)).astype(np.int8)
    return _product("MatMulInteger", left, {"right": right, "zero": np.array(128, np.uint8)}, TensorProto.INT32)


def _product(op_type: str, left: npt.NDArray[Any], constants: Feed, kind: int) -> Callable[[], object]:
    node = helper.make_node(op_type, ["left", *constants], ["product"])
    given = helper.make_tensor_value_info("left", helper.np_dtype_to_tensor_dtype(left.dtype), left.shape)
    made = helper.make_tensor_value_info("product", kind, [PEAK_SIZE, PEAK_SIZE])
    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph([node], "product", [given], [made], tensors)
    opsets = [helper.make_opsetid("", 20)]
    return _runner(
        session(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()), {"left": left}
    )


if __name__ == "__main__":
    main(sys.argv[1:])
