"""What training makes of raw text, counted and shown: markup, control characters, full-width forms, duplicates.

A served text goes through its model's tokenizer alone. So that it meets the same treatment, `serving_tokenizer` puts
into the tokenizer what the tokenizer does not do already; only markup is a matter of the training files.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from html.entities import html5
from typing import Any

from rich.table import Table
from rich.text import Text
from tokenizers import Regex, Tokenizer, normalizers

from training.data_files import Row

SAMPLES = 3
_SAMPLE_CHARACTERS = 60

_INLINE = "a abbr b big cite code em font i mark q s small span strike strong sub sup tt u"
_BLOCK = (
    "address article aside blockquote body br button canvas caption center col dd details div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hr html iframe img input label li link main meta nav "
    "object ol option p picture pre section select source summary table tbody td textarea tfoot th thead time title "
    "tr ul video"
)
_REST = r"(?:\s[^<>]*|/)?"
_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE.replace(' ', '|')}){_REST}>", re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK.replace(' ', '|')}){_REST}>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

CONTROL = r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]"
_CONTROL = re.compile(CONTROL)
# Full-width punctuation stays: it is ordinary Chinese, and Chinese vocabularies have it.
_FULL_WIDTH = [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)]
_HALF_WIDTH = {code: code - 0xFEE0 for code in _FULL_WIDTH} | {0x3000: 0x20}
_SPACE = re.compile(r"\s+")


def without_markup(text: str) -> str:
    """Tags of HTML, comments and scripts removed, entities resolved. `a<b`, `<3` and `R&D` are no markup and stay."""
    stripped = _BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", _HIDDEN.sub(" ", text)))
    return _ENTITY.sub(lambda found: _resolved(found[0]), stripped)


def _resolved(entity: str) -> str:
    return html.unescape(entity) if entity[1] == "#" or entity[1:] in html5 else entity


def without_controls(text: str) -> str:
    """Control, zero-width and direction characters removed."""
    return _CONTROL.sub("", text)


def half_width(text: str) -> str:
    """Full-width letters, digits and spaces as their ASCII forms."""
    return text.translate(_HALF_WIDTH)


def single_spaces(text: str) -> str:
    """Any run of white space one space, none at the ends."""
    return _SPACE.sub(" ", text).strip()


RULES: dict[str, Callable[[str], str]] = {
    "HTML tags and entities": without_markup,
    "control characters": without_controls,
    "full-width letters and digits": half_width,
    "white space": single_spaces,
}
EMPTY = "nothing left: dropped"
DUPLICATE = "exact duplicates: dropped"
CONFLICT = "same text, different labels: all dropped"


@dataclass
class Tally:
    """How many texts each rule changed, and the first few with their line, before and after."""

    file: str
    rows: int = 0
    kept: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)

    def add(self, rule: str, line: int, before: str, after: str) -> None:
        """Counts one change."""
        self.counts[rule] = self.counts.get(rule, 0) + 1
        shown = self.samples.setdefault(rule, [])
        if len(shown) < SAMPLES:
            shown.append((line, before[:_SAMPLE_CHARACTERS], after[:_SAMPLE_CHARACTERS]))

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "file": self.file,
            "rows": self.rows,
            "kept": self.kept,
            "changes": {
                rule: {
                    "texts": count,
                    "samples": [{"line": line, "before": b, "after": a} for line, b, a in self.samples[rule]],
                }
                for rule, count in self.counts.items()
            },
        }

    def table(self) -> Table:
        """For a terminal."""
        title = f"{self.file}: {self.kept} of {self.rows} texts are kept"
        table = Table("what", "texts", "line", "before", "after", title=title, title_justify="left")
        for rule, count in self.counts.items():
            for number, (line, before, after) in enumerate(self.samples[rule]):
                first = (rule, str(count)) if number == 0 else ("", "")
                table.add_row(*first, str(line), Text(_visible(before)), Text(_visible(after)))
        return table


def clean_text(text: str, line: int, tally: Tally) -> str:
    """A text after every rule."""
    for name, rule in RULES.items():
        changed = rule(text)
        if changed != text:
            tally.add(name, line, text, changed)
            text = changed
    return text


def clean_rows(rows: Sequence[Row], tally: Tally) -> list[Row]:
    """Cleaned rows in their order: none empty, none twice, none whose text stands there with another label too."""
    tally.rows += len(rows)
    first: dict[str, Row] = {}
    conflicts: set[str] = set()
    for row in rows:
        text = clean_text(row.text, row.line, tally)
        if not text:
            tally.add(EMPTY, row.line, row.text, "")
            continue
        known = first.setdefault(text, replace(row, text=text))
        if known.line == row.line:
            continue
        if known.label == row.label:
            tally.add(DUPLICATE, row.line, f"line {known.line}: {text}", "")
        else:
            conflicts.add(text)
            tally.add(CONFLICT, row.line, f"{row.label}, line {known.line} {known.label}: {text}", "")
    kept = [row for text, row in first.items() if text not in conflicts]
    tally.kept += len(kept)
    return kept


def near_duplicate_key(text: str) -> str:
    """What texts are compared by when near-duplicates are grouped: NFKC, without case and white space."""
    return _SPACE.sub("", unicodedata.normalize("NFKC", text).casefold())


def serving_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that treats text as the cleaning does. Only what it does not do by itself is put before its own
    normalization."""
    made = Tokenizer.from_str(tokenizer.to_str())
    steps: list[normalizers.Normalizer] = []
    if _differ(made, "好\u200b货\u00ad色\u0007彩", "好货色彩"):
        steps.append(normalizers.Replace(Regex(CONTROL), ""))
    if _differ(made, "型号ＡＢｃ１２３", "型号ABc123"):
        steps += [normalizers.Replace(chr(wide), chr(narrow)) for wide, narrow in _HALF_WIDTH.items()]
    if steps:
        own = [made.normalizer] if made.normalizer is not None else []
        made.normalizer = normalizers.Sequence([*steps, *own])
    return made


def _differ(tokenizer: Tokenizer, text: str, cleaned: str) -> bool:
    return tokenizer.encode(text).ids != tokenizer.encode(cleaned).ids


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
