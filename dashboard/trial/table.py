"""The table of a file's results: what is chosen, in which order, and which part of it is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dashboard.trial.lines import FileResult, Line

LINES_A_PAGE = 100
FAILED, UNSURE = "failed", "unsure"
_SORTS: Mapping[str, Callable[[Line], Any]] = {
    "line": lambda line: line.line,
    "label": lambda line: line.label,
    "score": lambda line: line.score,
}


@dataclass(frozen=True, slots=True)
class View:
    """What of a table is looked at. `only`: all lines, those that failed, or those that are unsure."""

    sort: str = "line"
    descending: bool = False
    label: str = ""
    only: str = ""
    page: int = 1

    def query(self, **changes: Any) -> dict[str, str]:
        """As the query of a link, with these changes; what is as at first is left out."""
        view = replace(self, **({"page": 1} | changes))
        values = {"sort": view.sort, "order": "desc" if view.descending else "", "label": view.label, "only": view.only}
        start = {"sort": "line"}
        query = {name: value for name, value in values.items() if value and value != start.get(name)}
        return query | ({"page": str(view.page)} if view.page > 1 else {})

    def sorted_by(self, sort: str) -> dict[str, str]:
        """The query of a column's heading: its order, and the other way round the second time."""
        descending = not self.descending if sort == self.sort else sort == "score"
        return self.query(sort=sort, descending=descending)


@dataclass(frozen=True, slots=True)
class Table:
    """Lines on this page, how many pages there are, and counts of all lines: by label, failed, unsure."""

    lines: tuple[Line, ...]
    chosen: int
    pages: int
    counts: tuple[tuple[str, int], ...]
    failed: int
    unsure: int


def view_of(query: Mapping[str, str]) -> View:
    """What a link asks for; what makes no sense is as at first."""
    page = query.get("page", "")
    return View(
        sort=query["sort"] if query.get("sort") in _SORTS else "line",
        descending=query.get("order") == "desc",
        label=query.get("label", ""),
        only=query["only"] if query.get("only") in {FAILED, UNSURE} else "",
        page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 6 else 1,
    )


def table_of(result: FileResult, view: View) -> tuple[Table, View]:
    """The table, and the view with a page that exists."""
    counts = Counter(line.label for line in result.lines if not line.problem)
    chosen = [line for line in result.lines if _is_chosen(line, view, is_multi=result.ask.is_multi)]
    chosen.sort(key=lambda line: line.line)
    chosen.sort(key=_SORTS[view.sort], reverse=view.descending)
    chosen.sort(key=lambda line: bool(line.problem) and view.sort != "line")  # what has no score stands last
    pages = max(1, -(-len(chosen) // LINES_A_PAGE))
    view = replace(view, page=min(view.page, pages))
    start = (view.page - 1) * LINES_A_PAGE
    return (
        Table(
            lines=tuple(chosen[start : start + LINES_A_PAGE]),
            chosen=len(chosen),
            pages=pages,
            counts=tuple(counts.most_common()),
            failed=sum(bool(line.problem) for line in result.lines),
            unsure=0 if result.ask.is_multi else sum(line.is_unsure for line in result.lines),
        ),
        view,
    )


def _is_chosen(line: Line, view: View, *, is_multi: bool) -> bool:
    if view.only == FAILED:
        return bool(line.problem)
    if view.only == UNSURE:
        return line.is_unsure and not is_multi
    return not view.label or (line.label == view.label and not line.problem)
