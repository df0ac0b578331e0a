"""The state of the whole deployment in this gateway's `/metrics`: read when asked for, kept for a moment.

What is read is `worker.desk.gauges`'. A server that is away takes only its own part with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from schemas.errors import FenliuError
from worker.desk.gauges import Gauge, Read, shown, up

KEPT_S: Final = 2.0
TIMEOUT_S: Final = 3.0


class Gauges:
    """Reads every server in a thread of its own, and no server twice at once."""

    def __init__(self, servers: Sequence[Mapping[str, Read]], timeout_s: float = TIMEOUT_S) -> None:
        """`servers`: see `worker.desk.gauges.parts`. What takes longer than `timeout_s` counts as not answered."""
        self._servers = [_Server(parts) for parts in servers]
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._page = b""
        self._read_at_s = float("-inf")

    async def page(self) -> bytes:
        """All of it in Prometheus' text format. What cannot be read is absent, and `fenliu_up` says so."""
        async with self._lock:
            if time.monotonic() - self._read_at_s > KEPT_S:
                found = await asyncio.gather(*(server.read(self._timeout_s) for server in self._servers))
                gauges = [gauge for server in found for part in server.values() for gauge in part or ()]
                answered = {name: part is not None for server in found for name, part in server.items()}
                self._page = shown([up(answered), *gauges])
                self._read_at_s = time.monotonic()
            return self._page


class _Server:
    """The parts of one server. A look that hangs is waited for once and not repeated until it is over."""

    def __init__(self, parts: Mapping[str, Read]) -> None:
        self._parts = parts
        self._looking: asyncio.Task[dict[str, list[Gauge] | None]] | None = None

    async def read(self, timeout_s: float) -> dict[str, list[Gauge] | None]:
        """The gauges of each part, None for one that cannot be read."""
        looking = self._looking
        if looking is None or looking.done():
            looking = self._looking = asyncio.create_task(asyncio.to_thread(self._look))
        done, _ = await asyncio.wait([looking], timeout=timeout_s)
        return looking.result() if done else dict.fromkeys(self._parts)

    def _look(self) -> dict[str, list[Gauge] | None]:
        found: dict[str, list[Gauge] | None] = dict.fromkeys(self._parts)
        for number, (name, read) in enumerate(self._parts.items()):
            try:
                found[name] = read()
            except FenliuError:
                if number == 0:  # the server does not answer, and asking on would only take time
                    break
        return found
