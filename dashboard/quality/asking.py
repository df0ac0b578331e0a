"""The starter set through the inbox, as any text that is not to be stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from dashboard.site import Site
from schemas.errors import FenliuError, ReplyTimeoutError
from schemas.messages import Reply, TaskResult
from schemas.names import Task
from worker.desk import quality, starter
from worker.desk.starter import Answer

_WAIT_S = 20.0


async def measure_starter(site: Site) -> str:
    """Have the workers answer what is missing, and keep it; what went wrong, or nothing.

    Raises what the client and the desk raise: a worker that does not answer, a database that is away.
    """
    production = await asyncio.to_thread(quality.in_production, site.engine)
    if production is None:
        return "no model is in production yet"
    for task in await asyncio.to_thread(starter.to_measure, site.engine, production):
        results = await _results(site, task)
        versions = {(each.model, each.model_version) for each in results}
        if versions != {(production.model, production.version)}:
            return f"workers answer with {' and '.join('/'.join(each) for each in sorted(versions))}"
        answers = [Answer(each.label, each.score, each.scores) for each in results]
        version = (production.model, production.version)
        await asyncio.to_thread(starter.store, site.engine, task, version, answers, site.settings)
    return ""


async def _results(site: Site, task: Task) -> Sequence[TaskResult]:
    """One result per item, in order. Raises the first error."""
    found = starter.read_starter()
    texts = [item.text for item in found.of(task)]
    wait_s = min(_WAIT_S, site.settings.http_timeout_s)
    labels: Mapping[str, object] | None = dict(found.teams) if task is Task.ROUTING else None
    replies = await site.client.classify_many(
        texts, timeout_s=wait_s, source="starter", tasks=[task], labels=labels, store=False
    )
    for reply in replies:
        if isinstance(reply, FenliuError):
            raise reply
    results = [_result(cast(Reply, reply), task) for reply in replies]
    if any(each is None for each in results):
        raise ReplyTimeoutError(f"a worker answered without {task.value}")
    return [each for each in results if each is not None]


def _result(reply: Reply, task: Task) -> TaskResult | None:
    return reply.sentiment if task is Task.SENTIMENT else reply.routing
