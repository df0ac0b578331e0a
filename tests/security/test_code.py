"""What no line of the product may do, whatever the reason. ruff's rules S hold the rest (`make lint`)."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("schemas", "producers", "worker", "training", "dashboard", "migrations")


@cache
def modules() -> tuple[tuple[Path, ast.Module], ...]:
    """Every module of the product, read once."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple((path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Call):
                yield path, node


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(each.value) for each in call.keywords if each.arg == name), None)


def test_ruff_looks_for_what_is_unsafe() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in project["select"]
    assert [] == [rule for rule in project["ignore"] if rule.startswith("S") and rule[1:2].isdigit()]
    assert {"tests/**"} == {where for where, rules in project["per-file-ignores"].items() if "S" in rules}


def test_sql_is_put_together_from_constants_alone() -> None:
    """Where ruff's S608 is silenced: nothing in the SQL of a function is an argument of that function."""
    wrong = []
    for path, module in modules():
        if path.parts[0] == "migrations" or str(path) in _MADE_OF_OUR_TABLES:
            continue
        for function in ast.walk(module):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            given = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
            for node in ast.walk(function):
                if isinstance(node, ast.JoinedStr) and _SQL.search(ast.unparse(node)):
                    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                    wrong += [f"{path}:{node.lineno}: {name}" for name in names & given]
    assert [] == wrong


_MADE_OF_OUR_TABLES = {"worker/rollup.py"}  # triggers, made of the names of tables by constants of the same module
_SQL = re.compile(r"\b(SELECT .* FROM|UPDATE \w+ SET|DELETE FROM|INSERT INTO)\b", re.DOTALL)


def test_no_shell_reads_a_command() -> None:
    assert [] == [
        f"{path}:{call.lineno}"
        for path, call in calls()
        if keyword(call, "shell") not in (None, "False") or name_of(call) in ("os.system", "os.popen")
    ]


def test_arrays_are_read_without_pickle_and_weights_without_code() -> None:
    wrong = []
    for path, call in calls():
        if name_of(call) in ("np.load", "numpy.load") and keyword(call, "allow_pickle") != "False":
            wrong.append(f"{path}:{call.lineno}")
        if name_of(call) == "torch.load" and keyword(call, "weights_only") != "True":
            wrong.append(f"{path}:{call.lineno}")
    assert [] == wrong


def test_no_name_of_a_temporary_file_is_guessed() -> None:
    assert [] == [f"{path}:{call.lineno}" for path, call in calls() if name_of(call).endswith("mktemp")]


def test_secrets_are_compared_in_constant_time() -> None:
    """No `==` beside what is secret; sessions and keys are looked for by their hash."""
    secret = {"csrf", "signature", "token", "secret", "key_sha256", "token_sha256"}
    wrong = []
    for path, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Compare) and any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops):
                names = {
                    part.attr if isinstance(part, ast.Attribute) else part.id
                    for part in (node.left, *node.comparators)
                    if isinstance(part, ast.Attribute | ast.Name)
                }
                said = ast.unparse(node)
                if names & secret and ".c." not in said and path.parts[0] != "training":
                    wrong.append(f"{path}:{node.lineno}: {said}")
    assert [] == wrong


def test_no_cookie_is_unquoted() -> None:
    """`Request.cookies` takes seconds for one of 60 KiB before Python 3.11.10 (CVE-2024-7592)."""
    wrong = []
    for path, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Attribute) and node.attr == "cookies":
                wrong.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    assert [] == wrong
