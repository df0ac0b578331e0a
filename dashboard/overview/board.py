"""All that the dashboard shows for some filters: figures, alerts and plots, or why one of them cannot be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Row

from dashboard.overview import choices, tiles
from dashboard.overview.filters import Filters, Span
from dashboard.overview.plots import PLOTS, Plot
from dashboard.overview.plots.plot import MOST_ROWS
from dashboard.overview.reading import Read, read
from dashboard.overview.sql import Answer
from dashboard.overview.window import Window, window_of
from dashboard.words import Words, later

_FILTERS = {"source": later("source"), "team": later("team"), "lane": later("inbox"), "task": later("task")}
_LONGER = {Span.HOUR: Span.DAY, Span.DAY: Span.WEEK, Span.WEEK: Span.MONTH, Span.MONTH: Span.ALL, Span.CUSTOM: Span.ALL}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A plot on the page: its chart, or why there is none. `chart` None without a problem: there are no rows."""

    plot: Plot
    chart: dict[str, Any] | None
    notes: Sequence[str]
    shown: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Board:
    """`is_empty`: nothing has ever come in. `longer`: the next longer stretch of time, None if it is all."""

    window: Window
    tiles: Sequence[tiles.Tile]
    tiles_sql: str | None
    alerts: Sequence[Row[Any]]
    plots: Sequence[Drawn]
    sources: Sequence[str]
    teams: Sequence[str]
    is_empty: bool
    longer: Span | None
    problem: str | None


async def window_now(reader: Engine, filters: Filters, viewers_zone: str) -> tuple[Window, Read]:
    """The window of the filters at this moment, and the answers it was made with."""
    known = await read(reader, {"extent": choices.EXTENT}, {})
    extent = _first(known["extent"])
    stretch = (extent.first_at, extent.last_at) if extent and extent.first_at else None
    return window_of(filters, viewers_zone, datetime.now(UTC), stretch), known


async def look(reader: Engine, filters: Filters, viewers_zone: str, words: Words) -> Board:
    """Ask everything and make it ready to be shown. Raises nothing for a database that is away."""
    window, known = await window_now(reader, filters, viewers_zone)
    statements = {name: plot.statement for name, plot in PLOTS.items()}
    others = {":sources": choices.SOURCES, ":teams": choices.TEAMS, ":alerts": choices.ALERTS}
    answers = await read(reader, statements | others | {":tiles": tiles.STATEMENT}, window.parameters)
    extent, figures, asked = _first(known["extent"]), _first(answers[":tiles"]), answers[":tiles"]
    return Board(
        window,
        tiles=list(tiles.tiles(figures, words)) if figures else (),
        tiles_sql=asked.shown if isinstance(asked, Answer) else None,
        alerts=_rows(answers[":alerts"]),
        plots=[_drawn(plot, answers[name], window, words) for name, plot in PLOTS.items()],
        sources=[row.name for row in _rows(answers[":sources"])],
        teams=[row.name for row in _rows(answers[":teams"])],
        is_empty=extent is not None and not (extent.has_items or extent.has_tickets or extent.has_dead_letters),
        longer=_LONGER.get(filters.span),
        problem=asked if isinstance(asked, str) else None,
    )


def _drawn(plot: Plot, answer: Answer | str, window: Window, words: Words) -> Drawn:
    if isinstance(answer, str):
        return Drawn(plot, None, (), None, answer)
    if not answer.rows:
        return Drawn(plot, None, list(_notes(plot, window, words)), answer.shown, None)
    chart = plot.draw(answer.rows, window, words)
    notes = list(_notes(plot, window, words))
    if chart.left_out:
        notes.append(words("%(number)s more are in the CSV.", number=words.number(chart.left_out)))
    if len(answer.rows) >= MOST_ROWS:
        notes.append(words("Only the first %(number)s rows are shown.", number=words.number(MOST_ROWS)))
    about = words("%(title)s: %(summary)s", title=words(plot.title), summary=chart.summary)
    return Drawn(plot, chart.as_json(about, window.zone.key), notes, answer.shown, None)


def _notes(plot: Plot, window: Window, words: Words) -> Sequence[str]:
    notes = [words(note) for note in plot.notes]
    for name, label in _FILTERS.items():
        if getattr(window.filters, name) is None:
            continue
        if name in plot.partly:
            notes.append(words(plot.partly[name]))
        elif name not in plot.filters:
            notes.append(words("The filter %(filter)s does not apply here.", filter=words(label)))
    if window.is_between_hours and "bin" in plot.filters:
        notes.append(words("Sums are kept by the hours of UTC: days of this zone begin with the next one."))
    return notes


def _rows(answer: Answer | str) -> Sequence[Row[Any]]:
    return answer.rows if isinstance(answer, Answer) else ()


def _first(answer: Answer | str) -> Row[Any] | None:
    rows = _rows(answer)
    return rows[0] if rows else None
