"""The house rules that a machine can hold: who imports whom, what stays out of which process, how long files are."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT, environment

PACKAGES = ("schemas", "producers", "worker", "training", "dashboard", "migrations", "benchmarks")
MAY_IMPORT = {
    "schemas": set(),
    "producers": {"schemas"},
    "producers.gateway": {"schemas", "producers", "worker.desk"},  # its pages of items and its keys are the desk's
    "worker": {"schemas", "migrations"},  # migrations only to run them: worker.migrate
    "training": {"schemas", "worker.inference"},
    "dashboard": {
        "schemas",
        "producers.client",
        "producers.async_client",
        "producers.item",  # the options of a question
        "producers.sources",  # files that people upload
        "producers.gateway.leaving",
        "worker.desk",
    },
    "migrations": {"schemas"},
    "benchmarks": {
        "schemas",
        "worker",
        "producers",
        "training.activation_ranges",
        "training.graph_attention",
        "training.graph_constants",
        "training.graph_edit",
        "training.graph_passes",
        "training.quantize",
        "training.rounding",
    },
}
PURE_INFERENCE = {"schemas", "worker.inference"}
MOST_LINES = 300
MOST_LINES_OF_A_TEST = 500
LONGER_FILES: set[str] = set()

HEAVY = {"celery", "kombu", "onnxruntime", "tokenizers", "transformers", "torch", "sqlalchemy", "psycopg2", "numpy"}
TRAINING_ONLY = {"transformers", "torch", "onnx", "safetensors"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports_of(path: Path) -> Iterator[str]:
    """Every module of ours that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def tracked_files() -> list[str]:
    """What git tracks, or in an unpacked archive everything that is no cache."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]
    hidden = re.compile(r"(^|/)(\.venv|\.git|\.fenliu|__pycache__|\.[a-z]+_cache)")
    names = (str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file())
    return [name for name in names if not hidden.search(name)]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down(package: str) -> None:
    inner = [name for name in MAY_IMPORT if name.startswith(f"{package}.")]
    allowed_in = {path: MAY_IMPORT[package] | {package} for path in sources(package)}
    for name in inner:
        allowed_in |= dict.fromkeys(sources(name.replace(".", "/")), MAY_IMPORT[name])
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path, allowed in allowed_in.items()
        for module in imports_of(path)
        if is_within(module, set(PACKAGES)) and not is_within(module, allowed)
    ]
    assert [] == wrong


def test_inference_knows_nothing_of_where_texts_come_from_and_results_go() -> None:
    outside = {"redis", "celery", "kombu", "sqlalchemy", "psycopg2"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources("worker/inference")
        for module in imports_of(path)
        if is_within(module, outside) or (is_within(module, set(PACKAGES)) and not is_within(module, PURE_INFERENCE))
    ]
    assert [] == wrong


@pytest.mark.parametrize(
    ("modules", "kept_out"),
    [
        (["fenliu"], HEAVY | {"redis", "pydantic", "producers", "worker"}),
        (["schemas.messages", "schemas.settings", "schemas.labels", "schemas.stack"], HEAVY | {"redis"}),
        (["producers", "producers.client", "producers.cli"], HEAVY | {"worker"}),
        (["producers.gateway.app", "dashboard.app"], HEAVY - {"sqlalchemy", "psycopg2"}),
        (["worker.step", "worker.app", "worker.cli.worker"], TRAINING_ONLY | {"training", "producers"}),
    ],
)
def test_a_process_loads_only_what_it_needs(modules: list[str], kept_out: set[str]) -> None:
    # Given a fresh interpreter, when it imports the modules
    script = f"import json, sys, {', '.join(modules)}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    # Then none of these are loaded
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert set() == loaded & kept_out


def test_help_lists_every_command_and_loads_none() -> None:
    # Given a fresh interpreter, when it prints the help
    script = (
        "import sys, fenliu\n"
        "sys.argv = ['fenliu', '--help']\n"
        "try: fenliu.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('worker', 'producers', 'training')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    # Then every command is there, with a line of help, and nothing was loaded for it
    shown = done.stdout
    for name in ("up", "down", "env", "status", "demo", "settings", "worker", "enqueue", "predict", "routes"):
        assert re.search(rf"{name} +[A-Z].*\.", shown), name
    assert "[]" == shown.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["no-such-command"], 2, "No such command"),
        (["env", "--no-such-option"], 2, "No such option"),
        (["env"], 1, "error: no stack is running in "),
    ],
)
def test_exit_codes_tell_failed_from_misused(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fenliu", *arguments],
        cwd=ROOT,
        env=environment(None, FENLIU_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (code, "") == (done.returncode, done.stdout)
    assert said in done.stderr


def test_a_command_whose_packages_are_missing_says_what_to_install(tmp_path: Path) -> None:
    # Given an interpreter that cannot import psutil
    script = "import sys; sys.modules['psutil'] = None; sys.argv = ['fenliu', 'down']; import fenliu; fenliu.main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(None, FENLIU_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.returncode
    assert "error: this needs the package psutil: pip install 'fenliu[worker,embedded]'\n" == done.stderr


def test_files_are_short() -> None:
    longer = set()
    for name in tracked_files():
        if name.endswith(".py") and not name.startswith("migrations/versions/"):  # written once, never edited
            most = MOST_LINES_OF_A_TEST if name.startswith("tests/") else MOST_LINES
            if len((ROOT / name).read_text(encoding="utf-8").splitlines()) > most:
                longer.add(name)
    assert LONGER_FILES == longer


def test_every_module_says_what_it_is() -> None:
    without = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sources(package)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert [] == without


def test_no_file_names_a_registry_a_hub_or_a_folder_of_one_machine() -> None:
    # Spelled in pieces, so that this file holds none of them.
    forbidden = re.compile(
        "|".join(
            [
                *(rf"{name}\.(?:org|io|co|com|cn)\b" for name in ("py" + "pi", "python" + "hosted", "npm" + "js")),
                *("hugging" + r"face\.co", "hf-" + r"mirror", "model" + r"scope\.cn", "download." + "py" + "torch"),
                "/" + "work/", "/" + "root/", "--(?:extra-)?" + "index-url",
            ]
        )
    )  # fmt: skip
    found = []
    for name in tracked_files():
        content = (ROOT / name).read_bytes()
        if b"\0" in content[:8192]:
            continue
        found += [f"{name}: {match[0]}" for match in forbidden.finditer(content.decode("utf-8", "replace"))]
    assert [] == found


def test_nothing_unsafe_is_called() -> None:
    unsafe = {"pickle", "marshal", "shelve", "dill", "joblib"}
    calls = re.compile(r"(?<![\w.])(?:eval|exec)\(|yaml\.load\(|torch\.load\((?![^)]*weights_only=True)")
    wrong = []
    for package in PACKAGES:
        for path in sources(package):
            wrong += [
                f"{path.relative_to(ROOT)} imports {name}" for name in imports_of(path) if is_within(name, unsafe)
            ]
            wrong += [f"{path.relative_to(ROOT)}: {match[0]}" for match in calls.finditer(path.read_text())]
    assert [] == wrong


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.lock", {"worker", "serve", "parquet", "embedded"}),
        ("requirements-dev.lock", {"worker", "serve", "embedded", "parquet", "dev"}),
        ("requirements-training.lock", {"worker", "serve", "parquet", "embedded", "training", "dev"}),
    ],
)
def test_locks_hold_what_the_project_asks_for(lock: str, extras: set[str]) -> None:
    # Given the pinned versions of a lock, each with hashes
    content = (ROOT / lock).read_text(encoding="ascii")
    pins = re.findall(r"^([\w.-]+)==(\S+)(?: ; (.+?))? \\\n    --hash=sha256:[0-9a-f]{64}\b", content, re.M)
    assert len(re.findall(r"^\w", content, re.M)) == len(pins)
    here = [(name, version) for name, version, marker in pins if not marker or Marker(marker).evaluate()]
    pinned = {canonicalize_name(name): version for name, version in here}

    # Then every requirement of its extras is met, and torch is in none
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *(line for extra in extras for line in project["project"]["optional-dependencies"][extra]),
        *project["dependency-groups"]["build"],
    ]
    requirements = [Requirement(line) for line in wanted]
    unmet = [
        str(requirement)
        for requirement in requirements
        if (not requirement.marker or requirement.marker.evaluate())
        and not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"))
    ]
    assert [] == unmet
    assert "torch" not in pinned
