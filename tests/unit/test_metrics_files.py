"""deploy/prometheus and deploy/grafana, as far as they can be held without servers: they and the docs say the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from producers.gateway.metrics import Metrics as GatewayMetrics
from tests.monitoring import (
    DOC,
    GRAFANA,
    PROMETHEUS,
    boards,
    documented,
    exported,
    expressions,
    labels_in,
    metrics_in,
    panels,
    rules,
)  # fmt: skip
from worker.held import Held
from worker.metrics import Metrics

# What Prometheus itself adds.
OF_PROMETHEUS = {"up"}
LABELS_OF_PROMETHEUS = {"job", "instance", "le"}


def documented_series() -> dict[str, set[str]]:
    """Every series in the docs, and its labels."""
    series: dict[str, set[str]] = {}
    for name, kind, labels in documented():
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            series[name + suffix] = labels
    return series


@pytest.mark.parametrize(
    "check", [("check", "config", "prometheus.yml"), ("check", "rules", "rules.yml"), ("test", "rules", "tests.yml")]
)
def test_promtool_finds_nothing(check: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert not os.environ.get("CI"), "no promtool: apt-get install prometheus"
        pytest.skip("no promtool on PATH")
    done = subprocess.run([promtool, *check], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_of_each_alert_it_is_tested_that_it_fires_and_that_it_does_not() -> None:
    tested = {test["name"] for test in yaml.safe_load((PROMETHEUS / "tests.yml").read_text())["tests"]}
    assert {f"{rule['alert']} {what}" for rule in rules() for what in ("fires", "is quiet")} == tested


def test_each_alert_says_what_it_means_and_where_what_to_do_is_written() -> None:
    # Given the headings of the docs, as anchors
    anchors = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", DOC.read_text(), re.MULTILINE)
    }
    for rule in rules():
        notes = rule["annotations"]
        assert notes["summary"], rule["alert"]
        assert notes["description"], rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        page, _, anchor = notes["runbook"].partition("#")
        # Then the runbook is one of them
        assert ("docs/monitoring.md", True) == (page, anchor in anchors), rule["alert"]


def test_the_docs_list_what_processes_show_and_no_more() -> None:
    # Given a worker and a gateway that have counted nothing
    metrics, gateway = Metrics(), GatewayMetrics()
    metrics.works(Held(), 1, "tiny/1")
    gateway.observe("GET", "/", 500, "internal", 1.0)
    gateway.texts.labels("/", "ok").inc()
    shown = exported(metrics.page().decode(), gateway.page().decode())
    # When the docs are read, then name and labels are the same; what gauges show is compared where there are servers
    known = documented_series()
    assert shown.keys() <= known.keys()
    assert [] == [name for name, labels in shown.items() if labels - {"le"} != known[name]]
    state = DOC.read_text().partition("## State of the deployment")[2].partition("\n## ")[0]
    assert {name for name in known if f"`{name}`" not in state} == {name for name in shown if f"`{name}`" not in state}


def test_rules_and_panels_name_only_what_the_docs_list() -> None:
    known = documented_series()
    for expression in expressions():
        names = metrics_in(expression)
        assert names, expression
        assert names <= known.keys() | OF_PROMETHEUS, expression
        labels = set().union(*(known.get(name, set()) for name in names)) | LABELS_OF_PROMETHEUS
        assert labels_in(expression) <= labels, expression


def test_every_metric_of_ours_is_on_a_panel_or_in_a_rule() -> None:
    used = set().union(*map(metrics_in, expressions()))
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in used}
    ours = {name for name, _, _ in documented() if name.startswith("fenliu_")}
    assert set() == ours - shown - used


@pytest.mark.parametrize(
    ("expression", "names", "labels"),
    [
        ('sum by (le) (rate(a_bucket{route=~"x|by (y)"}[5m])) / on (c) b:d', {"a_bucket", "b:d"}, {"le", "route", "c"}),
        ("max(a) without (b) > 1e3 unless c offset 5m", {"a", "c"}, {"b"}),
    ],
)
def test_metrics_and_labels_are_found_in_promql(expression: str, names: set[str], labels: set[str]) -> None:
    assert (names, labels) == (metrics_in(expression), labels_in(expression))


def test_dashboards_are_provisioned_whole() -> None:
    # Given what is provisioned
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "fenliu.yml").read_text())["datasources"]
    uids = {(source["type"], source["uid"]) for source in sources}
    providers = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "fenliu.yml").read_text())["providers"]
    assert ["/etc/grafana/dashboards"] == [provider["options"]["path"] for provider in providers]
    # Then no secret stands in it, and every panel has a source, a title, and its words
    assert "$GRAFANA_DATABASE_PASSWORD" in [source.get("secureJsonData", {}).get("password") for source in sources]
    assert {"fenliu-operation", "fenliu-results"} == {board["uid"] for board in boards()}
    for board in boards():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        for panel in board["panels"]:
            assert panel["title"]
            if panel["type"] != "row":
                assert panel["description"], panel["title"]
                assert {source_of(target) for target in [panel, *panel["targets"]]} <= uids
                assert _fits(panel["gridPos"]), panel["title"]
    assert panels("prometheus")
    assert panels("grafana-postgresql-datasource")


def source_of(target: dict[str, Any]) -> tuple[str, str]:
    return target["datasource"]["type"], target["datasource"]["uid"]


def _fits(place: dict[str, int]) -> bool:
    return 0 <= place["x"] and place["x"] + place["w"] <= 24 and place["h"] > 0
