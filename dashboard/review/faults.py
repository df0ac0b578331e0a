"""Why a review could not be made, in the visitor's language."""

from __future__ import annotations

from dashboard.words import Words, later
from schemas.errors import ReviewError
from worker.desk.reviews import Fault

_TEXTS = {
    Fault.LOST: later("this item is not with you any more. It was given back, or taken over when your time was up."),
    Fault.DECIDED: later("%(item)s is decided already, by %(who)s."),
    Fault.WITH_ANOTHER: later("%(item)s is with %(who)s now."),
    Fault.CHANGED: later("the text of %(item)s has changed since you were shown it."),
    Fault.NO_LABEL: later("“%(label)s” is no label here. Choose one of these: %(known)s"),
    Fault.NOTE_LONG: later("a note has at most %(most)s characters."),
    Fault.UNDONE: later("this decision was undone already."),
}


def said_of(error: ReviewError, words: Words) -> str:
    """The error as it is shown; one that no page brings about stands there in English."""
    return words(_TEXTS[Fault(error.code)], **error.values) if error.code else str(error)
