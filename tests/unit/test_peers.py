"""The comparison with peers: texts, weights, ratios, what is said of a peer that cannot be measured, the section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

import benchmarks.pages.writing
from benchmarks.pages.peers import peers
from benchmarks.peers import environments
from benchmarks.peers.command import cut, take_texts
from benchmarks.peers.comparison import comparison, spread
from benchmarks.peers.dequantize import bert_sizes, float_weights
from benchmarks.peers.leg import Leg, Look
from tests.conftest import ROOT

SHIPPED = ROOT / "models" / "fenliu-e5" / "2"


def a_leg(name: str, per_s: float, before: int) -> Leg:
    return Leg(name, 100, 100 / per_s, 0.3, 1.0, before, 140.0, None)


def test_nobody_gets_a_text_that_is_longer_than_the_cut() -> None:
    # Given a text of more tokens than the cut, when it is cut
    tokenizer = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    text = "这家店的物流太慢了，客服也不回消息。" * 40
    short = cut(tokenizer, text, 128)
    # Then it is as long as may be, and a short one stays
    assert text.startswith(short)
    assert 126 <= len(tokenizer.encode(short).ids) <= 128
    assert "很好" == cut(tokenizer, "很好", 128)


def test_texts_are_distinct_over_all_uses() -> None:
    texts = take_texts(SHIPPED / "tokenizer.json", 300, 20, 64)
    every = [*texts.warm, *texts.timed, *texts.single]
    assert (300, 20) == (len(texts.timed), len(texts.single))
    assert len(every) == len(set(every))


def test_weights_for_pytorch_are_the_graphs_own() -> None:
    # Given the shipped graph, when its weights are read
    weights = float_weights(SHIPPED / "model.onnx", heads=12)
    # Then they are a BERT's of its size, all of them finite, and none is left at zero but the types it has not
    sizes = bert_sizes(weights, heads=12)
    assert (40_000, 384, 4) == (sizes["vocab_size"], sizes["hidden_size"], sizes["num_hidden_layers"])
    assert (384, sizes["intermediate_size"]) == weights["bert.encoder.layer.3.output.dense.weight"].shape
    assert all(np.isfinite(values).all() for values in weights.values())
    assert ["bert.embeddings.token_type_embeddings.weight"] == [n for n, values in weights.items() if not values.any()]


def test_a_peer_is_held_against_fenliu_right_before_and_after_it() -> None:
    # Given a machine that is half as fast when the second peer has its turn
    looks = [Look(1000.0, 1020.0, 2.0), Look(800.0, 820.0, 2.0), Look(400.0, 410.0, 2.0)]
    legs = [a_leg("celery-threads", 450.0, 0), a_leg("celery-batches", 200.0, 1)]
    # When the turns are compared
    found = comparison(looks, legs, {"fenliu": [5.0, 6.0], "celery-threads": [7.0, 9.0]})
    # Then each is told as a share of Fenliu's speed in its own time, and the targets are held against that
    assert 2.0 == found["peers"]["celery-threads"]["fenliu_times"]
    assert 3.0 == found["peers"]["celery-batches"]["fenliu_times"]
    assert [
        ("texts/s, times those of one text a Celery task", "at least 1.9", "2.00", True),
        ("texts/s, times those of celery-batches", "at least 3.3", "3.00", False),
        ("p99 of a single text on an idle machine, against the best of the peers", "at most 9.0 ms", "6.0 ms", True),
    ] == [tuple(row.values()) for row in found["targets"]]


@pytest.mark.parametrize(("count", "p99"), [(200, 198.0), (100, 99.0), (40, 40.0), (1, 1.0)])
def test_p99_is_a_value_that_was_measured(count: int, p99: float) -> None:
    found = spread([float(number) for number in range(1, count + 1)])
    assert found is not None
    assert p99 == found["p99"]


def test_an_environment_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given no environments
    monkeypatch.setattr(environments, "HERE", tmp_path)
    assert "python -m benchmarks.peers --prepare" in environments.problem("infinity")
    # When one has failed, then the reason is told
    (tmp_path / "infinity.failed").write_text("no matching distribution")
    assert "its environment cannot be made: no matching distribution" == environments.problem("infinity")
    # When it is there, then nothing is wrong
    (tmp_path / "infinity.failed").unlink()
    (tmp_path / "infinity" / "bin").mkdir(parents=True)
    (tmp_path / "infinity" / "bin" / "python").touch()
    assert "" == environments.problem("infinity")


def test_the_section_tells_all_that_were_measured_and_who_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a result of one peer, with another left out
    monkeypatch.setattr(benchmarks.pages.writing, "PLOTS", tmp_path)
    looks = [Look(1000.0, 1020.0, 2.0), Look(1000.0, 1020.0, 2.0)]
    legs = [a_leg("celery-threads", 500.0, 0)]
    found: dict[str, Any] = comparison(looks, legs, {"fenliu": [5.0], "celery-threads": [7.0]})
    found["fenliu"] |= {"peak_rss_mib": 250.4, "pss_mib": 240.0}
    found["peers"]["celery-threads"]["versions"] = {"celery": "5.7.0"}
    about = {"model": "fenliu-e5/2", "texts": 100, "most_tokens": 128, "skipped": {"infinity-1": "no\nenvironment"}}
    # When its section is made
    section = peers(about | found)
    # Then both are in it, and the plot is beside it
    lines = section.splitlines()
    assert "| **Fenliu** | **1000** | 1.00 | 1.00 | 250 (240) | 5.0 | 5.0 |  | 100 |" in lines
    assert "| Celery, one text a task, threads | 500 | 2.00 | 1.50 | 140 | 7.0 | 7.0 | 100.0% | 100 |" in lines
    assert "- infinity-1: no environment" in lines
    assert (tmp_path / "peers.svg").exists()
