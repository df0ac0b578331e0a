"""docker-compose.yml and Dockerfile, as far as they can be held without a Docker engine."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from schemas.settings import Settings
from tests.conftest import ROOT

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return services


def test_compose_follows_the_compose_specification() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_services_wait_for_what_they_need(services: dict[str, Any]) -> None:
    assert {"redis", "postgres", "migrate", "worker", "beat"} <= services.keys()
    assert "service_completed_successfully" == services["worker"]["depends_on"]["migrate"]["condition"]
    for name, service in services.items():
        for needed in service.get("depends_on", {}):
            assert needed in services, f"{name} waits for {needed}"


def test_redis_keeps_what_it_is_given(services: dict[str, Any]) -> None:
    command = " ".join(services["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "--requirepass ${REDIS_PASSWORD:?" in command
    assert any(volume.endswith(":/data") for volume in services["redis"]["volumes"])


def test_postgres_stays_durable_and_its_recovery_bounded(services: dict[str, Any]) -> None:
    command = " ".join(services["postgres"]["command"])
    assert "-c shared_buffers=${POSTGRES_SHARED_BUFFERS:-1GB} -c max_wal_size=${POSTGRES_MAX_WAL_SIZE:-1GB}" in command
    assert not any(name in command for name in ("fsync", "full_page_writes", "synchronous_commit"))


def test_a_worker_is_given_time_to_drain_and_can_be_scaled(services: dict[str, Any]) -> None:
    worker = services["worker"]
    assert int(worker["stop_grace_period"].removesuffix("s")) > Settings().drain_timeout_s
    assert "container_name" not in worker
    assert "ports" not in worker


def test_the_api_is_reached_from_this_machine_alone_unless_asked_and_answers_before_it_ends(
    services: dict[str, Any],
) -> None:
    serve = services["serve"]
    assert ["${FENLIU_SERVE_ADDRESS:-127.0.0.1:8000}:8000"] == serve["ports"]
    assert int(serve["stop_grace_period"].removesuffix("s")) > Settings().http_timeout_s
    assert "/healthz" in serve["healthcheck"]["test"][-1]


def test_healthy_means_that_the_inbox_is_moving(services: dict[str, Any]) -> None:
    assert ["CMD", "fenliu", "status", "--healthy"] == services["worker"]["healthcheck"]["test"]


def test_our_containers_run_without_privileges(services: dict[str, Any]) -> None:
    for name in ("migrate", "worker", "serve", "beat"):
        assert (True, ["ALL"]) == (services[name]["read_only"], services[name]["cap_drop"])
    last_stage = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER fenliu$", last_stage, re.MULTILINE)


def test_every_setting_that_compose_passes_exists(services: dict[str, Any]) -> None:
    known = {f"FENLIU_{name.upper()}" for name in Settings.model_fields}
    for service in services.values():
        given = {name for name in service.get("environment", {}) if name.startswith("FENLIU_")}
        assert given <= known


def test_prometheus_finds_every_worker_and_gateway(services: dict[str, Any]) -> None:
    # Given where Prometheus looks
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    looked_at = {
        job["job_name"]: (name, found["port"])
        for job in config["scrape_configs"]
        for found in job["dns_sd_configs"]
        for name in found["names"]
    }
    # Then there is a worker that shows its metrics to the network of the services alone, and a gateway
    shown = services["worker"]["environment"]
    assert ("worker", int(shown["FENLIU_METRICS_PORT"])) == looked_at["fenliu-worker"]
    assert "0.0.0.0" == shown["FENLIU_METRICS_HOST"]
    assert "ports" not in services["worker"]
    assert ("serve", 8000) == looked_at["fenliu-serve"]
    assert services["serve"]["ports"][0].endswith(":8000")


def test_monitoring_is_asked_for_and_never_open_without_a_password(services: dict[str, Any]) -> None:
    monitoring = {name: service for name, service in services.items() if "profiles" in service}
    assert {"prometheus", "grafana-role", "grafana"} == monitoring.keys()
    for name, service in monitoring.items():
        assert ["monitoring"] == service["profiles"]
        assert re.fullmatch(r"[\w/-]+:v?\d+[\w.-]*", service["image"]), f"{name} is pinned to no version"
        for port in service.get("ports", ()):
            assert ":-127.0.0.1:" in port, f"{name} listens to everybody"
    # Given no passwords, when the entry points run, then they end, and say which is missing
    for command, name in (
        (services["grafana-role"]["command"], "GRAFANA_DATABASE_PASSWORD"),
        (services["grafana"]["entrypoint"], "GF_SECURITY_ADMIN_PASSWORD"),
    ):
        plain = [part.replace("$$", "$") for part in command]
        done = subprocess.run(plain, env={name: ""}, capture_output=True, text=True, check=False)
        assert 0 != done.returncode
        assert name in done.stderr
    given = services["grafana"]["environment"]
    assert "false" == given["GF_AUTH_ANONYMOUS_ENABLED"]
    assert "GF_SECURITY_ADMIN_USER" not in given
    for value in given.values():
        assert "PASSWORD" not in value or value.endswith(":-}")
    # and Grafana waits for its account
    assert "service_completed_successfully" == services["grafana"]["depends_on"]["grafana-role"]["condition"]


def test_what_monitoring_is_given_is_there(services: dict[str, Any]) -> None:
    for name in ("prometheus", "grafana-role", "grafana"):
        for volume in services[name]["volumes"]:
            source, _, *mode = volume.split(":")
            if source.startswith("./"):
                assert (ROOT / source).exists(), volume
                assert ["ro"] == mode, volume
    assert any(volume.endswith(":/etc/grafana/dashboards:ro") for volume in services["grafana"]["volumes"])


def test_the_image_takes_the_steps_of_the_readme() -> None:
    # Given how `make demo` installs: the lock with its hashes, then the project without dependencies
    steps = (ROOT / "deploy" / "venv.py").read_text()
    for option in ("--require-hashes", "--no-deps", "--no-build-isolation"):
        assert option in steps
        assert option in DOCKERFILE


def test_everything_that_the_image_copies_is_there_and_reaches_the_build() -> None:
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().split()
    for source in " ".join(sources).split():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source
