"""The results of a file as CSV that spreadsheets open: UTF-8 with its mark, and no cell that is taken for a formula."""

from __future__ import annotations

import csv
import io

from dashboard.trial.lines import FileResult, labels_of

# Excel takes full-width signs for plain ones where Chinese or Japanese is written.
_FORMULA_SIGNS = tuple("=+-@＝＋－＠\t\r")


def sheet(result: FileResult) -> bytes:
    """All lines in the order of the file, one column for the score of every label where there are not too many."""
    labels = labels_of(result)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    own = ["line", "text", "label", "score", *(["labels"] if result.ask.is_multi else []), "model", "error"]
    writer.writerow([*own, *(harmless(f"score of {label}") for label in labels)])
    for line in result.lines:
        given = bool(line.label)
        cells = [line.line, harmless(line.text), harmless(line.label), line.score if given else ""]
        if result.ask.is_multi:
            cells.append(harmless("; ".join(line.passing)))
        cells += [harmless(line.model), harmless(line.problem)]
        writer.writerow([*cells, *(line.scores.get(label, "") for label in labels)])
    return b"\xef\xbb\xbf" + file.getvalue().encode("utf-8", "replace")


def harmless(text: str) -> str:
    """Text that a spreadsheet would take for a formula, behind an apostrophe."""
    return f"'{text}" if text.lstrip(" \n").startswith(_FORMULA_SIGNS) else text
