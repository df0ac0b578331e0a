"""What the measured turns say: rates, ratios taken against the looks beside each turn, spreads, targets."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from benchmarks.peers.contenders import TERMS
from benchmarks.peers.leg import Leg, Look

TARGETS: Final = {
    "one text a Celery task": (("celery-threads", "celery-prefork"), 1.9),
    "infinity-emb": (("infinity-1", "infinity-32"), 2.3),
    "celery-batches": (("celery-batches",), 3.3),
}
"""Fenliu's texts per second, at least so many times those of the faster of these."""


def comparison(looks: Sequence[Look], legs: Sequence[Leg], single_ms: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Fenliu's figures, those of each peer by name, and the targets they can be held to."""
    fenliu = {
        "texts_per_s": statistics.median(look.fenliu_per_s for look in looks),
        "session_alone_texts_per_s": statistics.median(look.session_per_s for look in looks),
        "processor_ms": statistics.median(look.fenliu_processor_ms for look in looks),
        "share_of_session": statistics.median(look.fenliu_per_s / look.session_per_s for look in looks),
        "single_ms": spread(single_ms.get("fenliu", [])),
        "looks": [asdict(look) for look in looks],
    }
    names = dict.fromkeys(leg.name for leg in legs)
    peers = {
        name: _peer([leg for leg in legs if leg.name == name], looks, single_ms.get(name, []), name) for name in names
    }
    return {"fenliu": fenliu, "peers": peers, "targets": list(_targets(fenliu, peers))}


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Median, the value that 99 of 100 do not exceed, and all of them."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        "texts": len(values),
        "p50": statistics.median(values),
        "p99": ordered[-(-len(ordered) * 99 // 100) - 1],
        "all": [round(value, 3) for value in values],
    }


def _peer(legs: Sequence[Leg], looks: Sequence[Look], single_ms: Sequence[float], name: str) -> dict[str, Any]:
    beside = [statistics.mean(look.fenliu_per_s for look in looks[leg.before : leg.before + 2]) for leg in legs]
    cost_ms = [statistics.mean(look.fenliu_processor_ms for look in looks[leg.before : leg.before + 2]) for leg in legs]
    return {
        "title": TERMS[name].title,
        "how": TERMS[name].how,
        "texts": legs[0].texts,
        "texts_per_s": statistics.median(leg.per_s for leg in legs),
        "fenliu_times": statistics.median(fenliu / leg.per_s for fenliu, leg in zip(beside, legs, strict=True)),
        "processor_ms": statistics.median(leg.processor_ms for leg in legs),
        "processor_times": statistics.median(leg.processor_ms / cost for leg, cost in zip(legs, cost_ms, strict=True)),
        "label_agreement": min(leg.agreement for leg in legs),
        "peak_rss_mib": legs[-1].peak_rss_mib,
        "pss_mib": legs[-1].pss_mib,
        "single_ms": spread(single_ms),
        "rounds": [
            {"texts_per_s": leg.per_s, "fenliu_texts_per_s_beside": fenliu}
            for leg, fenliu in zip(legs, beside, strict=True)
        ],
    }


def _targets(fenliu: Mapping[str, Any], peers: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for what, (names, least) in TARGETS.items():
        if times := [peers[name]["fenliu_times"] for name in names if name in peers]:
            yield {
                "what": f"texts/s, times those of {what}",
                "target": f"at least {least}",
                "reached": f"{min(times):.2f}",
                "met": min(times) >= least,
            }
    others = [peer["single_ms"]["p99"] for peer in peers.values() if peer["single_ms"]]
    if others and fenliu["single_ms"]:
        own = fenliu["single_ms"]["p99"]
        yield {
            "what": "p99 of a single text on an idle machine, against the best of the peers",
            "target": f"at most {min(others):.1f} ms",
            "reached": f"{own:.1f} ms",
            "met": own <= min(others),
        }
