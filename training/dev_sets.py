"""Hand-written texts to choose and calibrate on, and the product's sample, which is for measuring only."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from schemas.labels import LabelSet, label_set

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class RoutingSet:
    """Texts and the label each belongs to, among `labels`; `groups` names each text's language, if known."""

    name: str
    texts: tuple[str, ...]
    teams: tuple[str, ...]
    labels: LabelSet
    groups: tuple[str, ...] = ()


def routing_dev() -> list[RoutingSet]:
    """The routing sets of data/routing_dev.jsonl, in the order of data/routing_dev_labels.yaml."""
    labels = yaml.safe_load((DATA / "routing_dev_labels.yaml").read_text(encoding="utf-8"))
    lines = (DATA / "routing_dev.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return [
        RoutingSet(
            name,
            tuple(row["text"] for row in rows if row["set"] == name),
            tuple(row["label"] for row in rows if row["set"] == name),
            label_set(described),
        )
        for name, described in labels.items()
    ]


def comments_dev() -> tuple[list[str], list[str]]:
    """Texts and labels of hand-written comments from domains that no corpus here covers."""
    with (DATA / "comments_dev.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def sample_tickets(folder: Path) -> RoutingSet:
    """The product's sample tickets and their teams. Never train, choose or calibrate on them."""
    teams = yaml.safe_load((folder / "routes.yaml").read_text(encoding="utf-8"))["teams"]
    with (folder / "tickets.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return RoutingSet(
        "sample tickets",
        tuple(row["text"] for row in rows),
        tuple(row["team"] for row in rows),
        label_set(teams),
        tuple(row["lang"] for row in rows),
    )
