"""How it goes at this moment: what waits in the inboxes, how quickly it is taken, and who takes it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dashboard.overview.reading import read
from dashboard.overview.sql import Answer
from dashboard.site import Site
from schemas.errors import InboxUnavailableError
from worker.desk.inboxes import InboxesState, look_at_inboxes

# The minute that runs, and the part of the one before that makes it a whole minute.
RATE = """
SELECT coalesce(sum(items * CASE WHEN minute = date_trunc('minute', now()) THEN 1
                                 ELSE 1 - extract(second FROM now()) / 60 END), 0)::double precision / 60 AS items_per_s
FROM dash_throughput
WHERE minute >= date_trunc('minute', now()) - interval '1 minute'
"""


@dataclass(frozen=True, slots=True)
class Live:
    """`inboxes` None: Redis does not answer. `items_per_s` None: Postgres does not; it is over the last minute."""

    inboxes: InboxesState | None
    items_per_s: float | None

    @property
    def slots(self) -> int:
        """Of all workers: how many batches run at once."""
        return sum(worker["slots"] for worker in self.inboxes.workers) if self.inboxes else 0


async def look_live(site: Site) -> Live:
    """Raises nothing: what does not answer is None."""

    def inboxes() -> InboxesState | None:
        try:
            return look_at_inboxes(site.server, site.settings.keys)
        except InboxUnavailableError:
            return None

    state, rates = await asyncio.gather(asyncio.to_thread(inboxes), read(site.reader, {"rate": RATE}, {}))
    rate = rates["rate"]
    return Live(state, rate.rows[0].items_per_s if isinstance(rate, Answer) else None)
