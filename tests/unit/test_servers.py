"""The embedded servers' options, as far as they follow the machine."""

from __future__ import annotations

import pytest

from worker.servers import shared_buffers_mb


@pytest.mark.parametrize(("memory_gb", "expected_mb"), [(0.5, 128), (4, 512), (7.5, 960), (64, 1_024)])
def test_postgres_holds_pages_in_an_eighth_of_the_memory_within_bounds(memory_gb: float, expected_mb: int) -> None:
    assert expected_mb == shared_buffers_mb(int(memory_gb * 2**30))
