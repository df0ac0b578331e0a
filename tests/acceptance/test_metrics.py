"""A real worker, a real gateway and a real Prometheus: every metric that a rule or a panel names is there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy
import yaml

from schemas.names import Lane
from tests.acceptance.conftest import Place
from tests.monitoring import PROMETHEUS, exported, expressions, metrics_in, panels
from tests.waiting import wait_for

_OF_PROMETHEUS = {"up"}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def cause_traffic(place: Place, address: str) -> None:
    """A little of everything that is counted."""
    place.apply_sample_routes()
    place.add(
        [{"id": "1", "text": "物流太慢了"}, {"id": "2", "kind": "ticket", "text": "请退款"}, {"text": "nobody's"}]
    )
    place.add([{"id": "3", "text": "很好"}], Lane.BULK)
    with place.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("""
                INSERT INTO alerts (measure, task, model, model_version, value, bound, message)
                VALUES ('labels', 'sentiment', 'tiny', '1', 0.4, 0.25, '-')
            """)
        )
    with httpx2.Client(base_url=address, timeout=60) as http:
        assert 200 == http.post("/v1/predict", json={"text": "很好用"}).status_code
        assert 422 == http.post("/v1/predict", json={"text": 1}).status_code
        assert 202 == http.post("/v1/items", json={"id": "4", "text": "谢谢"}).status_code
        assert 200 == http.get("/try").status_code
        assert [404, 404] == [http.get(f"/nothing/{number}").status_code for number in range(2)]
    place.wait_until_empty()


def test_what_rules_and_panels_name_is_exported_and_prometheus_can_be_asked(
    place: Place, address: str, tmp_path: Path
) -> None:
    # Given a worker that shows its metrics, and a gateway, after some traffic
    port = free_port()
    worker = place.workers.start(FENLIU_METRICS_PORT=str(port))
    cause_traffic(place, address)
    # and another worker that is given the same port
    other = place.workers.start(FENLIU_METRICS_PORT=str(port))
    of_worker = f"http://127.0.0.1:{port}"
    wait_for(lambda: "fenliu_relay_leads 1.0" in httpx2.get(f"{of_worker}/metrics").text, what="a relay that leads")
    assert (200, "ok\n") == ((health := httpx2.get(f"{of_worker}/healthz")).status_code, health.text)
    # When both are asked, then every series that a rule or a panel reads is there
    pages = [httpx2.get(f"{url}/metrics").text for url in (of_worker, address)]
    seen = exported(*pages)
    for expression in expressions():
        assert metrics_in(expression) - _OF_PROMETHEUS <= seen.keys(), expression
    # and the pages are counted by their routes
    routes = set(re.findall(r'fenliu_http_requests_total\{.*route="([^"]+)"', pages[1]))
    assert {"/v1/predict", "/v1/items", "/try", "none"} <= routes
    assert [] == [route for route in routes if "nothing" in route]
    # and the numbers are those of the traffic
    assert 'fenliu_items_total{kind="ticket",state="done"} 1.0' in pages[0]
    assert 'fenliu_dead_letters_total{code="missing_field"} 1.0' in pages[0]
    assert 'fenliu_rows_written_total{table="assignments"} 1.0' in pages[0]
    assert [True, True] == ["fenliu_workers 1.0" in page for page in pages]
    # and a real Prometheus can be asked all of it
    _ask_prometheus({"fenliu-worker": f"127.0.0.1:{port}", "fenliu-serve": address.removeprefix("http://")}, tmp_path)
    # The other worker has said what is wrong, and ended
    assert 1 == other.wait(60)
    said = place.workers.log_of(other)
    assert "in use; change FENLIU_METRICS_PORT" in said
    assert "Traceback" not in said
    # When the first is asked to end, its port is free again
    worker.terminate()
    assert 0 == worker.wait(60)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port)).close()


def _ask_prometheus(targets: dict[str, str], folder: Path) -> None:
    """Start one that scrapes these, with our rules, and ask it every panel's expression. Left out where there is none,
    but for CI."""
    binary = shutil.which("prometheus")
    if binary is None:
        assert not os.environ.get("CI"), "no Prometheus: apt-get install prometheus"
        return
    # Given our configuration, but for where the targets are and how often they are asked
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(PROMETHEUS / "rules.yml")]
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(
            [binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/v1") as http:
            wait_for(lambda: 2 == len(_result(http, "count_over_time(up[1m]) > 1")), 30, "two scrapes of both")
            assert {"1"} == {series["value"][1] for series in _result(http, "up")}
            # When it is asked, then it understands each expression, and most have an answer already
            asked = {
                (panel.title, panel.query): _result(http, panel.query.replace("$__rate_interval", "1m"))
                for panel in panels("prometheus")
            }
            silent = {title for (title, query), result in asked.items() if not result and " > 0" not in query}
            assert set() == silent
            # and no alert fires but for the one that was put there
            alerts = http.get("/alerts").json()["data"]["alerts"]
            assert {"FenliuQuality"} == {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
    finally:
        server.terminate()
        server.wait(20)


def _result(http: httpx2.Client, query: str) -> list[dict[str, Any]]:
    """What an instant query gives; none while the server is not up."""
    with contextlib.suppress(httpx2.TransportError):
        answer = http.get("/query", params={"query": query})
        if answer.status_code != 503:
            assert 200 == answer.status_code, answer.text
            result: list[dict[str, Any]] = answer.json()["data"]["result"]
            return result
    return []
