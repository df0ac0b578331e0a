"""Workers and servers as real processes; see `tests.acceptance.conftest`."""

from tests.acceptance.conftest import address, own_place, place, servers

__all__ = ["address", "own_place", "place", "servers"]
