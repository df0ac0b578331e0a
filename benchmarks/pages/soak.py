"""The section on the soak: what was looked at, how much it grew, what became of everything that was sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from benchmarks.pages.writing import plot, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLOTS: Final = {
    "soak_memory": ("Memory, MiB", ("worker_pss_mib", "serve_pss_mib", "beat_pss_mib", "redis_used_mib")),
    "soak_handles": (
        "Handles, threads, connections",
        ("worker_handles", "serve_handles", "worker_threads", "serve_threads", "redis_clients", "postgres_connections"),
    ),
    "soak_waiting": ("Entries that wait, dead rows", ("backlog_entries", "dead_rows")),
}


def soak(result: dict[str, Any]) -> str:
    """Half an hour of mixed traffic."""
    cut = " It was ended early." if result["partial"] else ""
    failed = {name: found for name, found in result["checks"].items() if found}
    verdict = f"**failed: {failed}**" if failed else f"all {len(result['checks'])} checks passed"
    uses = ", ".join(f"{name} {number:,}" for name, number in result["uses"].items())
    parts = [
        "## Soak\n\n"
        f"{result['seconds'] / 60:.0f} minutes of mixed traffic.{cut} Live comments and tickets at "
        f"{result['share']:.0%} of the {result['capacity_per_s']:,.0f} items/s that this\nworker can do, and beside "
        f"them, each so many times: {uses}.\nA webhook was called {result['webhook_calls']['taken']:,} times, and "
        f"{result['webhook_calls']['failed']:,} times more in vain. {result['items']:,} items stay; by SQL, {verdict}.",
        "Growth is the slope after Theil and Sen over the second half. It fails where it is over the bound an hour and "
        "over the noise in all.",
        table(
            ["series", "first", "last", "most", "grew", "an hour", "bound an hour", "noise", ""],
            [
                [
                    f"{found['series']}",
                    *(f"{found[name]:,.1f}" for name in ("first", "last", "most", "grew", "grew_per_hour")),
                    f"{found['per_hour']:,.0f} {found['unit']}",
                    f"{found['noise']:,.0f}",
                    "" if found["ok"] else "**grows**",
                ]
                for found in result["growth"]
            ],
        ),
        *(plot(name, label, _series(result, label, names)) for name, (label, names) in _PLOTS.items()),
        "Tables at the end, by Postgres' own statistics.",
        table(
            ["table", "rows", "dead rows", "MiB with indexes"],
            [
                [
                    row["relname"],
                    f"{row['n_live_tup']:,}",
                    f"{row['n_dead_tup']:,}",
                    f"{row['bytes'] / 2**20:,.1f}",
                ]
                for row in result["tables"]
            ],
        ),
    ]
    return "\n\n".join(parts)


def _series(result: dict[str, Any], label: str, names: tuple[str, ...]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for name in names:
            points = [(sample["at_s"] / 60, sample[name]) for sample in result["samples"] if name in sample]
            axes.plot([minute for minute, _ in points], [value for _, value in points], label=name, linewidth=1)
        axes.set_xlabel("minutes")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)

    return draw
