"""What `deploy/` has for Prometheus and Grafana, as tests read it: rules, panels, and the metrics that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
DOC = ROOT / "docs" / "monitoring.md"

_NO_METRIC = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset"}
_LABEL_LISTS = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"


class Panel(NamedTuple):
    """One query of a panel: the dashboard's and the panel's titles, the kind of datasource, and what it asks."""

    board: str
    title: str
    datasource: str
    query: str
    interval: str


def rules() -> list[dict[str, Any]]:
    """All alerts."""
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def boards() -> list[dict[str, Any]]:
    """All dashboards."""
    return [json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))]


def panels(datasource: str) -> list[Panel]:
    """Every query for this kind of datasource, of every panel of every dashboard."""
    return [
        Panel(
            board["title"],
            panel["title"],
            target["datasource"]["type"],
            target.get("expr") or target["rawSql"],
            panel.get("interval", "1m"),
        )
        for board in boards()
        for panel in board["panels"]
        for target in panel.get("targets", ())
        if target["datasource"]["type"] == datasource
    ]


def expressions() -> list[str]:
    """Every PromQL expression of rules and panels; Grafana's macros are replaced as it does."""
    return [rule["expr"] for rule in rules()] + [
        panel.query.replace("$__rate_interval", "1m") for panel in panels("prometheus")
    ]


def metrics_in(expression: str) -> set[str]:
    """Names of the series that an expression reads."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(_LABEL_LISTS, "", bare)
    return {
        name for name in re.findall(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?![\w:])(?!\s*\()", bare) if name not in _NO_METRIC
    }


def labels_in(expression: str) -> set[str]:
    """Names of the labels that an expression chooses or groups by."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', "", expression)
    chosen = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", " ".join(re.findall(r"\{([^}]*)\}", bare))))
    grouped = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", bare)
    return chosen | {name.strip() for names in grouped for name in names.split(",") if name.strip()}


def exported(*pages: str) -> dict[str, set[str]]:
    """Names of all series of these answers of /metrics, and the labels of each."""
    found: dict[str, set[str]] = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def documented() -> Iterator[tuple[str, str, set[str]]]:
    """Rows of the tables of metrics in the docs: name, kind, labels."""
    for name, kind, labels in re.findall(
        r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([^|]*)\|", DOC.read_text(), re.MULTILINE
    ):
        yield name, kind, set(re.findall(r"`(\w+)`", labels))
