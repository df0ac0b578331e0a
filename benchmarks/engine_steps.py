"""What each step beyond the products is worth: graph passes and session options, one after the other, and providers.

    python -m benchmarks.engine_steps [--rounds 25] [--runs 1] [--provider openvino]

An encoder of the shipped model's shape with random weights, INT8 as `training.quantize` makes it; one thread. Every
variant runs once per round, by processor time; ratios are taken inside a round against the variant named as its base.
Each has two sessions, for the same graph differs by a few percent with where its memory happens to lie.
With `--provider` the same graphs run with that provider of onnxruntime and with the CPU's, in an environment that has
it; what a provider refuses is said with its message. The tables go into docs/quantization.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto

from benchmarks.encoder_graph import VOCABULARY, Shape, encoder
from benchmarks.machine import write_result
from benchmarks.operators import RUNS, Measured, feed
from benchmarks.quantization import largest_difference
from benchmarks.quantization_forms import calibrated
from schemas.errors import ModelError
from training import graph_passes
from training.graph_edit import GraphEdit
from training.quantize import Quantization
from worker.inference.providers import CPU, execution_providers

SHAPE = Shape("4x384 of 1,024", 4, 384, 12, 1024)
_CALIBRATION_TEXTS, _CALIBRATION_TOKENS = 8, 24
_LONGEST_MESSAGE = 120
_SESSIONS = 2


@dataclass(frozen=True)
class Step:
    """A graph and how it is run, told against the step named `base`. `predicted`: of a run's time, before measuring."""

    name: str
    base: str
    what: str
    predicted: str
    kept: str
    graph: Callable[[ModelProto], ModelProto] = lambda model: model
    options: Callable[[onnxruntime.SessionOptions], None] = lambda _: None
    entries: Mapping[str, str] = field(default_factory=dict)
    from_fp32: bool = False


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--runs", type=int, default=1, help="runs of each variant in a round")
    parser.add_argument("--provider", default="", help="compare this provider with the CPU's instead, e.g. openvino")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    size = (options.rounds, options.runs)
    try:
        rows = compare(options.provider, *size) if options.provider else measure(steps(), *size)
    except ModelError as error:
        parser.error(str(error))
    name = f"engine_{options.provider}" if options.provider else "engine_steps"
    result = {"shape": SHAPE.name, "rounds": options.rounds, "version": onnxruntime.__version__, "steps": rows}
    if options.dry:
        print(json.dumps(result, indent=2))  # noqa: T201 - a command's output
    else:
        write_result(name, result)


def steps() -> Sequence[Step]:
    """In the order in which they were tried; graph passes build on one another."""
    clipped, moved = graph_passes.clipped_scores, _both
    everything = _all

    def off(options: onnxruntime.SessionOptions) -> None:
        options.enable_cpu_mem_arena = False

    def pattern(options: onnxruntime.SessionOptions) -> None:
        options.enable_mem_pattern = True

    def basic(options: onnxruntime.SessionOptions) -> None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC

    return (
        Step("static", "static", "products INT8 with static scales", "", "yes"),
        Step("clipped", "static", "no mask, largest and subtraction over scores, clipped", "4 %", "yes", clipped),
        Step("tokens", "clipped", "rows by token, then text: 8 of 16 Transposes go", "4 %", "yes", moved),
        Step("heads", "tokens", "context quantized before its Transpose", "1 %", "yes", everything),
        Step("all", "static", "the three passes together", "9 %", "yes", everything),
        Step("columns", "heads", "outlier columns by a scale per column, no Mul", "2 %", "no", _per_column),
        Step("denormal", "heads", "denormals as zero", "0 %", "no", everything, entries=_entry("set_denormal_as_zero")),
        Step("basic", "heads", "basic graph optimizations only", "-2 %", "no", everything, basic),
        Step("pattern", "heads", "memory patterns kept by shape", "1 %", "no", everything, pattern),
        Step("no-arena", "heads", "without the arena", "-5 %", "no", everything, off),
        Step("unpacked", "heads", "weights not packed", "-5 %", "no", everything, entries=_entry("disable_prepacking")),
        Step("qdq", "heads", "onnxruntime's static QDQ, products only", "0 %", "no", qdq, from_fp32=True),
        Step("qdq-all", "heads", "onnxruntime's static QDQ, every operator", "5 %", "no", qdq_all, from_fp32=True),
    )


def _entry(name: str) -> dict[str, str]:
    return {f"session.{name}": "1"}


def _both(model: ModelProto) -> ModelProto:
    return graph_passes.tokens_first(graph_passes.clipped_scores(model))


def _all(model: ModelProto) -> ModelProto:
    return graph_passes.quantized_heads(_both(model))


