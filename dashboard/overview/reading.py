"""Statements asked side by side, so that one that is slow or fails keeps no other from being shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from dashboard.overview.sql import Answer, ask
from dashboard.words import later
from schemas.errors import DatabaseUnavailableError, RowRefusedError

_AT_ONCE = 4
_LIMIT_S = 20.0
"""More than the statement timeout: a database that does not even answer that it gives up."""
_STATE_CANCELED = "57014"
TOO_SLOW = later("The database took too long. Choose a shorter time or a single source.")
AWAY = later("The database does not answer now. Try again in a moment.")
REFUSED = later("The database cannot make sense of these filters.")

Read = Mapping[str, Answer | str]
"""Answers by name, or in English why there is none. Messages of Postgres are for whoever runs it."""


async def read(reader: Engine, statements: Mapping[str, str], parameters: Mapping[str, Any]) -> Read:
    """Ask all of them, a few at once. Raises nothing: what went wrong stands in the answer's place."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(statement: str) -> Answer | str:
        async with gate:
            try:
                return await asyncio.to_thread(ask, reader, statement, parameters)
            except DatabaseUnavailableError as error:
                return TOO_SLOW if _STATE_CANCELED in str(error) else AWAY
            except RowRefusedError:
                return REFUSED

    tasks = {name: asyncio.create_task(one(statement)) for name, statement in statements.items()}
    _, late = await asyncio.wait(tasks.values(), timeout=_LIMIT_S)
    for task in late:
        task.cancel()
    return {name: TOO_SLOW if task in late else task.result() for name, task in tasks.items()}
