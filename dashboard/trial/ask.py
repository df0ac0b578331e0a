"""What the form asks for: a text, its sentiment or labels of one's own, and options; as typed, checked, and as sent."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace

from starlette.datastructures import FormData

from dashboard.words import Words
from producers.item import AskOptions
from schemas.errors import LabelsError
from schemas.fields import CONTROL, INVISIBLE, MAX_TEXT_CHARS
from schemas.labels import MAX_LABELS, label_set
from schemas.names import Task

SOURCE = "try"
_BETWEEN = re.compile("[,，、;；\t]")
_COLON = re.compile("[:：]")
_DEFAULT_PERCENT = 50.0


class Mode(enum.StrEnum):
    """What is asked about a text."""

    SENTIMENT = "sentiment"
    LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Ask:
    """The fields of the form as they were typed. `percent`: from which score a label of several counts as meant.

    `column`: of a file, the one that holds the texts.
    """

    text: str = ""
    mode: Mode = Mode.SENTIMENT
    labels: str = ""
    template: str = ""
    multi_label: bool = False
    percent: float = _DEFAULT_PERCENT
    model: str = ""
    column: str = ""

    @property
    def task(self) -> Task:
        """Where in a reply the result stands."""
        return Task.ROUTING if self.mode is Mode.LABELS else Task.SENTIMENT

    @property
    def is_multi(self) -> bool:
        """Whether several labels may be right."""
        return self.mode is Mode.LABELS and self.multi_label

    @property
    def has_options(self) -> bool:
        """Whether anything differs from what most people want."""
        return bool(self.template or self.model or self.percent != _DEFAULT_PERCENT)

    def without_text(self) -> Ask:
        """The choices alone, as a file of texts is asked about."""
        return replace(self, text="")


def ask_of(form: FormData) -> Ask:
    """The form's fields; what is missing or no choice of ours is as at first. Line ends as the model knows them."""

    def typed(name: str) -> str:
        value = form.get(name, "")
        return value.replace("\r\n", "\n").encode(errors="replace").decode() if isinstance(value, str) else ""

    return Ask(
        text=typed("text"),
        mode=Mode.LABELS if typed("mode") == Mode.LABELS else Mode.SENTIMENT,
        labels=typed("labels"),
        template=typed("template").strip(),
        multi_label=bool(typed("multi_label")),
        percent=_percent(typed("percent")),
        model=typed("model").strip(),
        column=typed("column").strip(),
    )


def _percent(typed: str) -> float:
    try:
        value = float(typed)
    except ValueError:
        return _DEFAULT_PERCENT
    return min(100.0, max(0.0, value)) if value == value else _DEFAULT_PERCENT  # noqa: PLR0124 - NaN


def pairs_of(labels: str) -> list[tuple[str, str]]:
    """Labels as typed: name and description, of a line with a colon; other lines are names with commas between."""
    found = []
    for line in labels.splitlines():
        if _COLON.search(line):
            name, description = _COLON.split(line, maxsplit=1)
            found.append((name.strip(), description.strip()))
        else:
            found += [(name.strip(), "") for name in _BETWEEN.split(line) if name.strip()]
    return found


def problems_of_text(ask: Ask, words: Words) -> dict[str, str]:
    """What is wrong with the text, by field."""
    if not CONTROL.sub(" ", ask.text).strip(INVISIBLE):
        return {"text": words("Type a text first, or click one of the examples.")}
    if len(ask.text) > MAX_TEXT_CHARS:
        given, most = words.number(len(ask.text)), words.number(MAX_TEXT_CHARS)
        return {
            "text": words("The text has %(given)s characters; at most %(most)s can be read.", given=given, most=most)
        }
    return {}


def problems_of_choices(ask: Ask, words: Words) -> dict[str, str]:
    """What is wrong with the labels and how they are put, by field."""
    if ask.mode is not Mode.LABELS:
        return {}
    problems = {}
    wrong = _wrong_with(pairs_of(ask.labels), words)
    if wrong:
        problems["labels"] = wrong
    if ask.template and ask.template.count("{}") != 1:
        problems["template"] = words("The template needs {} once, where the label is to stand.")
    return problems


def _wrong_with(pairs: list[tuple[str, str]], words: Words) -> str:
    """What is wrong with labels, or nothing."""
    names = [name for name, _ in pairs]
    given, most = words.number(len(pairs)), words.number(MAX_LABELS)
    twice = next((name for place, name in enumerate(names[: MAX_LABELS + 1]) if name in names[:place]), "")
    problem = ""
    if not pairs:
        problem = words("Give at least one label.")
    elif "" in names:
        problem = words("A line begins with a colon: the label's name stands before it.")
    elif len(pairs) > MAX_LABELS:
        problem = words("These are %(given)s labels; at most %(most)s are possible.", given=given, most=most)
    elif twice:
        problem = words("The label “%(name)s” is there twice.", name=twice)
    else:
        try:
            label_set(dict(pairs))
        except LabelsError as error:
            problem = str(error)
    return problem


def options_of(ask: Ask) -> AskOptions:
    """What goes into the inbox beside the text. `ask` has no problems."""
    options: AskOptions = {"source": SOURCE}
    if ask.model:
        options["model"] = ask.model
    if ask.mode is Mode.LABELS:
        pairs = pairs_of(ask.labels)
        options["tasks"] = [Task.ROUTING]
        options["labels"] = dict(pairs) if any(description for _, description in pairs) else [name for name, _ in pairs]
        options["multi_label"] = ask.multi_label
        if ask.template:
            options["template"] = ask.template
    return options
