"""How often the model was not sure."""

from __future__ import annotations

from dashboard.overview.plots.plot import Chart, Plot, Rows, Series, binned
from dashboard.overview.window import Window
from dashboard.words import Words, later
from schemas.names import Task

TASKS = {Task.SENTIMENT: later("sentiment"), Task.ROUTING: later("routing")}


def _draw(rows: Rows, window: Window, words: Words) -> Chart:
    x, bins = binned(rows, window)
    shares = [{row.task: row.share for row in here} for here in bins]
    present = [task for task in TASKS if any(row.task == task for row in rows)]
    series = [Series(words(TASKS[task]), [by.get(task) for by in shares], "share") for task in present]
    results, low = sum(row.results for row in rows), sum(row.low_confidence for row in rows)
    values = {"low": words.number(low), "results": words.number(results), "share": words.percent(low / results, 1)}
    summary = words("Results with a score under 0.7: %(low)s of %(results)s (%(share)s).", **values)
    return Chart("line", x, series, summary, window.bin)


CONFIDENCE = Plot(
    "confidence",
    later("Low confidence"),
    later("The share of results with a score under 0.7: those that somebody should look at."),
    """
SELECT start, task, results, low_confidence, (low_confidence / results)::double precision AS share
FROM (
    SELECT date_trunc(%(bin)s, hour, %(zone)s) AS start, task, sum(results) AS results,
           sum(low_confidence) AS low_confidence
    FROM (
        SELECT 'sentiment' AS task, hour, items AS results, low_confidence
        FROM dash_sentiment_hourly
        WHERE true
          AND source = %(source)s
        UNION ALL
        SELECT 'routing' AS task, hour, tickets AS results, low_confidence
        FROM dash_routing_by_team
        WHERE true
          AND source = %(source)s
          AND team = %(team)s
    ) AS both_tasks
    WHERE true
      AND hour >= %(begin)s
      AND hour < %(end)s
      AND hour >= %(earliest)s
      AND hour < %(latest)s
      AND task = %(task)s
    GROUP BY 1, 2
) AS sums
ORDER BY start, task
LIMIT 20000
""",
    _draw,
    partly={"team": later("The team filter applies to routing alone.")},
)
