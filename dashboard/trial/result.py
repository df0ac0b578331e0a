"""What the page shows of a reply: the label, bars, and for a long text what each of its parts says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.trial.ask import Ask
from dashboard.words import later
from schemas.fields import CONTROL
from schemas.messages import Reply
from schemas.names import Task

UNSURE_BELOW = 0.7
"""As `low_confidence` in the views for dashboards."""

MOODS = {"positive": ("😄", "good", later("positive")), "negative": ("😠", "bad", later("negative"))}
"""Emoji, colour and name of Fenliu's own sentiment labels; an imported model's are shown as they are."""

_BARS_AT_ONCE = 20
_BARS_OF_A_PART = 3
_EXCERPT_CHARS = 160
_LOOSE_SIGNS = " ，。、；：！？,.;:!?"


@dataclass(frozen=True, slots=True)
class Bar:
    """One label's score. `mood`: good or bad, for sentiment; `passes`: whether it is over the bound of multi-label."""

    label: str
    score: float
    mood: str = ""
    is_best: bool = False
    passes: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What one window of a long text says: its words, shortened, the characters it spans, its best labels."""

    start: int
    end: int
    excerpt: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One result. `waited_ms`: from the request to the reply; `infer_ms`: the model's own share of a batch's time."""

    label: str
    score: float
    emoji: str
    mood: str
    bars: tuple[Bar, ...]
    more_bars: tuple[Bar, ...]
    parts: tuple[Part, ...]
    is_multi: bool
    percent: float
    model: str
    version: str
    stage: str
    infer_ms: float
    waited_ms: float

    @property
    def is_unsure(self) -> bool:
        """Whether a person had better read the text."""
        return not self.is_multi and self.score < UNSURE_BELOW

    @property
    def passing(self) -> tuple[str, ...]:
        """The labels that are meant, of several that may be right; best first."""
        return tuple(bar.label for bar in (*self.bars, *self.more_bars) if bar.passes)


def shown(reply: Reply, ask: Ask, waited_ms: float) -> Shown:
    """A reply to `ask`, which must have the task that was asked for."""
    found: Mapping[str, Any] = reply.result[ask.task.value]
    bars = _bars(found["scores"], ask)
    emoji, mood, _ = _mood(found["label"], ask.task)
    return Shown(
        label=found["label"],
        score=found["score"],
        emoji=emoji,
        mood=mood,
        bars=bars[:_BARS_AT_ONCE],
        more_bars=bars[_BARS_AT_ONCE:],
        parts=_parts(found, ask),
        is_multi=ask.is_multi,
        percent=ask.percent,
        model=found["model"],
        version=found["model_version"],
        stage=found["stage"],
        infer_ms=found["infer_ms"],
        waited_ms=waited_ms,
    )


def _bars(scores: Mapping[str, float], ask: Ask) -> tuple[Bar, ...]:
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    return tuple(
        Bar(label, score, _mood(label, ask.task)[1], not number, ask.is_multi and score * 100 >= ask.percent)
        for number, (label, score) in enumerate(ranked)
    )


def _mood(label: str, task: Task) -> tuple[str, str, str]:
    return MOODS.get(label, ("", "", "")) if task is Task.SENTIMENT else ("", "", "")


def _parts(found: Mapping[str, Any], ask: Ask) -> tuple[Part, ...]:
    text = CONTROL.sub(" ", ask.text)
    return tuple(
        Part(
            window["start"],
            window["end"],
            _excerpt(text[window["start"] : window["end"]]),
            _bars(window["scores"], ask)[:_BARS_OF_A_PART],
        )
        for window in found.get("windows", ())
    )


def _excerpt(words: str) -> str:
    """The beginning and the end of a part."""
    words = " ".join(words.split()).lstrip(_LOOSE_SIGNS)
    if len(words) <= _EXCERPT_CHARS:
        return words
    return f"{words[: _EXCERPT_CHARS * 2 // 3].rstrip()} … {words[-_EXCERPT_CHARS // 3 :].lstrip(_LOOSE_SIGNS)}"
