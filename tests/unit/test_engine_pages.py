"""What the benchmarks of the engine count, and what their tables say."""

from pathlib import Path

import pytest

import benchmarks.pages.writing
from benchmarks.encoder_graph import Shape, encoder
from benchmarks.operators import feed, product_macs, profile
from benchmarks.pages import engine
from benchmarks.pages.quantization import providers, steps
from training.quantize import Quantization, quantize

MACHINE = {
    "processor": "abacus",
    "cpus": 1,
    "system": "Linux",
    "python": "3.11",
    "commit": "c0ffee",
    "measured_at": "today",
}


def test_macs_are_those_of_the_integer_products_of_one_token() -> None:
    # Given one layer of 32 hidden and 48 inner units, and a head over two states
    model = quantize(encoder(Shape("small", 1, 32, 4, 48)), Quantization(min_matrix_elements=1024))
    # Then query, key, value and output count, both feed-forward products, and what the head is made of
    assert 4 * 32 * 32 + 2 * 32 * 48 + 2 * 32 * 32 == product_macs(model)


def test_a_profile_gives_the_share_and_the_calls_of_each_operator(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(encoder(Shape("small", 2, 32, 4, 48)).SerializeToString())
    found = profile(path, feed(2, 5), runs=2)
    assert 2 == found["Exp"]["calls"]
    assert pytest.approx(1, abs=0.01) == sum(operator["share"] for operator in found.values())


def test_the_section_names_the_peak_and_what_the_run_reaches_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a run of 2 GMAC in 20 ms, on a machine of 200 GMAC/s
    monkeypatch.setattr(benchmarks.pages.writing, "PLOTS", tmp_path)
    run = {
        "texts": 16,
        "tokens": 32,
        "run_ms": 20.0,
        "product_gmac": 2.0,
        "peak_share_of_run": 0.5,
        "peak_share_of_products": 0.9,
        "operators": {"MatMulIntegerToFloat": {"share": 0.6, "calls": 25}, "Gelu": {"share": 0.3, "calls": 4}},
    }
    peaks = {"int8": 200.0, "fp32": 40.0}
    # When its section is made
    section = engine.operators({"model": "m/1", "peak_size": 8, "peak_gmac_per_s": peaks, "runs": [run]})
    # Then table and plot are there
    assert "| 16 x 32 | 20.00 | 100 | 50% | 90% |" in section
    assert "| the rest |  | 10.0% |" in section
    assert (tmp_path / "operators.svg").exists()


def test_steps_and_providers_are_told_as_measured_or_refused() -> None:
    measured = {"runs": [{"texts": 16, "tokens": 32, "ms": 20.0, "speed": 1.05, "speed_best": 1.04}]}
    step = {"name": "heads", "base": "tokens", "what": "w", "predicted": "1 %", "kept": "yes"}
    frame = {"shape": "s", "rounds": 3, "version": "1.0", "machine": MACHINE}
    row = {"name": "fp32", "provider": "openvino", "difference": 1e-7, "largest_difference": 0.0}
    # Given a step and a provider's row, and a row that the provider refused
    refused = {"name": "int8", "provider": "openvino", "refused": "dimension mismatch"}
    # Then each stands in its table
    made = steps({**frame, "steps": [{**step, **measured, "largest_difference": 1e-7}]})
    assert "| `heads` | w | `tokens` | 1 % | 20.00, 1.050 (1.040) | 1e-07 | yes |" in made
    compared = providers({**frame, "steps": [{**row, **measured}, refused]})
    assert "| `fp32` | 1.050 | 1e-07 | 0e+00 |" in compared
    assert "refused: dimension mismatch" in compared
