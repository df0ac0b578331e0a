"""The codes of dead letters in words: what each means, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.words import later
from schemas.errors import Code


@dataclass(frozen=True, slots=True)
class Advice:
    """What a code means and what to do, in English; pages translate it."""

    meaning: str
    to_do: str


ADVICE = {
    Code.MISSING_FIELD: Advice(
        later("A field that every entry needs is missing."),
        later("Add the field and send the letter back, or drop it. Ask the producer to send the field."),
    ),
    Code.EMPTY_FIELD: Advice(
        later("A field holds nothing but blanks."),
        later("Fill it in and send the letter back. An item that has no text can be dropped."),
    ),
    Code.TOO_LONG: Advice(
        later("A field is longer than its bound."),
        later("Shorten it and send the letter back."),
    ),
    Code.NOT_UTF8: Advice(
        later("The bytes of a field are not UTF-8."),
        later("Put text in place of the bytes, or drop the letter. Ask the producer to encode as UTF-8."),
    ),
    Code.BAD_CHARACTER: Advice(
        later("A field holds a control character that it may not hold."),
        later("Remove the character and send the letter back."),
    ),
    Code.BAD_JSON: Advice(
        later("A field that should hold JSON holds something else."),
        later("Correct the JSON, or remove the field if nobody needs it, and send the letter back."),
    ),
    Code.BAD_TIME: Advice(
        later("A time is not written as RFC 3339 with a zone."),
        later("Write it as 2026-01-31T08:00:00+08:00, or remove the field, and send the letter back."),
    ),
    Code.BAD_VALUE: Advice(
        later("A field does not hold one of the values it may hold."),
        later("Put in what the message asks for and send the letter back."),
    ),
    Code.BAD_LABELS: Advice(
        later("The item's own labels break the rules for labels."),
        later("Correct the labels as the message says, or remove the field, and send the letter back."),
    ),
    Code.UNKNOWN_KIND: Advice(
        later("The kind of item is unknown."),
        later("Put in comment or ticket and send the letter back."),
    ),
    Code.UNKNOWN_TASK: Advice(
        later("A task is unknown."),
        later("Put in sentiment, routing or both, or remove the field, and send the letter back."),
    ),
    Code.UNKNOWN_ROUTE_SET: Advice(
        later("The route set does not exist, or its rules cannot be read."),
        later("Apply the route set with fenliu routes apply, or name another; then send the letters back."),
    ),
    Code.UNKNOWN_MODEL: Advice(
        later("The model is not there, or does not do this task."),
        later("Import the model with fenliu models import, or name another; then send the letters back."),
    ),
    Code.MODEL_FAILED: Advice(
        later("The model failed on this text alone."),
        later("Shorten the text, or send the letter back once the model has changed. The worker's log says more."),
    ),
    Code.ROW_REFUSED: Advice(
        later("Postgres refused the row of this item for what it holds."),
        later("Correct what the message names and send the letter back."),
    ),
    Code.POISON: Advice(
        later("The entry ended its worker again and again, alone too."),
        later("Do not send it back as it is: look into the worker's log, and shorten the text or drop the letter."),
    ),
}  # fmt: skip
_OF_LATER_WORKERS = Advice(
    later("A code that this version does not know."),
    later("Read the message, and update the server that shows these pages."),
)


def advice_of(code: str) -> Advice:
    """For any code that a row may hold."""
    try:
        return ADVICE[Code(code)]
    except (ValueError, KeyError):
        return _OF_LATER_WORKERS
