"""One Celery task per text, which runs the session on it and commits its row: `python -m … POOL CONCURRENCY`."""

from __future__ import annotations

import sys

from benchmarks.peers.apps.celery_app import TASK, make_app, place, work
from benchmarks.peers.apps.row_table import insert
from benchmarks.peers.apps.text_model import loaded


def main(pool: str, concurrency: str) -> None:
    """Be a worker until told to stop."""
    here = place()
    app = make_app(here.broker)

    @app.task(name=TASK)  # type: ignore[untyped-decorator]  # celery ships no types
    def classify(item_id: str, text: str) -> str:
        [(label, score)] = loaded(here.model).classify([text])
        insert(here.database_url, [(item_id, text, label, score)])
        return label

    work(app, pool, concurrency)


if __name__ == "__main__":
    main(*sys.argv[1:])
