"""Sections on how many texts a second: the pipeline, the session, the model, producing, writing, backfills."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.writing import table


def pipeline(result: dict[str, Any]) -> str:
    """From XADD to committed row, against the session alone."""
    demo = result["demo"]
    return (
        "## From XADD to committed row\n\n"
        + _against_the_session(result)
        + f"The worker was ready after {result['ready_s']:.1f} s and took {result['peak_rss_mib']:.0f} MiB at "
        f"most. Of the tokens it ran for the demo's\n{demo['texts']:,.0f} texts, **{demo['padding_share']:.1%}** were "
        f"padding (allowed: {demo['allowed_padding_share']:.0%}).\n\n" + _slices(result)
    )


def pipeline_base(result: dict[str, Any]) -> str:
    """The same with a larger model."""
    return (
        "### With a model of base size\n\nRandom weights, 12 layers of 768, INT8 with static scales.\n\n"
        + _against_the_session(result)
        + _slices(result)
    )


def _against_the_session(result: dict[str, Any]) -> str:
    whole, batches, took_us = result["sorted"], result["batches"], result["processor_us_per_text"]
    return (
        f"Slices of {result['texts']:,} distinct texts through Redis, {result['slots']} slots and Postgres, against "
        f"the session of the same model alone, in a\nprocess of its own, on the same texts in memory (its best "
        f"setting: {result['session_setting']};\ntokenization included). Both work on the same slice by turns of "
        f"half a second, one stopped while the other has all CPUs. Model {result['model']}:\n"
        f"{result['pipeline_texts_per_s']:.1f} texts/s through the pipeline, {result['session_alone_texts_per_s']:.1f} "
        f"alone; mean share of the slices and standard error **{whole['share']:.3f}** ± {whole['standard_error']:.3f}, "
        f"of\nprocessor time alone to the worker's {whole['processor_share']:.3f}.\n\n"
        f"The session has all texts of a slice and sorts them by length; a worker takes at most "
        f"{result['batch_entries']} at a time. Of the session alone in\nsuch batches, in the order the texts come, "
        f"the pipeline reaches **{batches['share']:.3f}** ± {batches['standard_error']:.3f}.\n\n"
        f"Processor time for each text, in microseconds: session {took_us['session_processor_s']:,.0f}, worker "
        f"{took_us['worker_s']:,.0f}, Postgres {took_us['postgres_s']:.0f}, Redis {took_us['redis_s']:.0f}. Of the "
        f"time of all CPUs,\n{result['idle_share']:.1%} was used by none of these three while a slice went through: "
        "waits for commits, the end of a slice,\nthe sender, the change of turns.\n\n"
    )


def _slices(result: dict[str, Any]) -> str:
    texts = result["texts"]
    rows = [
        [
            str(number),
            row["mode"],
            f"{texts / row['session_s']:.1f}",
            f"{texts / row['pipeline_s']:.1f}",
            f"{row['share']:.3f}",
            f"{row['processor_share']:.3f}",
        ]
        for number, row in enumerate(result["slices"], 1)
    ]
    head = ["slice", "session", "session alone, texts/s", "pipeline, texts/s", "share", "share by processor time"]
    return table(head, rows)


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
    best = result["best"]
    tokenizing = best["tokenizing"]
    return (
        "## The session alone\n\n"
        f"{result['texts']:,} texts of {best['tokens'] / result['texts']:.1f} tokens on average, model "
        f"{result['model']}, tokenization included. In the best setting\n{tokenizing['included_texts_per_s']:.1f} "
        f"texts/s with tokenization and {tokenizing['excluded_texts_per_s']:.1f} without, in turn; tokenizing takes "
        f"{best['tokenizing_us_per_text']:.0f} µs of\nprocessor a text.\n\n" + table(head, rows)
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
