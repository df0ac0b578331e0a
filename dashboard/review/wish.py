"""What a reviewer wants to look at, as it stands in the address or in a form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.visit import Visit
from schemas.names import Task
from worker.desk.review_pick import Which

_MOST_CHARS = 200


def wish_of(visit: Visit) -> Which:
    """Task, source and team; an unknown task is sentiment, empty fields are none."""
    given: Mapping[str, Any] = visit.form if visit.request.method == "POST" else visit.request.query_params

    def said(name: str) -> str | None:
        value = given.get(name)
        return (value.strip()[:_MOST_CHARS] or None) if isinstance(value, str) else None

    task = Task.ROUTING if given.get("task") == Task.ROUTING else Task.SENTIMENT
    return Which(task, said("source"), said("team"))


def query_of(which: Which) -> dict[str, str]:
    """The same for an address."""
    named = {"task": which.task.value, "source": which.source, "team": which.team}
    return {name: value for name, value in named.items() if value}
