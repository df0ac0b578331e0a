"""The client is light: what it loads, what it needs installed, and that type checkers find its types."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

from tests.conftest import ROOT, environment

LOADED = """
import json, sys
before = set(sys.modules)
import redis
redis_alone = set(sys.modules) - before
from producers.client import AsyncClient, Client
print(json.dumps(sorted(set(sys.modules) - before - redis_alone - sys.stdlib_module_names)))
"""
OURS = {
    "producers", "producers.asking", "producers.async_client", "producers.chunks", "producers.client",
    "producers.flusher", "producers.item", "producers.mailbox", "producers.patience", "producers.pulled",
    "producers.questions", "producers.readers", "producers.receipts", "producers.redis_errors", "schemas",
    "schemas.errors", "schemas.fields", "schemas.labels", "schemas.messages", "schemas.names",
}  # fmt: skip


def test_the_client_loads_redis_and_little_of_ours() -> None:
    # Given a fresh interpreter that has loaded redis-py, when it imports the clients
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    # Then nothing else is loaded: no pydantic, rich, yaml or typer
    loaded = {name for name in json.loads(done.stdout) if name.partition(".")[0] not in sys.stdlib_module_names}
    assert loaded == OURS


def test_what_the_client_needs_is_installed_without_any_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [needed] = [line for line in project["dependencies"] if Requirement(line).name == "redis"]
    assert {"hiredis"} == Requirement(needed).extras


def test_the_wheel_tells_type_checkers_that_it_has_types() -> None:
    files = {each.distribution_path for each in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {"producers/py.typed", "schemas/py.typed", "producers/client.py"} <= files
