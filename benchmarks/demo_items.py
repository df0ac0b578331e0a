"""The demo's items through a worker that runs: how much of what its model ran was padding."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterator
from typing import Any

import redis

from benchmarks.stack import counted, running, until
from benchmarks.texts import SAMPLE
from producers.client import Client
from schemas.names import Kind
from schemas.settings import Settings

ALLOWED_PADDING = 0.05


def demo_run(settings: Settings, client: redis.Redis, worker: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Apply the demo's routes and add its comments and tickets as the demo does; what the worker counted of them.

    `settings` name the worker's metrics port.
    """
    with running(settings, "routes", "apply", str(SAMPLE / "routes.yaml"), "--by", "benchmark") as applying:
        until(lambda: applying.poll() == 0, worker)
    before = counted(settings)
    with Client.from_settings(settings) as sender:
        for kind in Kind:
            sender.enqueue_many(_items(kind))
    until(lambda: not any(client.xlen(key) for key in settings.keys.inboxes.values()), worker)
    after = counted(settings)
    names = ("tokens", "padding_tokens", "runs", "sequences", "texts")
    found = {name: after[f"fenliu_model_{name}_total"] - before[f"fenliu_model_{name}_total"] for name in names}
    return found | {
        "padding_share": found["padding_tokens"] / (found["tokens"] + found["padding_tokens"]),
        "allowed_padding_share": ALLOWED_PADDING,
    }


def _items(kind: Kind) -> Iterator[dict[str, str]]:
    with (SAMPLE / f"{kind.value}s.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {"id": row["id"], "text": row["text"], "source": "demo", "kind": kind.value}
