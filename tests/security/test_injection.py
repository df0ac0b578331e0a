"""Hostile names and texts: in SQL, in logs, on terminals, in headers. What was written by others stays data."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from schemas.printable import printable, printable_json
from schemas.settings import Settings
from schemas.telemetry import configure_logging
from tests.conftest import ROOT, Fenliu
from tests.integration.outcomes import NOON, comment, dead, ticket
from worker.cli.cells import cell
from worker.sink import Sink

HOSTILE = "a'; DROP TABLE items; --%s%(x)s:y\\\" \u202e[red]x[/red]"
FORGED = "anna\n2026-01-01 [info] login name=root\r\x1b[2J\x9b31m\u2028\u202e\x07"
_DRIVES_A_TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(
    "command",
    [
        ["items", "show", HOSTILE, HOSTILE, "--json"],
        ["items", "erase", HOSTILE, HOSTILE, "--yes"],
        ["tickets", "list", "--team", HOSTILE, "--json"],
        ["tickets", "move", HOSTILE, HOSTILE, "--to", HOSTILE],
        ["dead-letters", "list", "--source", HOSTILE, "--item", HOSTILE, "--contains", HOSTILE, "--json"],
        ["dead-letters", "replay", "--source", HOSTILE, "--json"],
        ["routes", "show", HOSTILE],
        ["users", "delete", HOSTILE],
        ["keys", "create", HOSTILE],
        ["webhooks", "add", "https://hooks.example/", "--team", HOSTILE],
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_no_argument_of_a_command_is_sql(fenliu: Fenliu, engine: Engine, command: list[str]) -> None:
    # Given an item under that very name
    Sink(engine).write([comment("42"), ticket(HOSTILE, team=HOSTILE), dead({"id": HOSTILE, "source": HOSTILE})], NOON)
    # When a command is given it
    done = fenliu(*command)
    # Then it does its work or says what is wrong, and no table is gone
    assert done.returncode in (0, 1, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert "SQLSTATE" not in done.stderr
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


def test_errors_of_commands_drive_no_terminal(fenliu: Fenliu) -> None:
    done = fenliu("users", "delete", "nobody\x1b[2J\x9b31m")
    assert 1 == done.returncode
    assert not _DRIVES_A_TERMINAL.search(done.stderr)
