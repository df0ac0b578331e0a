"""Label sets: the labels a text is routed among, and the files and fields they are read from.

A label may have a description, examples and a threshold. What a model makes of them is
`worker.inference`'s; versions of route sets in Postgres are `worker.router`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import LabelsError
from schemas.names import DEFAULT_ROUTE_SET, TRIAGE_TEAM

MAX_LABELS = 500
MAX_LABEL_CHARS = 200
MAX_DESCRIPTION_CHARS = 2_000
MAX_EXAMPLES = 200
MAX_EXAMPLE_CHARS = 20_000


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


@dataclass(frozen=True, slots=True)
class RouteSet:
    """The teams of one route set, as a file or a version in Postgres holds them.

    `disabled` teams stay in the set, and nothing is routed to them.
    """

    name: str
    labels: LabelSet
    disabled: frozenset[str] = frozenset()


def label_set(value: object) -> LabelSet:
    """A label set from what JSON or YAML gives.

    `value`: a list of names, or a mapping of name to description (a string or null) or to
    {description, examples, threshold}. Raises LabelsError that names the label and the fix.
    """
    if isinstance(value, Mapping):
        labels = tuple(_label(name, details) for name, details in value.items())
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


def _label(name: object, details: object) -> Label:
    name = _text(name, "a label", MAX_LABEL_CHARS)
    where = f"label {name!r}"
    if details is None:
        return Label(name)
    if isinstance(details, str):
        return Label(name, _text(details, f"the description of {where}", MAX_DESCRIPTION_CHARS, empty=True))
    if not isinstance(details, Mapping):
        raise LabelsError(f"{where} must have a description or an object with description, examples, threshold")
    unknown = sorted(str(key) for key in set(details) - {"description", "examples", "threshold"})
    if unknown:
        raise LabelsError(f"{where} has the unknown key {unknown[0]!r}; known: description, examples, threshold")
    return Label(
        name,
        _text(_or_empty(details.get("description")), f"the description of {where}", MAX_DESCRIPTION_CHARS, empty=True),
        _examples(details.get("examples"), where),
        _threshold(details.get("threshold"), where),
    )


def _or_empty(value: object) -> object:
    return "" if value is None else value


def _text(value: object, what: str, most_chars: int, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        raise LabelsError(f"{what} must be text, not {type(value).__name__}: {value!r:.60}")
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
    return tuple(_text(example, f"an example of {where}", MAX_EXAMPLE_CHARS) for example in value)


def _threshold(value: object, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise LabelsError(f"the threshold of {where} must be a number from 0 to 1, not {value!r:.60}")
    return float(value)


def parse_labels_text(text: str) -> LabelSet:
    """Labels as one string, as on a command line: split on `,` and `，`, stripped."""
    names = [name.strip() for name in text.replace("，", ",").split(",")]
    return label_set([name for name in names if name])


def read_labels_file(path: Path) -> LabelSet:
    """A labels file, YAML or JSON; a routes file, told by its `route_set` and `teams`, will do. Raises LabelsError."""
    content = _read_mapping(path)
    if isinstance(content, Mapping) and content.keys() == {"route_set", "teams"}:
        routes = read_routes_file(path)
        return LabelSet(tuple(label for label in routes.labels.labels if label.name not in routes.disabled))
    try:
        return label_set(content)
    except LabelsError as error:
        raise LabelsError(f"{path}: {error}") from None


def read_routes_file(path: Path) -> RouteSet:
    """A routes file: `route_set` (default `default`) and `teams`, or a bare labels mapping.

    A team may have `enabled: false` beside what a label may have. Raises LabelsError that names what is wrong.
    """
    content = _read_mapping(path)
    name, teams = DEFAULT_ROUTE_SET, content
    if isinstance(content, Mapping) and "teams" in content:
        unknown = sorted(str(key) for key in set(content) - {"route_set", "teams"})
        if unknown:
            raise LabelsError(f"{path}: unknown key {unknown[0]!r}; known: route_set, teams")
        name, teams = content.get("route_set", DEFAULT_ROUTE_SET), content["teams"]
    try:
        name = _text(name, "route_set", MAX_LABEL_CHARS)
        teams, disabled = _without_enabled(teams)
        labels = label_set(teams)
    except LabelsError as error:
        raise LabelsError(f"{path}: {error}") from None
    if TRIAGE_TEAM in labels.names:
        raise LabelsError(f"{path}: {TRIAGE_TEAM!r} is where undecided tickets go; name the team otherwise")
    return RouteSet(name, labels, disabled)


def _without_enabled(teams: Any) -> tuple[Any, frozenset[str]]:
    """`teams` as labels have them, and the names of those that say `enabled: false`."""
    if not isinstance(teams, Mapping):
        return teams, frozenset()
    labels: dict[Any, Any] = {}
    disabled = set()
    for name, details in teams.items():
        labels[name] = details
        if isinstance(details, Mapping) and "enabled" in details:
            labels[name] = {key: value for key, value in details.items() if key != "enabled"}
            if not isinstance(details["enabled"], bool):
                raise LabelsError(f"enabled of label {name!r} must be true or false")
            if not details["enabled"]:
                disabled.add(str(name).strip())
    return labels, frozenset(disabled)


def _read_mapping(path: Path) -> Any:
    import yaml  # only files need it, and workers read none

    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_unique)
        return _loader()(text).get_single_data()
    except OSError as error:
        raise LabelsError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise LabelsError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise LabelsError(f"{path}: cannot be read as YAML or JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{key!r} stands twice")
    return dict(pairs)


def _loader() -> Any:
    """PyYAML's safe loader, but a key that stands twice is an error instead of the last one winning."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        # What `<<` merges in is a default: the mapping's own keys may say otherwise.
        own = (key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge")
        keys = [loader.construct_object(key) for key in own]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key!r} stands twice")
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    return Loader
