"""What an item costs as things grow: tables, backlogs, workers, lengths of texts.

    python -m benchmarks.growth [--items 10000,100000,1000000] [--backlog 10000,100000,1000000] [--dashboards] [--dry]

Tables: the sink alone on databases of three sizes in one Postgres. Pipeline: everything from XADD to committed row, on
the same databases. Backlog: reading and settling with three lengths of an inbox in one Redis. All in turn, batch by
batch, so that drift of the machine hits all, and told as ratios inside a round. Workers: a backlog shared out among
one, two and four processes. Lengths: the model's processor time per token. What more labels cost is
`benchmarks.labels`'.

With --dashboards, what `benchmarks.dashboards` measures is measured on the largest database before, and written too:
filling it takes most of the time of both.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks import dashboards
from benchmarks.dashboard_data import fill
from benchmarks.growing_backlog import growth_by_backlog
from benchmarks.growing_pipeline import growth_of_pipeline
from benchmarks.growing_tables import Filled, database, growth_by_tables, predictions_of
from benchmarks.machine import keep_result
from benchmarks.sharing_out import shared_out
from benchmarks.stack import scratch_stack
from benchmarks.texts import distinct_texts, sample_texts
from schemas.settings import load_settings
from worker.inference.classifier import Classifier, Job
from worker.inference.folder import find, model_homes

ALLOWED_RATIO = 1.1
PROCESSES = (1, 2, 4)
LENGTHS = (16, 64, 256, 1_024, 4_096, 20_000)
LENGTH_CHARS = 20_000
LENGTH_ROUNDS = 2
_RAW = ("rounds", "seconds")


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=_sizes, default=(10_000, 100_000, 1_000_000))
    parser.add_argument("--backlog", type=_sizes, default=(10_000, 100_000, 1_000_000))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--pipeline-rounds", type=int, default=8)
    parser.add_argument("--pipeline-texts", type=int, default=512, help="for each database in a round")
    parser.add_argument("--texts", type=int, default=1_024, help="shared out among workers")
    parser.add_argument("--dashboards", action="store_true")
    parser.add_argument("--dry", action="store_true", help="print the results instead of writing them")
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {"allowed_ratio": ALLOWED_RATIO}
    started_s = time.perf_counter()
    for name, rows in _parts(options):
        result[name] = rows
        print(f"{name}: {time.perf_counter() - started_s:.1f} s", flush=True)  # noqa: T201 - progress
        for row in rows:
            shown = {key: value for key, value in row.items() if key not in _RAW}
            print(f"  {shown}", flush=True)  # noqa: T201
        started_s = time.perf_counter()
    keep_result("growth", result, dry=options.dry)


def _parts(options: argparse.Namespace) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each part's name and rows, as they come."""
    yield from _on_databases(options)
    with scratch_stack() as settings:
        yield "backlog", growth_by_backlog(settings, options.backlog, options.rounds)
    yield "workers", shared_out(distinct_texts(options.texts), PROCESSES)
    yield "lengths", lengths(LENGTHS, LENGTH_ROUNDS)


def _on_databases(options: argparse.Namespace) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What is measured on databases of each size, filled once."""
    with scratch_stack() as settings, ExitStack() as opened:
        databases = {}
        for items in sorted(options.items):
            own, engine = opened.enter_context(database(settings, f"items_{items}"))
            if options.dashboards and items == max(options.items):
                found = dashboards.measure(engine, predictions_of(items))
                keep_result("dashboards", found, dry=options.dry)
            else:
                fill(engine, predictions_of(items))
            databases[items] = Filled(items, own, engine)
        yield "tables", growth_by_tables(databases, options.rounds)
        yield "pipeline", growth_of_pipeline(databases, options.pipeline_rounds, options.pipeline_texts)


def lengths(sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Processor time per token and per character of the model in production, by the length of its texts."""
    settings = load_settings()
    folder = find(settings.model, model_homes(settings.models_home))
    classifier = Classifier.load(folder, run_tokens=settings.run_tokens)
    everything = "".join(sample_texts())
    texts = {
        size: [everything[start : start + size] for start in range(0, LENGTH_CHARS - size + 1, size)] for size in sizes
    }
    tokens: dict[int, int] = {}
    took_s: dict[int, list[float]] = {size: [] for size in sizes}
    classifier.classify([Job(text, True, None) for text in texts[min(sizes)]])  # the first run of all takes longer
    for number in range(rounds):
        for size in sizes if number % 2 else reversed(sizes):
            before_s = time.process_time()
            results = classifier.classify([Job(text, True, None) for text in texts[size]])
            took_s[size].append(time.process_time() - before_s)
            tokens[size] = sum(result.tokens for result in results)
    return [
        {
            "characters": size,
            "texts": len(texts[size]),
            "tokens": tokens[size],
            "us_per_token": statistics.median(took_s[size]) / tokens[size] * 1e6,
            "us_per_character": statistics.median(took_s[size]) / (size * len(texts[size])) * 1e6,
            "seconds": took_s[size],
        }
        for size in sizes
    ]


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main(sys.argv[1:])
