"""What could not be classified, and why."""

from __future__ import annotations

from collections import Counter

from dashboard.overview.plots.plot import MOST_BARS, Chart, Plot, Rows, Series
from dashboard.overview.window import Window
from dashboard.words import Words, later


def _draw(rows: Rows, _window: Window, words: Words) -> Chart:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.code] += row.waiting
    shown = counts.most_common(MOST_BARS)
    series = [Series(words("waiting"), [count for _, count in shown], "entries", "bad")]
    summary = words("Entries waiting: %(entries)s.", entries=words.number(counts.total()))
    return Chart("bars", [code for code, _ in shown], series, summary, left_out=len(counts) - len(shown))


DEAD_LETTERS = Plot(
    "dead-letters",
    later("Dead letters by reason"),
    later("Entries that could not be classified and have not been put back yet."),
    """
SELECT code, field, count(*) AS waiting, max(created_at) AS last_at
FROM dash_dead_letters
WHERE waiting
  AND created_at >= %(begin)s
  AND created_at < %(end)s
  AND source = %(source)s
  AND lane = %(lane)s
GROUP BY code, field
ORDER BY waiting DESC, code, field
LIMIT 20000
""",
    _draw,
)
