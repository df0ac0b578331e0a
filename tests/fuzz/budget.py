"""How many examples a test tries: few, the same ones every time, by default; with FENLIU_FUZZ=long many, at random."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

LONG = os.environ.get("FENLIU_FUZZ") == "long"
_LONGER = 40


def examples(count: int) -> settings:
    """Settings for a test that tries `count` examples in `make test`, and forty times as many in `make fuzz`."""
    return settings(
        max_examples=count * (_LONGER if LONG else 1),
        derandomize=not LONG,
        database=None,
        deadline=None,
        print_blob=True,
        # Fixtures stay between examples on purpose: a server or a database is made once, and examples use other ids.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )
