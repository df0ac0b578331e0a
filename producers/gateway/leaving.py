"""A caller that goes away: what was being done for it is cancelled at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled as soon as the caller hangs up. The body must have been read.

    Raises ClientDisconnect, and what `work` raises.
    """
    me = cast("asyncio.Task[Any]", asyncio.current_task())  # within a coroutine there always is one
    left = over = False

    def cancel_me(_: object) -> None:
        nonlocal left
        # Called a turn of the loop after the hang-up, when the work may be over.
        if not over and not watch.cancelled():
            left = True
            me.cancel()

    watch = asyncio.ensure_future(_hang_up(request))
    watch.add_done_callback(cancel_me)
    try:
        return await work
    except asyncio.CancelledError:
        # A server that stops cancels too; that one is not ours to swallow.
        if left and not me.uncancel():
            raise ClientDisconnect from None
        raise
    finally:
        over = True
        watch.cancel()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
