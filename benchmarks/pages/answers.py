"""Sections on how long somebody waits: callers over HTTP, live traffic beside a backfill, dashboards."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.writing import table


def gateway(result: dict[str, Any]) -> str:
    """Over HTTP."""
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
        + table(head, rows)
    )


def latency(result: dict[str, Any]) -> str:
    """Live entries alone and at half load."""
    columns = ["p50_ms", "p95_ms", "p99_ms", "max_ms"]
    names = {"single": "one after the other, else idle", "half_load": "at half load"}
    rows = [[text, *(f"{result[name][column]:.1f}" for column in columns)] for name, text in names.items()]
    return (
        "## Live\n\n"
        f"From XADD to reply, after the commit; producer and servers share the CPUs with one worker of "
        f"{result['slots']} slots, model\n{result['model']}. At half load {result['half_load_per_s']:.0f} entries a "
        f"second come at random, half of what it takes from a backlog. A full\nbatch of "
        f"{result['full_batch_entries']} of these texts takes {result['full_batch_ms']:.0f} ms, from reading to "
        f"acknowledgement: p99 at half load is **{result['p99_in_full_batches']:.2f}** of them (allowed:\n"
        f"{result['allowed_batches']:.0f}). Batches at that load are smaller, {result['typical_batch_entries']:.1f} "
        f"entries and {result['typical_batch_ms']:.1f} ms on average: p99 is {result['p99_in_typical_batches']:.1f} "
        "of those.\n\n" + table(["", "p50, ms", "p95", "p99", "most"], rows)
    )


def priority(result: dict[str, Any]) -> str:
    """Live traffic beside a backfill."""
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
        f"{result['p99_difference_allowed_ms']:.0f}.\n\n" + table(["", "p50, ms", "p95", "p99", "most"], rows)
    )


def dashboards(result: dict[str, Any]) -> str:
    """Reading the views."""
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
        f"{result['fold_ms']:.0f} ms for.\n\n" + table(head, rows)
    )
