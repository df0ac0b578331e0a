"""Where results go, and what every result says of the machine and the versions it was measured with."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = (
    "celery",
    "kombu",
    "redis",
    "hiredis",
    "onnxruntime",
    "tokenizers",
    "numpy",
    "sqlalchemy",
    "psycopg2-binary",
)


def header() -> dict[str, Any]:
    """Processor, cores, memory, system, versions, commit and time."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": _processor(),
        "architecture": platform.machine(),
        "cpus": psutil.cpu_count(logical=True),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write `results/<name>.json` and say where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {"benchmark": name, "machine": header()} | result
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(RESULTS.parent.parent)}")  # noqa: T201 - a command's output
    return path


def keep_result(name: str, result: dict[str, Any], *, dry: bool) -> None:
    """`write_result`, or with `dry` print it instead."""
    if dry:
        print(json.dumps(result, ensure_ascii=False, indent=1))  # noqa: T201 - a command's output
    else:
        write_result(name, result)


def read_result(name: str) -> dict[str, Any] | None:
    """What `write_result` has written under this name; None where there is nothing."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Lower quartile, median and upper quartile, by linear interpolation; of a single value, that."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return {"low": low, "median": middle, "high": high}


def _commit() -> str:
    command = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
