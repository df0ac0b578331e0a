"""Where tickets went: by team, and who decided it."""

from __future__ import annotations

from dashboard.overview.plots.plot import MOST_BARS, Chart, Plot, Rows, Series, ranked
from dashboard.overview.window import Window
from dashboard.words import Words, later
from schemas.names import AssignmentStatus

_STATUSES = {
    AssignmentStatus.AUTO: (later("by the model"), "good"),
    AssignmentStatus.TRIAGE: (later("waiting in triage"), "warn"),
    AssignmentStatus.OVERRIDDEN: (later("moved by a person"), None),
}


def _draw(rows: Rows, _window: Window, words: Words) -> Chart:
    teams = ranked(rows)
    shown = teams[:MOST_BARS]
    found = {(row.team, row.status): row.tickets for row in rows}
    series = [
        Series(words(name), [found.get((team, status), 0) for team in shown], "tickets", tone)
        for status, (name, tone) in _STATUSES.items()
    ]
    totals = [sum(row.tickets for row in rows if row.status == status) for status in _STATUSES]
    parts = ", ".join(f"{words.number(total)} {each.name}" for total, each in zip(totals, series, strict=True) if total)
    summary = words("Tickets: %(tickets)s (%(parts)s).", tickets=words.number(sum(totals)), parts=parts)
    return Chart("bars", shown, series, summary, left_out=len(teams) - len(shown))


TEAMS = Plot(
    "teams",
    later("Tickets by team"),
    later("The team each ticket is with now, and who decided it."),
    """
SELECT team, status, tickets, low_confidence
FROM (
    SELECT team, status, sum(tickets)::bigint AS tickets, sum(low_confidence)::bigint AS low_confidence,
           sum(sum(tickets)) OVER (PARTITION BY team) AS of_team
    FROM dash_routing_by_team
    WHERE true
      AND hour >= %(begin)s
      AND hour < %(end)s
      AND source = %(source)s
      AND team = %(team)s
    GROUP BY team, status
) AS sums
ORDER BY of_team DESC, team, status
LIMIT 20000
""",
    _draw,
)
