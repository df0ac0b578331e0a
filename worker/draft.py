"""An entry between reading and the model: decoded, tokenized, and so of known size. `worker.pipeline` makes drafts."""

from __future__ import annotations

from typing import NamedTuple

from schemas.messages import Entry, RawEntry
from worker.inference.tokenizer import IdArray
from worker.outcome import Dead


class Work(NamedTuple):
    """What is asked of a model, as far as it makes a token cost more."""

    routing: bool = False
    own_labels: bool = False
    own_model: bool = False


class Draft(NamedTuple):
    """What was read from `raw`: an entry, or why there is none.

    `tokens`: what it counts for in the model. `ids`: its text's tokens for the model in production, unless it names
    another.
    """

    raw: RawEntry
    read: Entry | Dead
    work: Work
    tokens: float
    ids: IdArray | None = None