def measure(chosen: Sequence[Step], rounds: int, runs: int) -> list[dict[str, Any]]:
    """Milliseconds and ratios of each step at each size of run."""
    fp32 = encoder(SHAPE)
    int8 = calibrated(Quantization(improve=False))(fp32)
    graphs = {step.name: step.graph(fp32 if step.from_fp32 else int8) for step in chosen}
    found = {step.name: [_session(step, graphs[step.name]) for _ in range(_SESSIONS)] for step in chosen}
    times = {
        name: {size: [_one(made, size, runs) for made in sessions] for size in RUNS} for name, sessions in found.items()
    }
    for _ in range(rounds):
        for number in range(_SESSIONS):
            for by_size in times.values():
                for sessions in by_size.values():
                    sessions[number].once()
    return [
        {
            "name": step.name,
            "base": step.base,
            "what": step.what,
            "predicted": step.predicted,
            "kept": step.kept,
            "largest_difference": float(f"{largest_difference(found[step.name][0]):.1e}"),
            "runs": [_ratio(size, times[step.name][size], times[step.base][size]) for size in RUNS],
        }
        for step in chosen
    ]


def compare(provider: str, rounds: int, runs: int) -> list[dict[str, Any]]:
    """FP32, QDQ, INT8 and FP32 on the CPU provider, and on another. Raises ModelError if that is not installed."""
    others = execution_providers(provider, 1)
    fp32 = encoder(SHAPE)
    graphs = {"fp32": fp32, "qdq": qdq(fp32), "qdq-all": qdq_all(fp32), "int8": calibrated()(fp32)}
    rows = []
    for name, graph in graphs.items():
        row: dict[str, Any] = {"name": name, "provider": provider}
        plain = _provided(graph, execution_providers(CPU, 1))
        try:
            other = _provided(graph, others)
            difference = max(
                float(np.abs(a - b).max())
                for a, b in zip(plain.run(None, feed(3, 20)), other.run(None, feed(3, 20)), strict=True)
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common base, and one is a result here
            rows.append(
                row | {"refused": str(error).splitlines()[0].rpartition("Status Message: ")[2][:_LONGEST_MESSAGE]}
            )
            continue
        pairs = {size: (_one(plain, size, runs), _one(other, size, runs)) for size in RUNS}
        for _ in range(rounds):
            for measured in [one for pair in pairs.values() for one in pair]:
                measured.once()
        row |= {"difference": float(f"{difference:.1e}"), "largest_difference": largest_difference(other)}
        rows.append(row | {"runs": [_ratio(size, [mine], [base]) for size, (base, mine) in pairs.items()]})
    return rows


def _session(step: Step, graph: ModelProto) -> Any:
    options = _options()
    step.options(options)
    for key, value in step.entries.items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _provided(graph: ModelProto, providers: Sequence[Any]) -> Any:
    return onnxruntime.InferenceSession(graph.SerializeToString(), _options(), providers=list(providers))


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False
    return options


def _one(made: Any, size: tuple[int, int], runs: int) -> Measured:
    fed = feed(*size)
    return Measured(lambda: made.run(None, fed), runs, [])


def _ratio(size: tuple[int, int], measured: Sequence[Measured], bases: Sequence[Measured]) -> dict[str, Any]:
    """How many times as fast as the base: `speed`, the median of the rounds, `speed_best`, each one's best round."""
    own, other = ([seconds for one in many for seconds in one.seconds] for many in (measured, bases))
    ratios = [before / after for before, after in zip(other, own, strict=True)]
    return {
        "texts": size[0],
        "tokens": size[1],
        "ms": round(min(own) * 1e3, 2),
        "speed": round(statistics.median(ratios), 3),
        "speed_best": round(min(other) / min(own), 3),
        "seconds": own,
    }


def _per_column(model: ModelProto) -> ModelProto:
    """QuantizeLinear with a scale per column in the place of Mul and QuantizeLinear."""
    edit = GraphEdit(_all(model))
    for node in edit.old_nodes:
        smooth = edit.maker(node.input[0], "Mul") if node.op_type == "QuantizeLinear" else None
        inverse = edit.values(smooth.input[1]) if smooth is not None else None
        step = edit.values(node.input[1]) if inverse is not None else None
        if smooth is None or inverse is None or step is None:
            edit.keep(node)
            continue
        name = node.output[0]
        scales = edit.add_constant(f"{name}.scales", (step / inverse).astype(np.float32))
        zeros = edit.add_constant(f"{name}.zeros", np.full(inverse.shape, 128, np.uint8))
        edit.add("QuantizeLinear", [smooth.input[0], scales, zeros], name, axis=-1)
    return edit.result()


def qdq(model: ModelProto) -> ModelProto:
    """onnxruntime's own static quantization of the products."""
    return _quantize_static(model, ["Gemm"])


def qdq_all(model: ModelProto) -> ModelProto:
    """The same for every operator that it knows."""
    return _quantize_static(model, None)


def _quantize_static(model: ModelProto, op_types: list[str] | None) -> ModelProto:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            ids = np.random.default_rng(3).integers(5, VOCABULARY, (_CALIBRATION_TEXTS, 1, _CALIBRATION_TOKENS))
            self.left = iter([{"input_ids": text, "attention_mask": np.ones_like(text)} for text in ids])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "fp32.onnx", Path(scratch) / "qdq.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=op_types,
        )
        return onnx.load(target)


if __name__ == "__main__":
    main(sys.argv[1:])
