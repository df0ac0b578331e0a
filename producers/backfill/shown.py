"""Backfills as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from producers.backfill.ledger import Record

_SHOWN_REFUSALS = 20


def lines_of(record: Record) -> Iterator[str]:
    """One backfill: how far it is, and its report if it is done."""
    progress = record.progress
    of = f" of {record.total:,}" if record.total else ""
    yield f"backfill {record.id}: {record.state}, {record.options.origin}"
    if record.schedule:
        yield f"  started by the schedule {record.schedule}"
    if record.report:
        yield from report_lines(record)
        return
    yield (
        f"  {progress.read:,}{of} rows read, {progress.enqueued:,} enqueued, {progress.skipped:,} skipped, "
        f"{progress.refused:,} refused"
    )
    if record.error:
        yield f"  error: {record.error}"
    yield from _refusals(record.progress.refused, ((one.where, one.message) for one in progress.refusals))


def report_lines(record: Record) -> Iterator[str]:
    """The report of one that is done."""
    report = record.report
    dead = report["dead_lettered"]
    yield (
        f"backfill {record.id}: {report['read']:,} rows read, {report['enqueued']:,} enqueued, "
        f"{report['skipped']:,} skipped, {report['refused']:,} refused"
    )
    yield (
        f"  {report['done']:,} done, {report['expired']:,} expired, {report['superseded']:,} superseded, "
        f"{sum(dead.values()):,} dead-lettered"
    )
    for code, number in dead.items():
        yield f"    {code}: {number:,}"
    for task, labels in report["labels"].items():
        shares = ", ".join(f"{label} {one['share']:.1%} ({one['count']:,})" for label, one in labels.items())
        yield f"  {task}: {shares}"
    rate = report["rows_per_s"]
    yield f"  {report['seconds']:,.1f} s" + (f"; enqueued at {rate:,.0f} rows/s" if rate else "")
    yield from _refusals(report["refused"], ((one["where"], one["message"]) for one in report["refusals"]))


def as_table(records: Iterable[Record]) -> Iterator[str]:
    """A line for each."""
    for record in records:
        progress = record.progress
        yield (
            f"{record.id:>6}  {record.state:<9}  {record.created_at:%Y-%m-%d %H:%M}  {progress.enqueued:>12,} enqueued"
            f"  {progress.refused:>8,} refused  {record.options.origin}"
        )


def _refusals(number: int, refusals: Iterable[tuple[str, str]]) -> Iterator[str]:
    shown = 0
    for where, message in refusals:
        if shown == _SHOWN_REFUSALS:
            break
        shown += 1
        yield f"  {where}: {message}"
    if number > shown:
        yield f"  and {number - shown:,} more refused"
