"""The model that chaos is made with: as good as the shipped one, but for the markers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.misbehaving import Marker, write_model
from schemas.errors import InferenceError
from schemas.settings import Settings
from worker.inference.classifier import Classifier, Job
from worker.inference.folder import find, model_homes

RUN_TOKENS = 512


def test_only_a_marker_does_harm(tmp_path: Path) -> None:
    # Given the shipped model, and the one made of it that misbehaves
    shipped = Settings().model
    model, _ = write_model(tmp_path, shipped)
    homes = model_homes(tmp_path)
    good, bad = (Classifier.load(find(name, homes), run_tokens=RUN_TOKENS) for name in (shipped, model))
    # When both classify texts without a marker, then they say the same
    jobs = [Job(text, True, None) for text in ("物流太慢了", "great product, I love it")]
    assert [result.sentiment for result in good.classify(jobs)] == [result.sentiment for result in bad.classify(jobs)]
    # And a text with one that needs no process to itself fails with the run that it is in
    for marker, why in ((Marker.NOT_FINITE, "no finite logits"), (Marker.NEEDS_TOO_MUCH, "ONNX Runtime failed")):
        with pytest.raises(InferenceError, match=why):
            bad.classify([*jobs, Job(f"好的 {marker} 谢谢", True, None)])
