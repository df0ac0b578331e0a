"""`make chaos`: break Fenliu on purpose, scenario after scenario, and look by SQL whether anything got lost or doubled.

    python -m benchmarks.chaos [--scenario NAME ...] [--seed N] [--minutes M] [--items N] [--logs FOLDER] [--dry]

`--minutes` and `--items` make each scenario smaller or larger. Exit status 1 if a check of any scenario fails; how
soon work went on is only reported. Do nothing else on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.chaos import clock, deaths, kills, network, order, overload, poison, postgres, redis_server
from benchmarks.chaos.scenario import Result, Scenario, Size, violations
from benchmarks.chaos.timeline import summary
from benchmarks.machine import write_result
from benchmarks.pages import reliability

SCENARIOS: Final[dict[str, Scenario]] = {
    "kills": kills.run,
    "deaths": deaths.run,
    "network": network.run,
    "postgres": postgres.run,
    "redis": redis_server.run,
    "order": order.run,
    "clock": clock.run,
    "poison": poison.run,
    "overload": overload.run,
}


def main(arguments: Sequence[str] = ()) -> int:
    """Run, report, write; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, help="what chance depends on; a random one by default")
    parser.add_argument("--minutes", type=float, help="of faults in each scenario")
    parser.add_argument("--items", type=int, help="in each scenario")
    parser.add_argument("--logs", type=Path, help="a folder to keep the workers' logs in")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    size = Size(seed, options.minutes, options.items, options.logs)
    results: dict[str, Result] = {}
    for name in options.scenario or SCENARIOS:
        print(f"== {name}, seed {seed}", flush=True)  # noqa: T201 - a command's output
        begun_s = time.monotonic()
        results[name] = {"seed": seed} | SCENARIOS[name](size)
        results[name]["seconds_in_all"] = round(time.monotonic() - begun_s, 1)
        _report(results[name])
    result = {"scenarios": results}
    if options.dry:
        print(json.dumps(result, ensure_ascii=False))  # noqa: T201
    else:
        write_result("chaos", result)
        reliability.main()
    return int(any(violations(each) for each in results.values()))


def _report(result: Result) -> None:
    found = violations(result)
    passed = f"all {len(result['checks'])} passed"
    lines = [f"{result['seconds_in_all']} s; checks: {found or passed}"]
    for what, seconds in result.get("recoveries_s", {}).items():
        lines.append(f"recovery after {what}: {dict(summary(seconds))}")
    lines += [f"{name}: {result[name]}" for name in ("skipped", "tracebacks") if result.get(name)]
    print("\n".join(lines), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
