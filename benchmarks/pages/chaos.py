"""The section on faults: what was done in each scenario, what the checks found, how soon work went on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from benchmarks.chaos.timeline import summary
from benchmarks.pages.overload import overload, poison
from benchmarks.pages.writing import plot, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWN: Final = {"poison": poison, "overload": overload}
_WHAT: Final = {
    "kills": "SIGKILL at random of workers, Redis and Postgres, all at once",
    "deaths": "two of three workers killed, nothing else",
    "network": "connections reset, refused, stalled, forgotten, half closed, slow",
    "postgres": "Postgres read-only, full, out of connections, locked, frozen, restarted",
    "redis": "Redis out of memory, its consumer group deleted, paused, frozen, restarted",
    "order": "versions of items shuffled over both inboxes; workers frozen until others had claimed what they held",
    "clock": "a worker's clock set an hour forward and back",
    "poison": "texts that break the model",
    "overload": "ten times more than can be done",
}


def chaos(result: dict[str, Any]) -> str:
    """Every scenario in one table, recoveries in another and as a plot; then those that have a section of their own."""
    scenarios: Mapping[str, Any] = result["scenarios"]
    parts = [
        "## Faults\n\n"
        "Real processes on a Redis with `appendfsync always` and a PostgreSQL as installed, workers started again when "
        "they end,\nproducers that go on enqueueing by the SDK through every outage. Chance depends on the seed alone: "
        "`python -m benchmarks.chaos\n--scenario NAME --seed N` does the same again. A check counts what is wrong: "
        "items lost, without exactly one current result\nper task, with an old text, dead letters of good items, "
        "tickets announced twice, entries left.",
        table(
            ["scenario", "what is done", "seed", "items", "faults", "seconds", "checks"],
            [
                [
                    name,
                    _WHAT.get(name, name),
                    str(each["seed"]),
                    f"{each['items']:,}" if "items" in each else "",
                    str(len(each["faults"])) if "faults" in each else "",
                    f"{each['seconds_in_all']:,.0f}",
                    _verdict(each),
                ]
                for name, each in scenarios.items()
            ],
        ),
    ]
    recoveries = [
        (name, after, seconds)
        for name, each in scenarios.items()
        for after, seconds in each.get("recoveries_s", {}).items()
        if seconds
    ]
    if recoveries:
        parts += [_recoveries(recoveries), plot("chaos_recoveries", "Recoveries", lambda axes: _draw(axes, recoveries))]
    parts += [section(scenarios[name]) for name, section in _OWN.items() if name in scenarios]
    return "\n\n".join(parts)


def _verdict(scenario: Mapping[str, Any]) -> str:
    if isinstance(scenario.get("skipped"), str):
        return f"skipped: {scenario['skipped']}"
    found = {name: count for name, count in scenario["checks"].items() if count}
    verdict = f"**failed: {found}**" if found else f"all {len(scenario['checks'])} passed"
    left_out = scenario.get("skipped") or []
    return f"{verdict}; left out for lack of time: {'; '.join(left_out)}" if left_out else verdict


def _recoveries(recoveries: Sequence[tuple[str, str, Sequence[float]]]) -> str:
    rows = []
    for name, after, seconds in recoveries:
        figures = summary(seconds)
        rows.append(
            [
                name,
                after,
                f"{figures['count']:.0f}",
                *(f"{figures[f'{each}_s']:.2f}" for each in ("median", "p95", "max")),
            ]
        )
    return (
        "How soon work goes on. After a service: from its first answer, with the others there, to the next settled "
        "entry.\nAfter a worker's death: until another has settled the last entry that it held; nobody touches these "
        "before `claim_idle_s`\n(15 s, in `order` 1 s), and where more is killed meanwhile, they wait for that, "
        "too.\n\n" + table(["scenario", "after", "times", "median, s", "95 %, s", "longest, s"], rows)
    )


def _draw(axes: Axes, recoveries: Sequence[tuple[str, str, Sequence[float]]]) -> None:
    for name, after, seconds in recoveries:
        ordered = sorted(seconds)
        shares = [(number + 1) / len(ordered) for number in range(len(ordered))]
        axes.step([ordered[0], *ordered], [0.0, *shares], where="post", label=f"{name}: {after}", linewidth=1)
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlabel("seconds until work goes on")
    axes.set_ylabel("share of recoveries")
    axes.legend(fontsize=6)
