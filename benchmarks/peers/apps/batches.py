"""celery-batches: texts in the order in which they arrive, by 64, each batch one run and one transaction.

`python -m … POOL CONCURRENCY`. `flush_every` and `flush_interval` on the task, results by `mark_as_done`, and a
prefetch of at least `flush_every`, as its documentation has it. The interval, which a single text waits for, is 0.1 s;
its examples have 10 s.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from celery_batches import Batches

from benchmarks.peers.apps.celery_app import TASK, make_app, place, work
from benchmarks.peers.apps.row_table import insert
from benchmarks.peers.apps.text_model import loaded

FLUSH_TEXTS, FLUSH_S = 64, 0.1


def main(pool: str, concurrency: str) -> None:
    """Be a worker until told to stop."""
    here = place()
    app = make_app(here.broker)

    @app.task(name=TASK, base=Batches, flush_every=FLUSH_TEXTS, flush_interval=FLUSH_S)  # type: ignore[untyped-decorator]
    def classify(requests: Sequence[Any]) -> None:
        found = loaded(here.model).classify([request.args[1] for request in requests])
        rows = [(*request.args, *answer) for request, answer in zip(requests, found, strict=True)]
        insert(here.database_url, rows)
        for request, (label, _) in zip(requests, found, strict=True):
            if not request.ignore_result:
                app.backend.mark_as_done(request.id, label, request=request)

    work(app, pool, concurrency)


if __name__ == "__main__":
    main(*sys.argv[1:])
