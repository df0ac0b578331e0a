"""Rows per second and peak memory of `fenliu backfill start` on a large Parquet file.

    python -m benchmarks.backfill

The command runs in a process of its own against Redis and Postgres of the benchmark's, while another process reads
the bulk inbox as a worker does, and acknowledges and deletes without looking. Writes `results/backfill.json`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from benchmarks.machine import write_result
from benchmarks.stack import scratch_stack
from benchmarks.texts import sample_texts
from schemas.names import GROUP, Lane
from schemas.settings import Settings, load_settings

ROWS = (100_000, 1_000_000)
GROUP_ROWS = 250_000
TARGET_ROWS_PER_S, TARGET_MIB = 20_000, 300
_CONSUME = "consume"
_READ_ENTRIES = 1000
_LIMIT_S = 300
_ROOT = Path(__file__).resolve().parents[1]
_SINCE = datetime(2025, 1, 1, tzinfo=UTC)
_CITIES = ("上海", "北京", "广州", "成都", "杭州", "武汉")


def main(arguments: Sequence[str] = ()) -> None:
    """Measure both sizes and write the result; with `consume`, be the process that discards."""
    if list(arguments) == [_CONSUME]:
        _consume(load_settings())
        return
    cases = []
    with tempfile.TemporaryDirectory(prefix="fl-") as folder, scratch_stack() as settings, _consumer(settings):
        for rows in ROWS:
            path = Path(folder) / f"{rows}.parquet"
            mean_chars = _write(path, rows)
            cases.append(_measure(settings, path, rows) | {"mean_text_chars": mean_chars})
            path.unlink()
    write_result(
        "backfill",
        {
            "what": "one run of the command on a Parquet file, start of the process and wait for the last row included",
            "targets": {"rows_per_s": TARGET_ROWS_PER_S, "peak_mib": TARGET_MIB},
            "group_rows": GROUP_ROWS,
            "cases": cases,
        },
    )


def _measure(settings: Settings, path: Path, rows: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "fenliu", "backfill", "start", str(path), "--source", "bench", "--json"]
    started_s = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - ours
        command, cwd=_ROOT, env=_environment(settings), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    peak_kib = 0
    while process.poll() is None:
        peak_kib = max(peak_kib, _peak_kib(process.pid))
        if time.perf_counter() - started_s > _LIMIT_S:
            process.kill()
            raise RuntimeError(f"{rows} rows were not done within {_LIMIT_S} s")
        time.sleep(0.05)
    wall_s = time.perf_counter() - started_s
    said = process.stdout.read() if process.stdout else ""
    report = json.loads(said)["report"] if process.returncode == 0 else {}
    if report.get("enqueued") != rows:
        raise RuntimeError(f"exit {process.returncode}, {report.get('enqueued')} of {rows} rows were enqueued: {said}")
    return {
        "rows": rows,
        "rows_per_s": round(rows / wall_s),
        "rows_per_s_enqueuing": round(report["rows_per_s"]),
        "wall_s": round(wall_s, 2),
        "peak_mib": round(peak_kib / 1024, 1),
        "file_mib": round(path.stat().st_size / 2**20, 1),
    }


def _peak_kib(pid: int) -> int:
    """The most memory that the process has had so far."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def _write(path: Path, rows: int) -> float:
    """A file of comments like the sample's: each the front of one and the back of another; their mean length."""
    import pyarrow
    from pyarrow import parquet

    chance = random.Random(rows)  # noqa: S311 - the same file each time
    texts = [text for text in sample_texts() if len(text) <= 120]
    chars = 0
    writer = None
    for start in range(0, rows, GROUP_ROWS):
        numbers = range(start, min(rows, start + GROUP_ROWS))
        comments = [_comment(chance, texts) for _ in numbers]
        chars += sum(map(len, comments))
        table = pyarrow.table(
            {
                "id": [f"c{number:07}" for number in numbers],
                "text": comments,
                "created_at": [_SINCE + timedelta(seconds=20 * number) for number in numbers],
                "stars": [chance.randint(1, 5) for _ in numbers],
                "city": [chance.choice(_CITIES) for _ in numbers],
            }
        )
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=GROUP_ROWS)
    if writer is not None:
        writer.close()
    return round(chars / rows, 1)


def _comment(chance: random.Random, texts: list[str]) -> str:
    front, back = chance.choice(texts), chance.choice(texts)
    return front[: len(front) // 2 + 1] + back[len(back) // 2 :]


@contextmanager
def _consumer(settings: Settings) -> Iterator[None]:
    process = subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, "-m", "benchmarks.backfill", _CONSUME], cwd=_ROOT, env=_environment(settings)
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _consume(settings: Settings) -> None:
    """Read as a worker does, acknowledge and delete in one step, look at nothing."""
    inbox = settings.keys.inbox(Lane.BULK)
    with redis.Redis.from_url(settings.redis_url) as server:
        server.xgroup_create(inbox, GROUP, id="0", mkstream=True)
        while True:
            answer: Any = server.execute_command(
                "XREADGROUP", "GROUP", GROUP, "bench", "COUNT", _READ_ENTRIES, "BLOCK", 1000, "STREAMS", inbox, ">"
            )
            for entries in answer.values() if isinstance(answer, dict) else (pair[1] for pair in answer or ()):
                entry_ids = [entry[0] for entry in _flat(entries)]
                pipe = server.pipeline()
                pipe.xack(inbox, GROUP, *entry_ids)
                pipe.xdel(inbox, *entry_ids)
                pipe.execute()


def _flat(entries: Any) -> list[Any]:
    """Entries as a list of (id, fields), however deep the protocol's version nests them."""
    return (
        entries[0] if entries and isinstance(entries[0], list) and isinstance(entries[0][0], (list, tuple)) else entries
    )


def _environment(settings: Settings) -> dict[str, str]:
    given = settings.model_dump(exclude_unset=True)
    return {**os.environ, **{f"FENLIU_{name.upper()}": str(value) for name, value in given.items()}}


if __name__ == "__main__":
    main(sys.argv[1:])
