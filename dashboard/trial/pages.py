"""Try it: a text or a file in, labels and scores out, through the inbox as in production."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dashboard.pages import Pages
from dashboard.trial.ask import Ask, ask_of, problems_of_choices, problems_of_text
from dashboard.trial.asking import FIELDS, Trouble, ask_one, look_for_worker
from dashboard.trial.examples import EXAMPLES, example_of
from dashboard.trial.lines import FileResult, Kept, classify_file
from dashboard.trial.reading import MOST_ROWS, FileTexts, read_texts
from dashboard.trial.result import Shown, shown
from dashboard.trial.sheet import sheet
from dashboard.trial.table import Table, View, table_of, view_of
from dashboard.visit import Visit
from producers.gateway.leaving import unless_gone
from schemas.errors import SourceError
from schemas.fields import MAX_TEXT_CHARS
from schemas.messages import Reply
from schemas.names import Role

pages = Pages()


@pages.get("/try", Role.VIEWER)
async def try_page(visit: Visit) -> Response:
    """The empty form."""
    return _page(visit, Ask())


@pages.post("/try", Role.VIEWER)
async def try_text(visit: Visit) -> Response:
    """One text and its result; an example fills the form and is run."""
    example = example_of(visit.form.get("example"))
    ask = example.ask if example else ask_of(visit.form)
    problems = problems_of_text(ask, visit.words) | problems_of_choices(ask, visit.words)
    if problems:
        return _page(visit, ask, Trouble(422, problems))
    started_s = time.perf_counter()
    trouble = await look_for_worker(visit.site, visit.words)
    if trouble:
        return _page(visit, ask, trouble)
    asked = ask_one(visit.site.client, ask, visit.site.settings.http_timeout_s, visit.words)
    answer = await unless_gone(visit.request, asked)
    waited_ms = (time.perf_counter() - started_s) * 1000
    return _page(visit, ask, shown(answer, ask, waited_ms) if isinstance(answer, Reply) else answer)


@pages.post("/try/file", Role.VIEWER)
async def try_file(visit: Visit) -> Response:
    """A file of texts; its table is another page, which can be loaded again."""
    ask = ask_of(visit.form)
    problems = problems_of_choices(ask, visit.words)
    texts = await _texts(visit, ask)
    if isinstance(texts, str):
        problems["file"] = texts
    if problems or isinstance(texts, str):
        return _page(visit, ask, Trouble(422, problems))
    trouble = await look_for_worker(visit.site, visit.words)
    if trouble:
        return _page(visit, ask, trouble)
    name = getattr(visit.form["file"], "filename", "") or ""
    done = await unless_gone(visit.request, classify_file(visit.site, name, texts, ask, visit.words))
    if isinstance(done, Trouble):
        return _page(visit, ask, done)
    await Kept(visit.site, visit.secret).put(done)
    return visit.go(f"/try/file/{done.id}")


@pages.get("/try/file/{id}", Role.VIEWER)
async def file_table(visit: Visit) -> Response:
    """The table of a file."""
    result = await _kept(visit)
    table, view = table_of(result, view_of(visit.request.query_params))
    return _page(visit, result.ask, result=result, table=table, view=view)


@pages.get("/try/file/{id}/results.csv", Role.VIEWER)
async def file_sheet(visit: Visit) -> Response:
    """The same as CSV."""
    result = await _kept(visit)
    headers = {"Content-Disposition": 'attachment; filename="fenliu-results.csv"'}
    return Response(sheet(result), headers=headers, media_type="text/csv; charset=utf-8")


async def _texts(visit: Visit, ask: Ask) -> FileTexts | str:
    """The texts of the uploaded file, or why there are none."""
    file = visit.form.get("file")
    if not isinstance(file, UploadFile) or not file.filename:
        return visit.words("Choose a file first.")
    try:
        return await asyncio.to_thread(read_texts, file.filename, await file.read(), ask.column, visit.words)
    except SourceError as error:
        return str(error).removeprefix("stdin: ")


async def _kept(visit: Visit) -> FileResult:
    result = await Kept(visit.site, visit.secret).get(visit.request.path_params["id"])
    if result is None:
        raise HTTPException(404, visit.words("These results are no longer kept. Send the file again."))
    return result


def _page(
    visit: Visit,
    ask: Ask,
    found: Shown | Trouble | None = None,
    *,
    result: FileResult | None = None,
    table: Table | None = None,
    view: View | None = None,
) -> Response:
    """The page, or for htmx what belongs into its place for results."""
    trouble = found if isinstance(found, Trouble) else Trouble(200, {})
    is_part = visit.is_htmx and visit.request.method == "POST"
    return visit.page(
        "trial/result.html" if is_part else "trial/page.html",
        trouble.status,
        {"HX-Retarget": "#result"} if is_part else None,
        ask=ask,
        shown=found if isinstance(found, Shown) else None,
        problems={field: trouble.problems.get(field, "") for field in FIELDS},
        is_part=is_part,
        examples=EXAMPLES,
        most_chars=MAX_TEXT_CHARS,
        most_rows=MOST_ROWS,
        most_bytes=visit.site.settings.http_body_bytes,
        result=result,
        table=table,
        view=view,
    )
