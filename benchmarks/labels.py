"""The model in production by itself: texts per second at 16 texts of 32 tokens, and what a text costs by labels.

    python -m benchmarks.labels [--rounds 20]

The graph on token ids that are there, as published figures of encoders are given; then `worker.inference` with
tokenization on real texts, routing among 5, 20 and 100 labels, taken in turn, so that drift of the machine hits all.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import write_result
from benchmarks.texts import distinct_texts
from schemas.labels import label_set
from schemas.manifest import MODEL_FILE, TOKENIZER_FILE
from schemas.settings import cpu_quota, load_settings
from worker.inference.classifier import Classifier, Job
from worker.inference.engine import Engine
from worker.inference.folder import find, model_homes
from worker.inference.tokenizer import TextTokenizer

TEXTS, TOKENS = 16, 32
LABELS = (5, 20, 100)
_RUNS = 20


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(arguments)
    settings = load_settings()
    folder = find(settings.model, model_homes(settings.models_home))
    write_result(
        "labels",
        {
            "model": "/".join(folder.parts[-2:]),
            "texts": TEXTS,
            "tokens": TOKENS,
            "one_run": speed(folder, slots=1, threads=cpu_quota(), rounds=options.rounds),
            "slots": speed(folder, slots=cpu_quota(), threads=1, rounds=options.rounds),
            "by_labels": by_labels(folder, settings.run_tokens, options.rounds),
        },
    )


def speed(folder: Path, *, slots: int, threads: int, rounds: int) -> dict[str, Any]:
    """Texts per second of the graph at 16 x 32 tokens: median and best round, and all of them."""
    tokenizer = TextTokenizer.load(folder / TOKENIZER_FILE)
    engine = Engine(folder / MODEL_FILE, run_tokens=TEXTS * TOKENS, threads=threads, pad_id=tokenizer.pad_id)
    ids = np.concatenate(tokenizer.encode(distinct_texts(200)))
    room = TOKENS - len(tokenizer.head) - len(tokenizer.tail)
    rows = [np.concatenate((tokenizer.head, ids[at * room : (at + 1) * room], tokenizer.tail)) for at in range(TEXTS)]

    def work(_: int) -> None:
        for _run in range(_RUNS):
            engine.run(rows)

    found = []
    with ThreadPoolExecutor(slots) as pool:
        list(pool.map(work, range(slots)))
        for _round in range(rounds):
            started = time.perf_counter()
            list(pool.map(work, range(slots)))
            found.append(slots * _RUNS * TEXTS / (time.perf_counter() - started))
    return {
        "slots": slots,
        "threads": threads,
        "texts_per_s_median": round(statistics.median(found), 1),
        "texts_per_s_best": round(max(found), 1),
        "rounds": [round(value, 1) for value in found],
    }


def by_labels(folder: Path, run_tokens: int, rounds: int) -> list[dict[str, Any]]:
    """Microseconds a text for each number of labels, and the ratio to the fewest in the same round."""
    classifier = Classifier.load(folder, run_tokens=run_tokens, threads=cpu_quota())
    names = [f"{text[:12]} {number}" for number, text in enumerate(distinct_texts(LABELS[-1]))]
    prepared = {n: classifier.prepare(label_set(names[:n])) for n in LABELS}
    texts = distinct_texts(128)
    took_s: dict[int, list[float]] = {n: [] for n in LABELS}
    for number in range(rounds + 1):
        for n in LABELS if number % 2 else reversed(LABELS):
            jobs = [Job(text, False, prepared[n]) for text in texts]
            started = time.process_time()
            classifier.classify(jobs)
            if number:
                took_s[n].append(time.process_time() - started)
    fewest = took_s[LABELS[0]]
    return [
        {
            "labels": n,
            "processor_us_per_text": round(statistics.median(took_s[n]) / len(texts) * 1e6, 1),
            "ratio": round(statistics.median(a / b for a, b in zip(took_s[n], fewest, strict=True)), 3),
        }
        for n in LABELS
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
