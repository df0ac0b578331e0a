"""What shuts people out of a page, by axe-core: a package of others, kept packed under vendor/ for tests alone."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _script() -> str:
    return gzip.decompress((Path(__file__).parent / "vendor" / "axe.min.js.gz").read_bytes()).decode()


def violations(page: Any) -> list[str]:
    """What is serious or critical on a page as it is now: the rule, where, and what to do."""
    page.evaluate(_script())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['html'][:160]}: {node['failureSummary'].splitlines()[-1].strip()}"
        for rule in found["violations"]
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
    ]
