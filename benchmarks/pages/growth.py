"""The section on what an item costs as things grow, with a plot of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from benchmarks.machine import read_result
from benchmarks.pages.writing import plot, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_RATIOS: Final = ("processor, times the smallest", "clock, times the smallest")


def growth(result: dict[str, Any]) -> str:
    """Tables, backlog, workers, lengths; and the pipeline and labels, if they have been measured."""
    labels = read_result("labels")
    return "\n\n".join(
        [
            "## Growth",
            *([_pipeline(result)] if "pipeline" in result else []),
            _tables(result),
            _backlog(result),
            _workers(result["workers"]),
            _lengths(result["lengths"]),
            *([_labels(labels)] if labels else []),
        ]
    )


def _ratio_cells(row: dict[str, Any]) -> tuple[str, str]:
    """Of the columns that _RATIOS names."""
    return f"{row['processor_ratio']:.3f}", f"{row['wall_ratio']:.3f}"


def _pipeline(result: dict[str, Any]) -> str:
    rows = [
        [
            f"{row['items']:,}",
            f"{row['worker_us']:,.0f} + {row['postgres_us']:,.0f} + {row['redis_us']:,.0f}",
            f"{row['processor_us']:,.0f}",
            f"{row['wall_us']:,.0f}",
            f"{row['wal_bytes']:,.0f}",
            *_ratio_cells(row),
        ]
        for row in result["pipeline"]
    ]
    head = ["items in the tables", "µs of processor, worker + Postgres + Redis", "together", "µs", "bytes of WAL"]
    head += _RATIOS
    one = result["pipeline"][0]

    def draw(axes: Axes) -> None:
        own = result["pipeline"]
        axes.plot([row["items"] for row in own], [row["processor_ratio"] for row in own], "o-", label="an item")
        _ratios(axes, "items in the tables", result["allowed_ratio"])

    return (
        "### Items in the tables, whole pipeline\n\n"
        f"From XADD to committed row: {one['texts']:,} new comments in each database in turn, {one['slices']} times, "
        "through a worker of its own with\nthe shipped model and default settings, one Redis, one Postgres, durable. "
        "No text comes twice to a worker; ids stand\nanywhere among those that are there, as random ids do. Postgres "
        "is all of its processes, Redis all of its threads;\nmedians per item, ratios inside a round.\n\n"
        + table(head, rows)
        + "\n\n"
        + plot("growth-pipeline", "Processor time per item, from inbox to row, by items in the tables", draw)
    )


def _tables(result: dict[str, Any]) -> str:
    rows = [
        [
            row["case"],
            f"{row['items']:,}",
            f"{row['here_us']:.0f} + {row['server_us']:.0f}",
            f"{row['wall_us']:.0f}",
            f"{row['wal_bytes']:,.0f}",
            *_ratio_cells(row),
        ]
        for row in result["tables"]
    ]
    head = ["case", "items in the tables", "µs of processor, here + Postgres", "µs", "bytes of WAL"]
    head += _RATIOS
    cases = list(dict.fromkeys(row["case"] for row in result["tables"]))

    def draw(axes: Axes) -> None:
        for case in cases:
            own = [row for row in result["tables"] if row["case"] == case]
            axes.plot([row["items"] for row in own], [row["processor_ratio"] for row in own], "o-", label=case)
        _ratios(axes, "items in the tables", result["allowed_ratio"])

    return (
        "### Items in the tables, writing alone\n\n"
        "One transaction of comments and one of tickets in each database in turn, in one Postgres, durable; medians "
        "per item,\nratios inside a round. Pages were read in before. The first change of a page after a checkpoint "
        "writes it to\nthe WAL as a whole: in a large database most changes are such.\n\n"
        + table(head, rows)
        + "\n\n"
        + plot("growth-tables", "Processor time per item by items in the tables", draw)
    )


def _backlog(result: dict[str, Any]) -> str:
    rows = [
        [
            f"{row['entries']:,}",
            f"{row['here_us']:.1f} + {row['server_us']:.1f}",
            f"{row['wall_us']:.1f}",
            *_ratio_cells(row),
        ]
        for row in result["backlog"]
    ]
    head = ["entries that wait", "µs of processor an entry, here + Redis", "µs"]
    head += _RATIOS

    def draw(axes: Axes) -> None:
        own = result["backlog"]
        axes.plot([row["entries"] for row in own], [row["processor_ratio"] for row in own], "o-", label="an entry")
        _ratios(axes, "entries that wait", result["allowed_ratio"])

    return (
        "### Entries that wait\n\nReading and settling by 256, from inboxes of each length in turn, in one Redis.\n\n"
        + table(head, rows)
        + "\n\n"
        + plot("growth-backlog", "Processor time per entry by entries that wait", draw)
    )


def _workers(found: list[dict[str, Any]]) -> str:
    rows = [
        [
            str(row["processes"]),
            ", ".join(f"{items:,}" for items in row["items_of_each"]),
            f"{row['items_per_s']:.0f}",
            f"{row['processor_us_per_item']:,.0f}",
            str(row["redelivered"]),
            f"{row['rows']:,} of {row['items_with_a_row']:,}",
        ]
        for row in found
    ]
    head = ["workers", "items of each", "items/s", "µs of processor an item", "delivered twice", "rows, of items"]

    def draw(axes: Axes) -> None:
        for number in range(max(row["processes"] for row in found)):
            own = [row for row in found if row["processes"] > number]
            below = [sum(row["items_of_each"][:number]) for row in own]
            axes.bar(
                [str(row["processes"]) for row in own], [row["items_of_each"][number] for row in own], bottom=below
            )
        axes.set_xlabel("worker processes")
        axes.set_ylabel("items, by who did them")

    return (
        f"### Workers\n\n{found[0]['texts']:,} distinct texts shared out among processes of one slot each. More of "
        "them than the machine has CPUs make nothing\nfaster; what is shown is that none is left out and nothing is "
        "done twice.\n\n" + table(head, rows) + "\n\n" + plot("growth-workers", "Items done by each worker", draw)
    )


def _lengths(found: list[dict[str, Any]]) -> str:
    rows = [
        [
            f"{row['characters']:,}",
            f"{row['tokens'] / row['texts']:,.0f}",
            f"{row['us_per_token']:.0f}",
            f"{row['us_per_character']:.0f}",
        ]
        for row in found
    ]

    def draw(axes: Axes) -> None:
        sizes = [row["characters"] for row in found]
        axes.plot(sizes, [row["us_per_token"] for row in found], "o-", label="a token")
        axes.plot(sizes, [row["us_per_character"] for row in found], "o-", label="a character")
        _logarithmic(axes, "characters of a text")
        axes.set_ylabel("µs of processor")

    return (
        "### Length of texts\n\nThe model alone, one thread, as many characters in all. Attention costs more in longer "
        "windows; a text beyond the\nmodel's length is read in windows that overlap, and from there on cost per token "
        "stays.\n\n"
        + table(["characters", "tokens", "µs of processor a token", "a character"], rows)
        + "\n\n"
        + plot("growth-lengths", "Processor time per token by length of texts", draw)
    )


def _labels(result: dict[str, Any]) -> str:
    def draw(axes: Axes) -> None:
        own = result["by_labels"]
        axes.plot([row["labels"] for row in own], [row["ratio"] for row in own], "o-", label="a text")
        _ratios(axes, "labels", None)

    return "### Labels\n\nRouting among more labels: the table is in the section on the model by itself.\n\n" + plot(
        "growth-labels", "Processor time per text by number of labels", draw
    )


def _ratios(axes: Axes, about: str, allowed: float | None) -> None:
    if allowed is not None:
        axes.axhline(allowed, linestyle="--", color="grey", label="allowed")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("processor time, times the smallest")
    _logarithmic(axes, about)


def _logarithmic(axes: Axes, about: str) -> None:
    axes.set_xscale("log")
    axes.set_xlabel(about)
    axes.legend(loc="lower right")


def worst_ratio(rows: Iterable[dict[str, Any]]) -> float:
    """The largest ratio of processor time among rows."""
    return max(float(row["processor_ratio"]) for row in rows)
