"""Sections on texts that break the model, and on more than can be done; of one scenario's result each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.pages.writing import plot, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def poison(result: dict[str, Any]) -> str:
    """Texts that crash, hang, blow up or break the model."""
    settings = ", ".join(f"`{name}` {value:g}" for name, value in result["settings"].items())
    rows = [
        [
            case["name"],
            f"{case['neighbours']:,} + {case['arrived_meanwhile']:,}",
            str(case["culprits"]),
            str(case["worker_ended"]),
            _seconds(case["last_neighbour_s"]),
            _seconds(case["last_dead_letter_s"]),
            f"{_seconds(case['meanwhile_median_s'])}, {_seconds(case['meanwhile_longest_s'])}",
        ]
        for case in result["cases"]
    ]
    head = [
        "case",
        "neighbours, and those that came meanwhile",
        "culprits",
        "ends of the worker",
        "last neighbour's row after, s",
        "last dead letter after, s",
        "who came meanwhile waited, median and longest, s",
    ]
    return (
        "### Poison\n\n"
        "The shipped model with nodes in its graph that do harm on a marker: give no finite number, ask for more "
        "memory than there is,\nnever end, take memory without end "
        f"(killed at {result['memory_limit_mib']:,} MiB, as by the kernel); and a worker that reads address 0 on "
        f"one.\nOne worker of two slots, started again when it ends, half a second later; {settings}.\n\n"
        + table(head, rows)
    )


def overload(result: dict[str, Any]) -> str:
    """Ten times more than can be done."""
    rows = [
        [
            phase["phase"],
            f"{phase['answered']:,}",
            f"{phase['refused']:,}",
            *(f"{phase[name]:,.0f}" if name in phase else "" for name in ("p50_ms", "p99_ms")),
            *(f"{phase[f'most_{name}']:,}" for name in ("live", "bulk")),
            *(f"{phase[f'most_{name}_mib']:,.0f}" for name in ("worker", "serve")),
        ]
        for phase in result["phases"]
    ]
    head = [
        "phase", "live questions answered", "refused", "p50, ms", "p99, ms", "most in live", "most in bulk",
        "worker, MiB", "serve, MiB",
    ]  # fmt: skip
    floods = "; ".join(
        f"{name}: {flood['taken']:,} items taken in, {flood['refused']:,} times refused"
        for name, flood in result["floods"].items()
    )
    http = ", ".join(f"{status} {number:,} times" for status, number in result["http"].items())

    def backlogs(axes: Axes) -> None:
        for lane in ("bulk", "live"):
            axes.plot([look["at_s"] for look in result["samples"]], [look[lane] for look in result["samples"]])
        axes.legend(["bulk", "live"], fontsize=7)
        axes.set_xlabel("s")
        axes.set_ylabel("entries in the inbox")

    def memory(axes: Axes) -> None:
        for name in ("worker_mib", "serve_mib", "redis_mib"):
            axes.plot([look["at_s"] for look in result["samples"]], [look[name] for look in result["samples"]])
        axes.legend(["worker", "serve", "Redis"], fontsize=7)
        axes.set_xlabel("s")
        axes.set_ylabel("MiB")

    def waits(axes: Axes) -> None:
        points = [(look["at_s"], look["live_ms"]) for look in result["samples"] if look["live_ms"] is not None]
        axes.semilogy([at_s for at_s, _ in points], [median_ms for _, median_ms in points])
        axes.set_xlabel("s")
        axes.set_ylabel("live question to reply, ms, median of a second")

    return (
        "### Overload\n\n"
        f"{result['offered_per_s']:,.0f} items/s are offered to a worker that does {result['capacity_per_s']:,.0f}; "
        f"live questions come at {result['live_per_s']:,.0f}/s all the while.\nThe inboxes' bound is "
        f"{result['inbox_bound']:,}. {floods}. Over HTTP: {http}.\nAfter the floods everything was worked off within "
        f"{result['worked_off_s']:.0f} s.\n\n"
        + table(head, rows)
        + "\n\n"
        + "\n\n".join(
            [
                plot("overload_backlog", "Entries in the inboxes", backlogs),
                plot("overload_memory", "Memory", memory),
                plot("overload_live", "Live questions", waits),
            ]
        )
    )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
