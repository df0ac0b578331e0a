"""The REST API without servers: its client and keys are Python objects, its HTTP calls stay in the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import httpx2
from fastapi import FastAPI

from producers.gateway.app import create_app
from producers.gateway.gateway import Gateway
from producers.gateway.gauges import Gauges
from producers.gateway.keys import KeyRing
from producers.gateway.problems import INSTANCE_PREFIX, ProblemDocument
from producers.receipts import Receipt
from schemas.errors import FenliuError
from schemas.messages import Reply
from schemas.names import ReplyStatus, Task
from schemas.settings import Settings
from worker.desk.keys import Keyholders

T = TypeVar("T")
OPEN = Keyholders(any_made=False, holders=())
JSON = {"Content-Type": "application/json"}


def reply_of(text: str, tasks: Sequence[Task] = (Task.SENTIMENT,)) -> Reply:
    """A reply whose label is the text itself, so that mixed up ones are seen."""
    found = {
        "label": text, "score": 0.98765, "scores": {text: 0.98765, "rest": 0.01235}, "model": "m",
        "model_version": "1", "stage": "classifier", "infer_ms": 1.0,
    }  # fmt: skip
    return Reply("1-0", "http", "1", ReplyStatus.OK, {task.value: found for task in tasks})


class FakeClient:
    """Answers as told by `answer`, which gives or raises; keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str], Reply | None] = lambda text: None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.enqueued: list[Any] = []
        self.receive: Callable[[Any], Receipt] = lambda item: Receipt(item, "1-0", None)
        self.cancelled = 0
        self.waits = False

    async def classify(self, text: str, *, timeout_s: float, **options: Any) -> Reply:
        self.asked.append((text, options))
        try:
            await asyncio.sleep(3600 if self.waits else 0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.answer(text) or reply_of(text, options.get("tasks", (Task.SENTIMENT,)))

    async def classify_many(
        self, items: Sequence[str], *, timeout_s: float, **options: Any
    ) -> list[Reply | FenliuError]:
        async def one(text: str) -> Reply | FenliuError:
            try:
                return await self.classify(text, timeout_s=timeout_s, **options)
            except FenliuError as error:
                return error

        return list(await asyncio.gather(*map(one, items)))

    async def enqueue_each(self, items: Sequence[Any], *, lane: Any) -> AsyncIterator[Receipt]:
        for item in items:
            receipt = self.receive(item)
            self.enqueued.append((item, lane))
            yield receipt


def make_app(client: FakeClient, *, look: Any = lambda used: OPEN, **changes: Any) -> FastAPI:
    """The application on a fake client, with these settings changed. `look` reads the keys."""
    settings = Settings(redis_url="redis://nowhere", database_url="postgresql://nowhere/none", **changes)
    app = create_app(settings)
    nothing: Any = None
    app.state.gateway = Gateway(
        settings, app.state.metrics, client, nothing, KeyRing(look), nothing, nothing, Gauges([]),  # type: ignore[arg-type]
    )  # fmt: skip
    return app


def in_loop(story: Coroutine[Any, Any, T]) -> T:
    """One event loop for the story; one that hangs fails."""

    async def limited() -> T:
        async with asyncio.timeout(60):
            return await story

    return asyncio.run(limited())


def ask(app: FastAPI, method: str, path: str, **options: Any) -> httpx2.Response:
    """One call and its answer."""

    async def story() -> httpx2.Response:
        async with caller(app) as http:
            return await http.request(method, path, **options)

    return in_loop(story())


def caller(app: FastAPI) -> httpx2.AsyncClient:
    """A client of the application in this process."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app, raise_app_exceptions=False), base_url="http://fenliu")


def problem_in(answer: httpx2.Response) -> ProblemDocument:
    """The problem document of an answer, checked against its model and its own headers."""
    assert "application/problem+json" == answer.headers["content-type"]
    document = ProblemDocument.model_validate(answer.json(), extra="forbid")
    assert (answer.status_code, answer.headers["x-request-id"]) == (document.status, document.request_id)
    assert INSTANCE_PREFIX + document.request_id == document.instance
    return document
