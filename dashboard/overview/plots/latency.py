"""How long results take: the wait in the inbox, and the time in the model."""

from __future__ import annotations

from collections.abc import Callable

from dashboard.overview.bins import Bin
from dashboard.overview.plots.confidence import TASKS
from dashboard.overview.plots.plot import Chart, Plot, Rows, Series, binned
from dashboard.overview.window import Window
from dashboard.words import Words, later

_DASHES = {50: None, 95: "dashed", 99: "dotted"}
_NOTES = (
    later("By hour, whatever is chosen above: percentiles of several hours cannot be added up."),
    later("The view keeps 7 days; percentiles are within 5 percent of the true value."),
)


def _drawing(measure: str) -> Callable[[Rows, Window, Words], Chart]:
    def draw(rows: Rows, window: Window, words: Words) -> Chart:
        x, bins = binned(rows, window, Bin.HOUR)
        ways = sorted({(row.task, row.lane) for row in rows}, reverse=True)
        by_way = [{(row.task, row.lane): row for row in here} for here in bins]
        many_tasks, many_lanes = (len(set(names)) > 1 for names in zip(*ways, strict=True))
        series = [
            Series(
                " · ".join([words(TASKS[task])] * many_tasks + [words(lane)] * many_lanes + [f"p{percent}"]),
                [getattr(by[task, lane], f"{measure}_ms_p{percent}") if (task, lane) in by else None for by in by_way],
                "ms", dash=dash, group=at,
            )
            for at, (task, lane) in enumerate(ways)
            for percent, dash in _DASHES.items()
        ]  # fmt: skip
        greatest = max(getattr(row, f"{measure}_ms_p95") for row in rows)
        values = {"results": words.number(sum(row.results for row in rows)), "p95": words.number(greatest, 1)}
        summary = words("Results: %(results)s; the greatest p95 of an hour: %(p95)s ms.", **values)
        return Chart("line", x, series, summary, Bin.HOUR)

    return draw


QUEUE = Plot(
    "queue-times",
    later("Wait in the inbox"),
    later("How long 50, 95 and 99 percent of the results waited at most before a worker took them."),
    """
SELECT hour AS start, task, lane, results, queue_ms_p50, queue_ms_p95, queue_ms_p99
FROM dash_latency
WHERE true
  AND hour >= %(begin)s
  AND hour < %(end)s
  AND lane = %(lane)s
  AND task = %(task)s
ORDER BY hour, task, lane
LIMIT 20000
""",
    _drawing("queue"),
    _NOTES,
)

INFER = Plot(
    "infer-times",
    later("Time in the model"),
    later("How long 50, 95 and 99 percent of the results took at most in the model."),
    """
SELECT hour AS start, task, lane, results, infer_ms_p50, infer_ms_p95, infer_ms_p99
FROM dash_latency
WHERE true
  AND hour >= %(begin)s
  AND hour < %(end)s
  AND lane = %(lane)s
  AND task = %(task)s
ORDER BY hour, task, lane
LIMIT 20000
""",
    _drawing("infer"),
    _NOTES,
)
