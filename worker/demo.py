"""The demo's doing: a home of its own, a stack in it, the shipped sample through it, and what came out.

Everything goes the way a user would go it: `fenliu up`, `fenliu routes apply`, `fenliu enqueue`, then SQL. How
it is shown is `worker.cli.demo`'s.
"""

from __future__ import annotations

import csv
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from schemas.database import make_engine, translated
from schemas.errors import SetupError
from schemas.settings import Settings
from worker.detached import start_detached
from worker.supervisor import stop_stack

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "producers" / "sample"
SOURCE = "sample"
STALL_S = 120.0
_LOOK_S = 0.1
_MOST_HOMES = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """The shipped files and how many items each holds."""

    comments: int
    tickets: int

    @property
    def items(self) -> int:
        """All of them."""
        return self.comments + self.tickets


def read_sample() -> Sample:
    """Count the sample's rows."""
    return Sample(*(_rows(SAMPLE / name) for name in ("comments.csv", "tickets.csv")))


def _rows(path: Path) -> int:
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.DictReader(file))


@contextmanager
def demo_home(parent: Path) -> Iterator[Path]:
    """The first of `parent`/demo, demo-2, … that no living demo uses, empty. Leftovers of a crashed one are stopped."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, _MOST_HOMES):
        home = parent / ("demo" if number == 1 else f"demo-{number}")
        with home.with_suffix(".lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            stop_stack(home, _ignore)
            if home.exists():
                shutil.rmtree(home)
            home.mkdir()
            yield home
            return
    raise SetupError(f"{_MOST_HOMES} demos run in {parent}; stop some of them")


@contextmanager
def demo_stack(home: Path) -> Iterator[Settings]:
    """A stack of its own in `home`, whatever FENLIU_* variables say, stopped at the end, come what may."""
    try:
        stack = start_detached(home, [], _environment(home))
        yield Settings(home=home, redis_url=stack.redis_url, database_url=stack.database_url)
    finally:
        stop_stack(home, _ignore)


def fill(home: Path) -> None:
    """Apply the sample's routes and enqueue its items. Raises SetupError if a command fails."""
    _fenliu(home, "routes", "apply", str(SAMPLE / "routes.yaml"), "--by", "demo")
    for kind in ("comment", "ticket"):
        _fenliu(home, "enqueue", str(SAMPLE / f"{kind}s.csv"), "--kind", kind, "--source", SOURCE)


def watch(settings: Settings, items: int) -> Iterator[int]:
    """How many items have their row, again and again, until all have. Raises SetupError after a stall."""
    engine = make_engine(settings)
    try:
        last, moved_s = -1, time.monotonic()
        while last < items:
            done = _scalar(engine, "SELECT count(*) FROM items")
            if done != last:
                last, moved_s = done, time.monotonic()
            elif time.monotonic() - moved_s > STALL_S:
                raise SetupError(
                    f"{items - done} of {items} items have no row after {STALL_S:g} s without progress; "
                    f"see {settings.home / 'logs'}"
                )
            yield done
            time.sleep(_LOOK_S)
    finally:
        engine.dispose()


@dataclass(frozen=True, slots=True)
class Report:
    """What a person wants to see. Rows of a table are dicts by column."""

    items: int
    failed: list[dict[str, Any]]
    items_per_s: float
    model: str
    sentiment: list[dict[str, Any]]
    classes: list[dict[str, Any]]
    teams: list[dict[str, Any]]
    tickets: int
    tickets_right: int
    triaged: int
    examples: list[dict[str, Any]]

    @property
    def accuracy(self) -> float:
        """Share of the comments whose label is the known one."""
        known = sum(row["known"] for row in self.classes)
        return sum(row["right"] for row in self.classes) / known if known else 0.0


