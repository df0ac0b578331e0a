"""Chunks of an iterable or an asynchronous one; of the latter a chunk leaves in time even if no item arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from producers.chunks import CHUNK_ENTRIES, Chunk
from producers.item import Item
from schemas.names import Keys

Given: TypeAlias = Item | Mapping[str, object]


async def chunks_of(
    items: Iterable[Given] | AsyncIterable[Given], keys: Keys, room: Callable[[], Awaitable[int]]
) -> AsyncGenerator[Chunk, None]:
    """Chunks in order, none empty. `room` is awaited once an item has come, and bounds its chunk."""
    if not isinstance(items, AsyncIterable):
        source = iter(items)
        for first in source:
            chunk = Chunk(keys, await room())
            chunk.take_from(chain([first], source))
            yield chunk
        return
    queue: asyncio.Queue[Given | _End] = asyncio.Queue(CHUNK_ENTRIES)
    puller = asyncio.create_task(_pull(items, queue))
    try:
        item = await queue.get()
        while not isinstance(item, _End):
            chunk = Chunk(keys, await room())
            more = chunk.take(item)
            following: Given | _End | None = None
            while more and (following := await _next(queue, chunk.left_s)) is not None:
                if isinstance(following, _End):
                    break
                more = chunk.take(following)
            yield chunk
            item = following if isinstance(following, _End) else await queue.get()
        if item.error is not None:
            raise item.error
    finally:
        puller.cancel()
        await asyncio.wait([puller])


@dataclass(frozen=True, slots=True)
class _End:
    """After the last item; `error` if the items ended with one."""

    error: Exception | None


async def _pull(items: AsyncIterable[Given], queue: asyncio.Queue[Given | _End]) -> None:
    error: Exception | None = None
    try:
        async for item in items:
            await queue.put(item)
    except Exception as problem:  # noqa: BLE001 - raised again where the items are asked for
        error = problem
    await queue.put(_End(error))


async def _next(queue: asyncio.Queue[Given | _End], wait_s: float) -> Given | _End | None:
    """The next item, or None if none comes in time."""
    try:
        return queue.get_nowait()
    except asyncio.QueueEmpty:
        pass
    try:
        async with asyncio.timeout(max(0.0, wait_s)):
            return await queue.get()
    except TimeoutError:
        return None
