"""Hostile names and texts: in SQL, in logs, on terminals, in headers. What was written by others stays data."""

from __future__ import annotations

import ast
import gc
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

import fenliu
from schemas.printable import printable, printable_json
from schemas.settings import Settings
from schemas.telemetry import configure_logging
from tests.conftest import ROOT
from tests.integration.outcomes import NOON, comment, dead, ticket
from worker.cli.cells import cell
from worker.sink import Sink

HOSTILE = "a'; DROP TABLE items; --%s%(x)s:y\\\" \u202e[red]x[/red]"
FORGED = "anna\n2026-01-01 [info] login name=root\r\x1b[2J\x9b31m\u2028\u202e\x07"
_DRIVES_A_TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


COMMANDS = [
    ["items", "show", HOSTILE, HOSTILE, "--json"],
    ["items", "delete", HOSTILE, HOSTILE],
    ["tickets", "list", "--team", HOSTILE, "--json"],
    ["tickets", "assign", HOSTILE, HOSTILE, "--source", HOSTILE, "--why", HOSTILE, "--by", HOSTILE, "--any-team"],
    ["dead-letters", "list", "--source", HOSTILE, "--item", HOSTILE, "--contains", HOSTILE, "--json"],
    ["dead-letters", "replay", "--source", HOSTILE, "--json"],
    ["routes", "show", HOSTILE],
    ["users", "delete", HOSTILE],
    ["keys", "create", HOSTILE, "--scope", "predict"],
    ["webhooks", "add", "https://8.8.8.8/", "--team", HOSTILE],
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # commands leave closing to their end
def test_no_argument_of_a_command_is_sql(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a ticket, a team and a dead letter under that very name
    Sink(engine).write([comment("42"), ticket(HOSTILE, team=HOSTILE), dead({"id": HOSTILE, "source": HOSTILE})], NOON)
    for name, value in settings.model_dump(exclude_unset=True).items():
        monkeypatch.setenv(f"FENLIU_{name.upper()}", str(value))
    for command in COMMANDS:
        # When a command is given it
        monkeypatch.setattr(sys, "argv", ["fenliu", *command])
        with pytest.raises(SystemExit) as ended:
            fenliu.main()
        said = capsys.readouterr()
        # Then it does its work, or says what is wrong
        assert ended.value.code in (None, 0, 1), (command, said.err)
        assert "SQLSTATE" not in said.err, (command, said.err)
    gc.collect()  # what the commands have left to the end of their process
    with engine.connect() as connection:
        assert 1 == connection.execute(text("SELECT count(*) FROM items WHERE item_id = '42'")).scalar_one()


@pytest.fixture
def _logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    root.handlers, level = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logs_as_before")
@pytest.mark.parametrize("form", ["console", "json"])
def test_nobody_forges_a_line_of_the_log(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a name that looks like another line, and commands for a terminal
    configure_logging(Settings(log_format=form))
    # When it is logged, as a value and by a library in its message
    structlog.get_logger("test_injection").warning("login_failed", name=FORGED)
    logging.getLogger("a library").warning("refused %s", FORGED)
    # Then there are two lines, and nothing in them but our own colours drives a terminal
    lines = capsys.readouterr().err.splitlines()
    assert 2 == len(lines)
    assert not _DRIVES_A_TERMINAL.search(re.sub(r"\x1b\[[0-9;]*m", "", "".join(lines)))
    if form == "json":
        assert FORGED == json.loads(lines[0])["name"]


def test_cells_of_tables_are_neither_markup_nor_commands() -> None:
    out = io.StringIO()
    table = Table("x", box=None)
    table.add_row(cell("[red]x[/red] [link=http://evil.example]y[/link] \x1b]8;;http://evil.example\x07z \x9b2J\u202e"))
    Console(file=out, force_terminal=True, width=200, no_color=True, highlight=False).print(table)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert "[red]x[/red] [link=http://evil.example]y[/link]" in shown
    assert r"\x1b]8;;http://evil.example\x07z \u009b2J\u202e" in shown
    assert not _DRIVES_A_TERMINAL.search(shown)


def test_every_table_of_a_command_is_made_of_such_cells() -> None:
    """What is shown as `Text` or as bare text would be markup, or commands for the terminal."""
    wrong = []
    for path in sorted((ROOT / "worker" / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_row":
                said = ast.unparse(node)
                if not re.search(r"\bcell\(|map\(cell,", said) and path.name not in OF_OUR_OWN:
                    wrong.append(f"{path.name}:{node.lineno}: {said}")
    assert [] == wrong


OF_OUR_OWN = {"demo.py", "stack.py"}
"""Tables that hold the shipped sample; lanes and numbers."""


@pytest.mark.parametrize("value", [FORGED, "plain 物流 text", "\ud800", ""])
def test_what_is_spelled_out_can_be_read_again(value: str) -> None:
    assert value == json.loads(printable_json(json.dumps(value, ensure_ascii=False)))
    assert value == printable(value) or not printable(value).isascii() or "\\" in printable(value)
    assert not _DRIVES_A_TERMINAL.search(printable(value))


def test_errors_of_commands_drive_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a file whose name and whose label are commands for a terminal
    path = tmp_path / "a\x1b[2Jb.yaml"
    path.write_text('"x\\e[2J": {"\\e[31m": 1}\n')
    monkeypatch.setattr(sys, "argv", ["fenliu", "predict", "a", "--labels-file", str(path)])
    with pytest.raises(SystemExit):
        fenliu.main()
    said = capsys.readouterr().err
    assert "error: " in said
    assert not _DRIVES_A_TERMINAL.search(said)
