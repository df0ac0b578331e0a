"""Sections on how many texts a second: the pipeline, the session, the model, producing, writing, backfills."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.writing import table


def pipeline(result: dict[str, Any]) -> str:
    """From XADD to committed row, against the session alone."""
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
        f"**{result['processor_share_median']:.3f}**.\n\n" + table(head, rows)
    )


def session(result: dict[str, Any]) -> str:
    """Orders, run budgets and threads of the session alone."""
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
        f"{result['tokenizing_us_per_text']:.0f} µs a text.\n\n" + table(head, rows)
    )


def labels(result: dict[str, Any]) -> str:
    """The model by itself, and by number of labels."""
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
        + table(["slots x threads of each", "texts/s, median", "best round"], speeds)
        + "\n\nRouting real texts, tokenization included, by number of labels.\n\n"
        + table(["labels", "µs of processor a text", "ratio, same round"], costs)
    )


def producing(result: dict[str, Any]) -> str:
    """Adding entries."""
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
        "rules.\n\n" + table(["through", "a second, median", "worst to best run"], rows)
    )


def sink(result: dict[str, Any]) -> str:
    """Writing rows."""
    rows = [
        [case, str(row["wall_median"]), str(row["wall_p95"]), str(row["processor_here"]), str(row["processor_server"])]
        for case, row in result["us_per_item"].items()
    ]
    head = ["case", "µs an item, median", "95th percentile", "of processor here", "of processor in Postgres"]
    return (
        "## Writing\n\n"
        f"One transaction of {result['batch_entries']} outcomes at a time, one process, durable Postgres.\n\n"
        + table(head, rows)
    )


def backfill(result: dict[str, Any]) -> str:
    """Reading a large file."""
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
        "the entries out of the inbox without looking.\n\n" + table(head, rows)
    )
