"""How much is coming in, minute by minute."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

from dashboard.overview.plots.plot import Chart, Plot, Rows, Series
from dashboard.overview.window import Window
from dashboard.words import Words, later
from schemas.names import Lane

_MINUTE = timedelta(minutes=1)
LANES = {Lane.LIVE: later("live"), Lane.BULK: later("bulk")}


def _draw(rows: Rows, window: Window, words: Words) -> Chart:
    found: defaultdict[str, dict[object, int]] = defaultdict(dict)
    for row in rows:
        found[row.lane][row.minute] = row.items
    # Up to now: that nothing came of late is to be seen.
    first, last = rows[0].minute, max(rows[-1].minute, min(window.now, window.end or window.now))
    minutes = [first + n * _MINUTE for n in range(int((last - first) / _MINUTE) + 1)]
    series = [
        Series(words(name), [found[lane].get(at, 0) for at in minutes], "items")
        for lane, name in LANES.items()
        if lane in found
    ]
    items = sum(row.items for row in rows)
    most = max(sum(found[lane].get(at, 0) for lane in found) for at in minutes)
    summary = words(
        "Items taken: %(items)s; in the busiest minute: %(most)s.", items=words.number(items), most=words.number(most)
    )
    return Chart("line", [at.isoformat() for at in minutes], series, summary, "minute")


THROUGHPUT = Plot(
    "throughput",
    later("Items per minute"),
    later("Items by the minute in which a worker took them."),
    """
SELECT minute, lane, sum(items)::bigint AS items
FROM dash_throughput
WHERE true
  AND minute >= %(begin)s
  AND minute < %(end)s
  AND lane = %(lane)s
GROUP BY minute, lane
ORDER BY minute, lane
LIMIT 20000
""",
    _draw,
    (later("The view keeps 24 hours."),),
)
