"""How people feel: over time, and by where they say it."""

from __future__ import annotations

from collections import Counter

from dashboard.overview.plots.plot import MOST_BARS, Chart, Plot, Rows, Series, binned, ranked
from dashboard.overview.window import Window
from dashboard.words import Words, later

NEGATIVE = "negative"
_TONES = {"positive": "good", NEGATIVE: "bad", "neutral": "soft"}
_NAMES = {"positive": later("positive"), NEGATIVE: later("negative"), "neutral": later("neutral")}


def _labels(rows: Rows) -> list[str]:
    """Labels by their number of items; the two of the shipped model always in the same order."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.label] += row.items
    first = [label for label in _TONES if label in counts]
    return first + [label for label, _ in counts.most_common() if label not in first]


def _name(label: str, words: Words) -> str:
    """A label of the shipped models in the viewer's language; any other as it is."""
    return words(_NAMES[label]) if label in _NAMES else label


def _summary(rows: Rows, words: Words) -> str:
    items = sum(row.items for row in rows)
    negative = sum(row.items for row in rows if row.label == NEGATIVE)
    return words(
        "Items: %(items)s; negative: %(share)s.", items=words.number(items), share=words.percent(negative / items)
    )


def _over_time(rows: Rows, window: Window, words: Words) -> Chart:
    x, bins = binned(rows, window)
    by_label = [{row.label: row for row in here} for here in bins]
    series = [
        Series(
            _name(label, words), [by[label].items if label in by else 0 for by in by_label], "items", _TONES.get(label)
        )
        for label in _labels(rows)
    ]
    share = [(by[NEGATIVE].share if NEGATIVE in by else 0.0) if by else None for by in by_label]
    series.append(Series(words("negative share"), share, "share", "warn", "line"))
    return Chart("stacked", x, series, _summary(rows, words), window.bin)


def _by_source(rows: Rows, _window: Window, words: Words) -> Chart:
    sources = ranked(rows)
    found = {(row.source, row.label): row.items for row in rows}
    shown = sources[:MOST_BARS]
    series = [
        Series(_name(label, words), [found.get((source, label), 0) for source in shown], "items", _TONES.get(label))
        for label in _labels(rows)
    ]
    return Chart("bars", shown, series, _summary(rows, words), left_out=len(sources) - len(shown))


SENTIMENT = Plot(
    "sentiment",
    later("Sentiment over time"),
    later("Items by when they were written, and the share of them that is negative."),
    """
SELECT start, label, items, (items / of_start)::double precision AS share
FROM (
    SELECT date_trunc(%(bin)s, hour, %(zone)s) AS start, label, sum(items)::bigint AS items,
           sum(sum(items)) OVER (PARTITION BY date_trunc(%(bin)s, hour, %(zone)s)) AS of_start
    FROM dash_sentiment_hourly
    WHERE true
      AND hour >= %(begin)s
      AND hour < %(end)s
      AND hour >= %(earliest)s
      AND hour < %(latest)s
      AND source = %(source)s
    GROUP BY 1, 2
) AS sums
ORDER BY start, label
LIMIT 20000
""",
    _over_time,
)

SOURCES = Plot(
    "sources",
    later("Sentiment by source"),
    later("Which systems the items come from, the largest first."),
    """
SELECT source, label, items, (items / of_source)::double precision AS share
FROM (
    SELECT source, label, sum(items)::bigint AS items, sum(sum(items)) OVER (PARTITION BY source) AS of_source
    FROM dash_sentiment_hourly
    WHERE true
      AND hour >= %(begin)s
      AND hour < %(end)s
      AND source = %(source)s
    GROUP BY source, label
) AS sums
ORDER BY of_source DESC, source, label
LIMIT 20000
""",
    _by_source,
)
