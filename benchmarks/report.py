"""docs/performance.md from the results that the benchmarks wrote. Nothing in it is written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def main() -> None:
    """Write the page from what results there are."""
    parts = ["# Performance", _INTRODUCTION]
    for name, section in SECTIONS.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            parts += [section(result), _machine(result["machine"], path.name)]
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"wrote docs/{PAGE.name}")  # noqa: T201 - a command's output


_INTRODUCTION = (
    "Made by `make bench` from the files in `benchmarks/results/`, which it writes as well. Machines differ and are\n"
    "noisy: read ratios taken in one run, not single figures."
)


def _pipeline(result: dict[str, Any]) -> str:
    rows = [
        [
            str(number),
            f"{row['session_alone_texts_per_s']:.1f}",
            f"{row['pipeline_texts_per_s']:.1f}",
            f"{row['share']:.3f}",
            f"{row['processor_share']:.3f}",
            f"{row['peak_rss_mib']:.0f}",
            f"{row['ready_s']:.2f}",
        ]
        for number, row in enumerate(result["rounds"], 1)
    ]
    head = [
        "round",
        "session alone, texts/s",
        "pipeline, texts/s",
        "share",
        "share by processor time",
        "worker's peak memory, MiB",
        "ready after, s",
    ]
    return (
        "## From XADD to committed row\n\n"
        f"{result['texts']:,} distinct texts through Redis, {result['slots']} slots and Postgres, against the same "
        f"model's session alone\non the same texts in memory, sorted by length, in runs of {result['run_tokens']} "
        f"tokens, tokenization included, in turn. Model\n{result['model']}. Median share: "
        f"**{result['share_median']:.3f}**; by processor time of the worker against the session's, "
        f"**{result['processor_share_median']:.3f}**.\n\n" + _table(head, rows)
    )


def _session(result: dict[str, Any]) -> str:
    rows = [
        [
            row["order"],
            str(row["run_tokens"]) if row["order"] == "sorted" else f"{row['at_once']} texts",
            f"{row['slots']} x {row['threads']}",
            f"{row['texts_per_s']:.1f}",
        ]
        for row in result["settings"]
    ]
    head = ["order", "a run holds, tokens or texts", "slots x threads of each", "texts/s"]
    return (
        "## The session alone\n\n"
        f"{result['texts']:,} texts of {result['tokens'] / result['texts']:.1f} tokens on average; tokenizing takes "
        f"{result['tokenizing_us_per_text']:.0f} µs a text.\n\n" + _table(head, rows)
    )


def _producing(result: dict[str, Any]) -> str:
    names = {
        "mapping": "`enqueue_many`, mappings",
        "item": "`enqueue_many`, `Item`s",
        "item_with_times_and_meta": "`enqueue_many`, `Item`s with times and meta",
        "one_by_one": "`enqueue`, one by one",
        "bare_redis_pipeline": "redis-py's pipeline, nothing checked",
    }
    rows = [
        [names[name], f"{case['per_s_median']:,}", f"{case['per_s_worst']:,} to {case['per_s_best']:,}"]
        for name, case in result["cases"].items()
    ]
    return (
        "## Producing\n\nItems that one Python process adds to an inbox per second, every one checked by the workers' "
        "rules.\n\n" + _table(["through", "a second, median", "worst to best run"], rows)
    )


def _sink(result: dict[str, Any]) -> str:
    rows = [
        [case, str(row["wall_median"]), str(row["wall_p95"]), str(row["processor_here"]), str(row["processor_server"])]
        for case, row in result["us_per_item"].items()
    ]
    head = ["case", "µs an item, median", "95th percentile", "of processor here", "of processor in Postgres"]
    return (
        "## Writing\n\n"
        f"One transaction of {result['batch_entries']} outcomes at a time, one process, durable Postgres.\n\n"
        + _table(head, rows)
    )


def _gateway(result: dict[str, Any]) -> str:
    idle, busy = result["idle"], result["busy"]
    rows = [
        [
            str(number),
            f"{row['pipeline_texts_per_s']:.1f}",
            f"{row['http_texts_per_s']:.1f}",
            f"{row['share']:.3f}",
            f"{row['http_ms']['p50']:.0f}",
            f"{row['http_ms']['p95']:.0f}",
        ]
        for number, row in enumerate(busy["rounds"], 1)
    ]
    head = ["round", "pipeline, texts/s", "HTTP, texts/s", "share", "p50, ms", "p95, ms"]
    return (
        "## Over HTTP\n\n"
        f"One caller on an idle machine, {idle['texts']} texts one after the other: p50 "
        f"{idle['http_ms']['p50']:.2f} ms and p95 {idle['http_ms']['p95']:.2f} ms, where the\nmodel alone takes "
        f"{idle['model_ms']['p50']:.2f} and {idle['model_ms']['p95']:.2f} ms for the same texts: "
        f"**{idle['more_ms']:.2f} ms** more at the median (allowed: {idle['allowed_more_ms']:.0f}).\n\n"
        f"{busy['callers']} callers of one text each, on the same CPUs as gateway, worker and servers, in turn with "
        f"the pipeline.\nMedian share: **{busy['share_median']:.3f}** (allowed: {busy['allowed_share']}).\n\n"
        + _table(head, rows)
    )


def _labels(result: dict[str, Any]) -> str:
    speeds = [
        [
            f"{case['slots']} x {case['threads']}",
            f"{case['texts_per_s_median']:,.0f}",
            f"{case['texts_per_s_best']:,.0f}",
        ]
        for case in (result["one_run"], result["slots"])
    ]
    costs = [
        [str(row["labels"]), f"{row['processor_us_per_text']:.0f}", f"{row['ratio']:.3f}"]
        for row in result["by_labels"]
    ]
    return (
        "## The model by itself\n\n"
        f"{result['model']} on {result['texts']} x {result['tokens']} tokens, no tokenization.\n\n"
        + _table(["slots x threads of each", "texts/s, median", "best round"], speeds)
        + "\n\nRouting real texts, tokenization included, by number of labels.\n\n"
        + _table(["labels", "µs of processor a text", "ratio, same round"], costs)
    )


def _machine(machine: dict[str, Any], file: str) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if version)
    return (
        f"<sub>benchmarks/results/{file}: {machine['processor']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, {packages}; commit {machine['commit']}, "
        f"{machine['measured_at']}</sub>"
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _backfill(result: dict[str, Any]) -> str:
    rows = [
        [
            f"{case['rows']:,}",
            f"{case['rows_per_s']:,}",
            f"{case['rows_per_s_enqueuing']:,}",
            f"{case['wall_s']:.1f}",
            f"{case['peak_mib']:.0f}",
        ]
        for case in result["cases"]
    ]
    head = ["rows", "rows/s, all included", "rows/s while enqueuing", "seconds", "peak memory, MiB"]
    return (
        "## Backfill\n\n"
        f"`fenliu backfill start` on a Parquet file of comments with {result['cases'][-1]['mean_text_chars']:.0f} "
        "characters on average, start of the process and wait for\nthe last row included, while another process takes "
        "the entries out of the inbox without looking.\n\n" + _table(head, rows)
    )


def _dashboards(result: dict[str, Any]) -> str:
    rows = [
        [name, f"{row['rows']:,}", f"{row['p50_ms']:.1f}", f"{row['worst_ms']:.1f}", f"{row['unfolded_p50_ms']:.1f}"]
        for name, row in result["queries"].items()
    ]
    head = ["question", "rows", "ms, median", "ms, worst", "ms before folding, median"]
    tables = result["rows"]
    return (
        "## Dashboards\n\n"
        f"Views over {tables['predictions']:,} predictions of {tables['items']:,} items, {tables['assignments']:,} of "
        f"them assigned, until the last row has come, {result['rounds']} times\neach, warm. Before folding: with a "
        f"minute of batches on top, {result['folded_rows']:,} rows, which folding then takes "
        f"{result['fold_ms']:.0f} ms for.\n\n" + _table(head, rows)
    )


def _priority(result: dict[str, Any]) -> str:
    names = {"quiet": "no bulk", "with_backfill": "bulk inbox kept full"}
    columns = ["p50_ms", "p95_ms", "p99_ms", "max_ms"]
    rows = [[text, *(f"{result[name][column]:.1f}" for column in columns)] for name, text in names.items()]
    live, bulk = (f"{result['capacity_texts_per_s'][lane]:.0f}" for lane in ("live", "bulk"))
    return (
        "## Live beside a backfill\n\n"
        f"One worker of {result['slots']} slots that works off {live} live or {bulk} bulk texts/s. Live entries arrive "
        f"one by one, at random,\n{result['live_per_s']:.0f} a second; times run from when an entry was due to its "
        "reply, after the commit. Producers and servers share the\nCPUs. Bulk got "
        f"{result['bulk_texts_per_s']:.0f} texts/s beside it. p99 with bulk less the quiet one: "
        f"**{result['p99_difference_ms']:.1f} ms**; allowed are "
        f"{result['p99_difference_allowed_ms']:.0f}.\n\n" + _table(["", "p50, ms", "p95", "p99", "most"], rows)
    )


SECTIONS = {
    "pipeline": _pipeline,
    "session": _session,
    "labels": _labels,
    "producing": _producing,
    "sink": _sink,
    "gateway": _gateway,
    "backfill": _backfill,
    "priority": _priority,
    "dashboards": _dashboards,
}

if __name__ == "__main__":
    main()
