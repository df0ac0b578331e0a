"""The session alone, tokenization included: which order, run budget and threads give the most texts per second.

    python -m benchmarks.session [--texts 1000] [--rounds 3] [--csv FILE]

No Redis, no Postgres: `worker.inference` on texts that are in memory. Sorted: like lengths run together, as the worker
does. Arrival: texts run as they come, so many at a time, padded to the longest of them. Every setting is measured once
per round, so that a machine that slows down slows them all; the results hold the seconds of each round.
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

from benchmarks.machine import write_result
from benchmarks.texts import distinct_texts
from schemas.settings import cpu_quota, load_settings
from worker.inference.classifier import Classifier, Job
from worker.inference.folder import find, model_homes

RUN_TOKENS = (256, 512, 1024, 2048, 4096)
ARRIVAL_TEXTS = (1, 8, 32)
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
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--csv", type=Path, help="texts of this file's column `text`, instead of the shipped sample")
    options = parser.parse_args(arguments)
    texts = _texts(options.csv)[: options.texts] if options.csv else distinct_texts(options.texts)
    write_result("session", measure(texts, options.rounds))


def measure(texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """What every setting reaches with the model in production."""
    settings = load_settings()
    folder = find(settings.model, model_homes(settings.models_home))
    sweep = list(all_settings(cpu_quota()))
    took_s: dict[Setting, list[float]] = {setting: [] for setting in sweep}
    tokens = 0
    for number in range(rounds):
        for setting in sweep:
            classifier = Classifier.load(folder, run_tokens=setting.run_tokens, threads=setting.threads)
            if not tokens:
                tokens = sum(result.tokens for result in classifier.classify([Job(text, True, None) for text in texts]))
            took_s[setting].append(seconds_alone(classifier, texts, setting.slots, setting.at_once))
            print(f"round {number + 1}: {setting} {len(texts) / took_s[setting][-1]:.1f} texts/s")  # noqa: T201
    rows = [
        asdict(setting) | {"texts_per_s": len(texts) / statistics.median(seconds), "seconds": seconds}
        for setting, seconds in took_s.items()
    ]
    rows.sort(key=lambda row: -row["texts_per_s"])
    return {
        "model": "/".join(folder.parts[-2:]),
        "texts": len(texts),
        "characters": sum(len(text) for text in texts),
        "tokens": tokens,
        "tokenizing_us_per_text": _tokenizing_us(folder, texts),
        "best": rows[0],
        "settings": rows,
    }


def all_settings(cpus: int) -> Iterator[Setting]:
    """The sweep: run budgets and orders, with one slot on all CPUs and with a slot per CPU."""
    for slots, threads in dict.fromkeys([(1, cpus), (cpus, 1)]):
        for run_tokens in RUN_TOKENS:
            yield Setting("sorted", run_tokens, 0, slots, threads)
        for at_once in ARRIVAL_TEXTS:
            yield Setting("arrival", _NO_BOUND, at_once, slots, threads)


def seconds_alone(classifier: Classifier, texts: Sequence[str], slots: int, at_once: int = 0) -> float:
    """Seconds until all texts have their sentiment. Each slot is a thread with its share of the texts, evenly by
    length when they may be sorted."""
    shared = texts if at_once else sorted(texts, key=len)
    shares = [[Job(text, True, None) for text in shared[slot::slots]] for slot in range(slots)]

    def work(jobs: Sequence[Job]) -> None:
        for start in range(0, len(jobs), at_once or len(jobs)):
            classifier.classify(jobs[start : start + (at_once or len(jobs))])

    with ThreadPoolExecutor(slots) as pool:
        started = time.perf_counter()
        list(pool.map(work, shares))
        return time.perf_counter() - started


def _tokenizing_us(folder: Path, texts: Sequence[str]) -> float:
    from schemas.manifest import TOKENIZER_FILE
    from worker.inference.tokenizer import TextTokenizer

    tokenizer = TextTokenizer.load(folder / TOKENIZER_FILE)
    started = time.perf_counter()
    tokenizer.encode(texts)
    return (time.perf_counter() - started) / len(texts) * 1e6


def _texts(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


if __name__ == "__main__":
    main(sys.argv[1:])
