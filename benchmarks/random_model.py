"""A model folder with random weights of any shape, quantized as trained ones are: what a larger model costs.

Only its speed means anything. The tokenizer is the shipped model's, the static scales come from the shipped sample.
Needs onnx, which the worker does not.
"""

from __future__ import annotations

import shutil

from tokenizers import Tokenizer

from benchmarks.encoder_graph import Shape, encoder
from benchmarks.texts import sample_texts
from schemas.manifest import MANIFEST_FILE, MODEL_FILE, TOKENIZER_FILE, Manifest, ModelKind, Pooling, Source, sha256_of
from schemas.names import Task
from schemas.settings import Settings
from training.activation_ranges import feed
from training.quantize import STATIC_QUANTIZATION, Quantization, quantize
from worker.inference.folder import find, model_homes
from worker.inference.tokenizer import TextTokenizer

SHAPES = {
    "base": Shape("base", 12, 768, 12, 3072),
    "6x384": Shape("6x384", 6, 384, 12, 1536),
    "4x312": Shape("4x312", 4, 312, 12, 1200),
}
MAX_TOKENS = 256
CALIBRATION_TEXTS, CALIBRATION_TOKENS = 8, 48


def write_random_model(settings: Settings, shape_name: str) -> str:
    """A folder in `settings.models_home` with one of SHAPES, INT8 with static scales; its `name/version`."""
    tokenizer_file = find(settings.model, model_homes(settings.models_home)) / TOKENIZER_FILE
    vocabulary = Tokenizer.from_file(str(tokenizer_file)).get_vocab_size()
    tokenizer = TextTokenizer.load(tokenizer_file)
    plain = SHAPES[shape_name]
    shape = Shape(plain.name, plain.layers, plain.hidden, plain.heads, plain.ffn, vocabulary)
    feeds = [feed(ids[:CALIBRATION_TOKENS]) for ids in tokenizer.encode(sample_texts()[:CALIBRATION_TEXTS])]
    # Rounding that makes up for its errors takes minutes and changes no speed.
    graph = quantize(encoder(shape), Quantization(compensate=False), feeds)
    name, version = f"random-{shape_name}", "1"
    folder = settings.models_home / name / version
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_bytes(graph.SerializeToString())
    shutil.copy(tokenizer_file, folder / TOKENIZER_FILE)
    manifest = Manifest(
        name=name,
        version=version,
        kind=(ModelKind.CLASSIFIER,),
        tasks=(Task.SENTIMENT,),
        labels=("negative", "positive"),
        max_tokens=MAX_TOKENS,
        pooling=Pooling.NONE,
        embedding_width=shape.hidden,
        quantization=STATIC_QUANTIZATION,
        files={file: sha256_of(folder / file) for file in (MODEL_FILE, TOKENIZER_FILE)},
        source=Source(description="random weights, to measure speed with", licence="Apache-2.0"),
        licence="Apache-2.0",
    )
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    return manifest.id
