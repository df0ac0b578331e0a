"""Label sets: the labels a text is routed among, as fields and files give them.

A label may have a description, examples and a threshold. What a model makes of them is `worker.inference`'s; files,
and label sets whose labels are teams, are `schemas.routes`'.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.errors import LabelsError

MAX_LABELS = 500
MAX_LABEL_CHARS = 200
MAX_DESCRIPTION_CHARS = 2_000
MAX_EXAMPLES = 200
MAX_EXAMPLE_CHARS = 20_000
_SHOWN_CHARS = 60
_LABEL_KEYS = ("description", "examples", "threshold")


@dataclass(frozen=True, slots=True)
class Label:
    """One label. `threshold` is the score below which a ticket is not given to this team."""

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels in the order they were given; names are unique."""

    labels: tuple[Label, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Label names, in order."""
        return tuple(label.name for label in self.labels)


def label_set(value: object, more_keys: Sequence[str] = ()) -> LabelSet:
    """A label set from what JSON or YAML gives.

    `value`: a list of names, or a mapping of name to description (a string or null) or to
    {description, examples, threshold}. `more_keys`: what else the caller allows beside these and has taken out, for
    errors to name. Raises LabelsError that names the label and the fix.
    """
    if isinstance(value, Mapping):
        labels = tuple(_label(name, details, more_keys) for name, details in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        labels = tuple(_label(name, None) for name in value)
    else:
        raise LabelsError('must be a list such as ["a", "b"] or an object such as {"a": "what a means"}')
    if not labels:
        raise LabelsError("has no label; give at least one")
    if len(labels) > MAX_LABELS:
        raise LabelsError(f"has {len(labels)} labels; at most {MAX_LABELS} are allowed")
    seen: set[str] = set()
    for label in labels:
        if label.name in seen:
            raise LabelsError(f"names {label.name!r} twice; labels must differ")
        seen.add(label.name)
    return LabelSet(labels)


def _label(name: object, details: object, more_keys: Sequence[str] = ()) -> Label:
    name = label_text(name, "a label", MAX_LABEL_CHARS)
    where = f"label {name!r}"
    if details is None:
        return Label(name)
    if isinstance(details, str):
        return Label(name, label_text(details, f"the description of {where}", MAX_DESCRIPTION_CHARS, empty=True))
    if not isinstance(details, Mapping):
        raise LabelsError(f"{where} must have a description or an object with description, examples, threshold")
    unknown = sorted(str(key) for key in set(details) - set(_LABEL_KEYS))
    if unknown:
        known = ", ".join((*_LABEL_KEYS, *more_keys))
        raise LabelsError(f"{where} has the unknown key {unknown[0]!r:.60}; known: {known}")
    return Label(
        name,
        label_text(
            _or_empty(details.get("description")), f"the description of {where}", MAX_DESCRIPTION_CHARS, empty=True
        ),
        _examples(details.get("examples"), where),
        _threshold(details.get("threshold"), where),
    )


def _or_empty(value: object) -> object:
    return "" if value is None else value


def shown(value: object) -> str:
    """A value in a message: its beginning, however large it is and whatever it holds."""
    bounded = reprlib.Repr()
    bounded.maxlevel = 3
    bounded.maxstring = bounded.maxlong = bounded.maxother = _SHOWN_CHARS
    return bounded.repr(value)[:_SHOWN_CHARS]


def label_text(value: object, what: str, most_chars: int, *, empty: bool = False) -> str:
    """`value` stripped, if it is text that may be kept. Raises LabelsError that says what is wrong with `what`."""
    if not isinstance(value, str):
        raise LabelsError(f"{what} must be text, not {type(value).__name__}: {shown(value)}")
    text = value.strip()
    if not text and not empty:
        raise LabelsError(f"{what} is empty")
    if len(text) > most_chars:
        raise LabelsError(f"{what} has {len(text)} characters; at most {most_chars} are allowed")
    if any(ch == "\0" or "\ud800" <= ch <= "\udfff" for ch in text):
        raise LabelsError(f"{what} holds a NUL or half of a surrogate pair; remove it")
    return text


def _examples(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise LabelsError(f"the examples of {where} must be a list of texts")
    if len(value) > MAX_EXAMPLES:
        raise LabelsError(f"{where} has {len(value)} examples; at most {MAX_EXAMPLES} are allowed")
    return tuple(label_text(example, f"an example of {where}", MAX_EXAMPLE_CHARS) for example in value)


def _threshold(value: object, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise LabelsError(f"the threshold of {where} must be a number from 0 to 1, not {shown(value)}")
    return float(value)


def parse_labels_text(text: str) -> LabelSet:
    """Labels as one string, as on a command line: split on `,` and `，`, stripped."""
    names = [name.strip() for name in text.replace("，", ",").split(",")]
    return label_set([name for name in names if name])
