"""The session alone, tokenization included: which order, run budget and threads give the most texts per second.

    python -m benchmarks.session [--texts 1024] [--rounds 2] [--csv FILE] [--dry]

No Redis, no Postgres: `worker.inference` on texts that are in memory and distinct; nothing is remembered. Sorted: like
lengths run together, as the worker does. Arrival: texts run as they come, so many at a time, padded to the longest of
them. Every setting is measured once per round, so that a machine that slows down slows them all; what counts is a
setting's best round, since other work only ever adds. The results hold the seconds of each. What tokenizing costs of
it: the best setting with and without, in turn.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import keep_result
from benchmarks.texts import distinct_texts
from schemas.settings import cpu_quota, load_settings
from worker.inference.classifier import Classifier, Job
from worker.inference.folder import find, model_homes

RUN_TOKENS = (256, 512, 1024, 2048)
ARRIVAL_TEXTS = (1, 32)
TOKENIZING_ROUNDS = 3
_NO_BOUND = 1 << 40


@dataclass(frozen=True, slots=True)
class Setting:
    """`at_once`: texts in one call; 0: all that a slot has. `slots` threads share one session of `threads` each."""

    order: str
    run_tokens: int
    at_once: int
    slots: int
    threads: int


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--csv", type=Path, help="texts of this file's column `text`, instead of the shipped sample")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    texts = _texts(options.csv)[: options.texts] if options.csv else distinct_texts(options.texts)
    keep_result("session", measure(texts, options.rounds), dry=options.dry)


def measure(texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """What every setting reaches with the model in production."""
    settings = load_settings()
    folder = find(settings.model, model_homes(settings.models_home))
    took_s: dict[Setting, list[float]] = {setting: [] for setting in all_settings(cpu_quota())}
    for number in range(rounds):
        for setting, seconds in took_s.items():
            classifier = Classifier.load(folder, run_tokens=setting.run_tokens, threads=setting.threads)
            seconds_alone(classifier, texts[::16], setting.slots, setting.at_once)  # warm
            seconds.append(seconds_alone(classifier, texts, setting.slots, setting.at_once))
            print(f"round {number + 1}: {setting} {len(texts) / seconds[-1]:.1f} texts/s", flush=True)  # noqa: T201
    rows = [
        asdict(setting) | {"texts_per_s": len(texts) / min(seconds), "seconds": seconds}
        for setting, seconds in took_s.items()
    ]
    best = min(took_s, key=lambda setting: min(took_s[setting]))
    rows.sort(key=lambda row: -row["texts_per_s"])
    return {
        "model": "/".join(folder.parts[-2:]),
        "texts": len(texts),
        "characters": sum(len(text) for text in texts),
        "best": rows[0] | _tokenizing(folder, texts, best),
        "settings": rows,
    }


def all_settings(cpus: int) -> Iterator[Setting]:
    """The sweep: run budgets and orders, with a slot per CPU and with one slot on all CPUs. Texts in arrival order one
    by one only the first way, 32 of them together both ways."""
    for slots, threads in dict.fromkeys([(cpus, 1), (1, cpus)]):
        for run_tokens in RUN_TOKENS:
            yield Setting("sorted", run_tokens, 0, slots, threads)
        for at_once in ARRIVAL_TEXTS if threads == 1 else ARRIVAL_TEXTS[1:]:
            yield Setting("arrival", _NO_BOUND, at_once, slots, threads)


def seconds_alone(classifier: Classifier, texts: Sequence[str], slots: int, at_once: int = 0) -> float:
    """Seconds until all texts have their sentiment. Each slot is a thread with its share of the texts, evenly by
    length when they may be sorted."""
    return _seconds([Job(text, True, None) for text in texts], classifier, slots, at_once)


def _seconds(jobs: Sequence[Job], classifier: Classifier, slots: int, at_once: int) -> float:
    shared = jobs if at_once else sorted(jobs, key=lambda job: len(job.text))
    shares = [shared[slot::slots] for slot in range(slots)]

    def work(jobs: Sequence[Job]) -> None:
        for start in range(0, len(jobs), at_once or len(jobs)):
            classifier.classify(jobs[start : start + (at_once or len(jobs))])

    with ThreadPoolExecutor(slots) as pool:
        started = time.perf_counter()
        list(pool.map(work, shares))
        return time.perf_counter() - started


def _tokenizing(folder: Path, texts: Sequence[str], best: Setting) -> dict[str, Any]:
    """The best setting with texts and with their token ids, in turn, and tokenizing by itself."""
    classifier = Classifier.load(folder, run_tokens=best.run_tokens, threads=best.threads)
    started = time.process_time()
    ids = classifier.encode(texts)
    tokenizing_s = time.process_time() - started
    ready = [Job(text, True, None, ids=own) for text, own in zip(texts, ids, strict=True)]
    with_s, without_s = [], []
    for _ in range(TOKENIZING_ROUNDS):
        with_s.append(seconds_alone(classifier, texts, best.slots, best.at_once))
        without_s.append(_seconds(ready, classifier, best.slots, best.at_once))
    return {
        "tokens": sum(map(len, ids)),
        "tokenizing_us_per_text": tokenizing_s / len(texts) * 1e6,
        "tokenizing": {
            "included_texts_per_s": len(texts) / statistics.median(with_s),
            "excluded_texts_per_s": len(texts) / statistics.median(without_s),
            "included_s": with_s,
            "excluded_s": without_s,
        },
    }


def _texts(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


if __name__ == "__main__":
    main(sys.argv[1:])