_FAILED = "SELECT code, field, message, count(*) AS items FROM dead_letters GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT 5"
_SPEED = """
    SELECT extract(epoch FROM max(p.created_at) - min(i.created_at))::float8
    FROM predictions p JOIN items i USING (source, item_id)
"""
_MODEL = "SELECT name || '/' || version FROM models WHERE state = 'production'"
_SENTIMENT = """
    SELECT kind, label, count(*) AS items, count(*) / sum(count(*)) OVER (PARTITION BY kind) AS share
    FROM dash_current WHERE task = 'sentiment' GROUP BY kind, label ORDER BY kind, label
"""
_CLASSES = """
    WITH pair AS (
        SELECT i.meta->>'label' AS known, p.label AS given
        FROM predictions p JOIN items i USING (source, item_id)
        WHERE p.current AND p.task = 'sentiment' AND i.kind = 'comment'
    )
    SELECT label, count(*) FILTER (WHERE known = label) AS known, count(*) FILTER (WHERE given = label) AS given,
           count(*) FILTER (WHERE known = label AND given = label) AS right
    FROM pair CROSS JOIN (SELECT DISTINCT known AS label FROM pair) AS labels GROUP BY label ORDER BY label
"""
_TEAMS = """
    WITH ticket AS (
        SELECT i.meta->>'team' AS known, a.team AS given, p.label AS best
        FROM items i JOIN assignments a USING (source, item_id)
        JOIN predictions p ON p.source = i.source AND p.item_id = i.item_id AND p.current AND p.task = 'routing'
    )
    SELECT team, count(*) FILTER (WHERE known = team) AS known, count(*) FILTER (WHERE given = team) AS given,
           count(*) FILTER (WHERE known = team AND given = team) AS right,
           count(*) FILTER (WHERE known = team AND best = team) AS best
    FROM ticket CROSS JOIN (SELECT known AS team FROM ticket UNION SELECT given FROM ticket) AS teams
    GROUP BY team ORDER BY team = 'triage', team
"""
_EXAMPLES = """
    (SELECT item_id, text, label, score, NULL AS team FROM dash_current
     WHERE kind = 'comment' AND label = 'positive' AND length(text) BETWEEN 12 AND 40 ORDER BY item_id LIMIT 1)
    UNION ALL
    (SELECT item_id, text, label, score, NULL FROM dash_current
     WHERE kind = 'comment' AND label = 'negative' AND length(text) BETWEEN 12 AND 40 ORDER BY item_id LIMIT 1)
    UNION ALL
    (SELECT item_id, text, label, score, team FROM dash_current
     WHERE task = 'routing' AND assignment_status = 'auto' AND length(text) BETWEEN 12 AND 40 ORDER BY item_id LIMIT 1)
"""


def report(settings: Settings) -> Report:
    """What stands in the tables now."""
    engine = make_engine(settings)
    try:
        teams = _table(engine, _TEAMS)
        items = _scalar(engine, "SELECT count(*) FROM items WHERE state = 'done'")
        took_s = _scalar(engine, _SPEED) or 0.0
        return Report(
            items=items,
            failed=_table(engine, _FAILED),
            items_per_s=items / took_s if took_s else 0.0,
            model=_scalar(engine, _MODEL),
            sentiment=_table(engine, _SENTIMENT),
            classes=_table(engine, _CLASSES),
            teams=teams,
            tickets=sum(row["known"] for row in teams),
            tickets_right=sum(row["best"] for row in teams),
            triaged=sum(row["given"] for row in teams if row["team"] == "triage"),
            examples=_table(engine, _EXAMPLES),
        )
    finally:
        engine.dispose()


def _table(engine: Engine, statement: str) -> list[dict[str, Any]]:
    with translated(), engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(statement)).mappings()]


def _scalar(engine: Engine, statement: str) -> Any:
    with translated(), engine.connect() as connection:
        return connection.scalar(text(statement))


def _fenliu(home: Path, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "fenliu", *arguments],
        cwd=ROOT,
        env=_environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        output = done.stdout.decode("utf-8", "replace").strip()
        raise SetupError(f"`fenliu {' '.join(arguments)}` failed:\n{output}")


def _environment(home: Path) -> dict[str, str]:
    """Ours without any FENLIU_* but the number of slots: the demo never touches the servers of a real stack."""
    kept = {name for name in os.environ if not name.startswith("FENLIU_") or name == "FENLIU_SLOTS"}
    return {**{name: os.environ[name] for name in kept}, "FENLIU_HOME": str(home)}


def _ignore(_message: str) -> None:
    pass
