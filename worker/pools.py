"""Which of Celery's pools can run Fenliu, and why the others cannot."""

from __future__ import annotations

POOLS = ("threads", "solo")


def refusal(pool: str) -> str:
    """Why `pool` is refused, and what to use instead."""
    return (
        f"pool {pool!r} cannot run Fenliu: its slots share one copy of the model, which needs threads of one "
        "process; use --pool threads (or solo)"
    )
