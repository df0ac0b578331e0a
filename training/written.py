"""The texts written for training: comments with a sentiment, label sets with texts that belong to one label each.

What is for choosing and measuring only is `training.dev_sets`'.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from schemas.labels import LabelSet, label_set
from training.corpora import CorpusError, Review

DATA = Path(__file__).parent / "data"
COMMENTS = ("written_comments_a.csv", "written_comments_b.csv", "written_comments_c.csv", "written_comments_en.csv")
ROUTING = ("written_routing_zh", "written_routing_en", "written_routing_more")
SENTIMENTS = ("negative", "positive")


@dataclass(frozen=True)
class WrittenSet:
    """A label set, and texts with the index of their label."""

    name: str
    labels: LabelSet
    texts: tuple[str, ...]
    right: tuple[int, ...]


def comments() -> list[Review]:
    """All written comments, distinct. Raises CorpusError that names the file and line of a bad one."""
    found: dict[str, Review] = {}
    for name in COMMENTS:
        with (DATA / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["label"] not in SENTIMENTS or not row["text"].strip():
                    raise CorpusError(f"{name}: bad row {row}")
                found[row["text"]] = Review(row["text"], SENTIMENTS.index(row["label"]), "train")
    return list(found.values())


def routing_sets() -> list[WrittenSet]:
    """All written label sets. Raises CorpusError that names a text whose label is not in its set."""
    found = []
    for name in ROUTING:
        described = yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8"))
        rows = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines() if line]
        for set_name, labels in described.items():
            own = [row for row in rows if row["set"] == set_name]
            names = list(labels)
            wrong = [row for row in own if row["label"] not in names]
            if wrong:
                raise CorpusError(f"{name}.jsonl: {wrong[0]['label']!r} is not a label of {set_name!r}")
            right = tuple(names.index(row["label"]) for row in own)
            found.append(WrittenSet(set_name, label_set(labels), tuple(row["text"] for row in own), right))
    return found
