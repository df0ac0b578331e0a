"""Whether something grows: a robust slope over the second half of a series, held against a bound that is stated.

The slope is that of Theil and Sen, the median of the slopes between all pairs of points (Sen 1968, J. Am. Stat. Assoc.
63, 1379-1389): a burst or a checkpoint moves it little. The first half is warming up.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

POINTS: Final = 400


@dataclass(frozen=True)
class Bound:
    """`per_hour`: the most growth allowed. `noise`: growth over the whole second half that says nothing yet."""

    series: str
    unit: str
    per_hour: float
    noise: float


MIB: Final = "MiB"
BOUNDS: Final = (
    *(Bound(f"{name}_pss_mib", MIB, 32.0, 8.0) for name in ("worker", "serve", "beat")),
    Bound("redis_used_mib", MIB, 16.0, 4.0),
    Bound("redis_pss_mib", MIB, 32.0, 8.0),
    Bound("redis_keys", "keys", 60.0, 20.0),
    *(Bound(f"{name}_handles", "handles", 12.0, 4.0) for name in ("worker", "serve", "beat", "redis")),
    *(Bound(f"{name}_threads", "threads", 8.0, 3.0) for name in ("worker", "serve", "beat")),
    Bound("redis_clients", "connections", 8.0, 4.0),
    Bound("postgres_connections", "connections", 8.0, 4.0),
    Bound("backlog_entries", "entries", 2_000.0, 1_000.0),
    Bound("outbox_oldest_s", "s", 60.0, 20.0),
    Bound("home_files", "files", 8.0, 3.0),
)
"""Postgres' own memory is no series of these: its shared buffers fill as tables grow, up to their setting."""


def slope(times_s: Sequence[float], values: Sequence[float]) -> float:
    """Units per second, after Theil and Sen; 0 for fewer than two points. Thinned to POINTS evenly."""
    step = max(1, -(-len(times_s) // POINTS))
    times_s, values = times_s[::step], values[::step]
    slopes = [
        (values[right] - values[left]) / (times_s[right] - times_s[left])
        for left in range(len(times_s))
        for right in range(left + 1, len(times_s))
        if times_s[right] > times_s[left]
    ]
    return statistics.median(slopes) if slopes else 0.0


def verdicts(samples: Sequence[Mapping[str, float]], bounds: Sequence[Bound] = BOUNDS) -> list[dict[str, Any]]:
    """Of each bound whose series is there: growth in the second half and an hour, and whether it is `ok`."""
    half = samples[len(samples) // 2 :]
    found = []
    for bound in bounds:
        points = [(sample["at_s"], sample[bound.series]) for sample in half if bound.series in sample]
        if not points:
            continue
        times_s, values = [at_s for at_s, _ in points], [value for _, value in points]
        per_s = slope(times_s, values)
        grew = per_s * (times_s[-1] - times_s[0])
        found.append(
            asdict(bound)
            | {
                "first": samples[0].get(bound.series, values[0]),
                "last": values[-1],
                "most": max(values),
                "grew": round(grew, 3),
                "grew_per_hour": round(3600 * per_s, 3),
                "ok": 3600 * per_s <= bound.per_hour or grew <= bound.noise,
            }
        )
    return found
