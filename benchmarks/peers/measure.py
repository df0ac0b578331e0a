"""The measurement: throughput in turn with Fenliu and the session alone, memory, single texts on an idle machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.alone import best_setting, session_alone
from benchmarks.peers import environments
from benchmarks.peers.comparison import comparison
from benchmarks.peers.contenders import HOSTS, TERMS, Host
from benchmarks.peers.fenliu_peer import fenliu_peer
from benchmarks.peers.leg import Leg, References
from benchmarks.peers.peer import Peer
from benchmarks.peers.process_tree import peak_rss_mib, processor_s, pss_mib
from schemas.errors import SetupError
from schemas.settings import Settings

BETWEEN_REFERENCES = 3
"""Peers measured between two looks at Fenliu and the session."""
BLOCK_TEXTS = 20
_PAUSE_S = 0.5


@dataclass(frozen=True)
class Texts:
    """`timed` are worked off, `single` asked one by one; `warm` come before both. None is in two."""

    warm: Sequence[str]
    timed: Sequence[str]
    single: Sequence[str]


def measure(settings: Settings, model: Path, texts: Texts, rounds: int, names: Sequence[str]) -> dict[str, Any]:
    """All peers in `names`; those that cannot be started are in `skipped`, with the reason. `model`: a folder as
    `model_folder` writes it, of the model that `settings` name."""
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        launched = []
        for host in HOSTS:
            if set(host.names) & set(names):
                launched += [(host, ready)] if (ready := _launch(host, settings, model, stack, skipped)) else []
        fenliu = stack.enter_context(fenliu_peer(settings))
        alone = stack.enter_context(session_alone(settings, best_setting(settings)))
        peers = []
        for host, ready in launched:
            with _skipping(host.names, skipped):
                peers += [peer for peer in ready() if peer.name in names]
        references = References(fenliu, alone, list(texts.timed))
        alone.classify(texts.warm)
        fenliu.work(texts.warm)
        for peer in list(peers):
            with _skipping([peer.name], skipped, peers):
                peer.work(texts.warm[: int(len(texts.warm) * max(TERMS[peer.name].part, 0.2))])
        legs = _legs(peers, references, rounds, skipped)
        single_ms = _single_ms([fenliu, *peers], texts, skipped)
        fenliu_mib = {"peak_rss_mib": peak_rss_mib(fenliu.pid), "pss_mib": pss_mib(fenliu.pid)}
    result = comparison(references.looks, legs, single_ms)
    result["fenliu"] |= fenliu_mib
    for host in HOSTS:
        for name in set(host.names) & result["peers"].keys():
            result["peers"][name]["versions"] = environments.versions(host.environment, host.packages)
    return {"texts": len(texts.timed), "skipped": skipped} | result


def _launch(
    host: Host, settings: Settings, model: Path, stack: ExitStack, skipped: dict[str, str]
) -> Callable[[], list[Peer]] | None:
    """What waits until the host is ready; None, and the reason in `skipped`, if it cannot be."""
    problem = environments.problem(host.environment) if host.environment else ""
    if problem:
        skipped |= dict.fromkeys(host.names, problem)
        return None
    found: list[Callable[[], list[Peer]]] = []
    with _skipping(host.names, skipped):
        found.append(stack.enter_context(host.start(settings, model)))
    return found[0] if found else None


@contextmanager
def _skipping(names: Sequence[str], skipped: dict[str, str], peers: list[Peer] | None = None) -> Iterator[None]:
    """What goes wrong with a peer leaves it out, with the reason."""
    try:
        yield
    except (SetupError, OSError) as error:
        skipped |= dict.fromkeys(names, str(error))
        _say(f"left out: {', '.join(names)}: {error}")
        if peers is not None:
            peers[:] = [peer for peer in peers if peer.name not in names]


def _legs(peers: list[Peer], references: References, rounds: int, skipped: dict[str, str]) -> list[Leg]:
    legs = []
    _look(references)
    for _ in range(rounds):
        for number, peer in enumerate(list(peers), 1):
            time.sleep(_PAUSE_S)  # threads that spin for a while after their last run
            own = references.texts[: max(1, round(len(references.texts) * TERMS[peer.name].part))]
            with _skipping([peer.name], skipped, peers):
                before_s = processor_s(peer.pid)
                worked = peer.work(own)
                took_s = processor_s(peer.pid) - before_s
                same = sum(a == b for a, b in zip(worked.labels, references.labels, strict=False))
                before = len(references.looks) - 1
                memory = peak_rss_mib(peer.pid), pss_mib(peer.pid)
                legs.append(Leg(peer.name, len(own), worked.seconds, took_s, same / len(own), before, *memory))
                _say(f"{peer.name} {legs[-1].per_s:.1f} texts/s, {same} of {len(own)} labels the same")
            time.sleep(_PAUSE_S)
            if number % BETWEEN_REFERENCES == 0 or number == len(peers):
                _look(references)
    return legs


def _look(references: References) -> None:
    look = references.look()
    _say(f"fenliu {look.fenliu_per_s:.1f}, session {look.session_per_s:.1f} texts/s")


def _single_ms(peers: Sequence[Peer], texts: Texts, skipped: dict[str, str]) -> dict[str, list[float]]:
    """Milliseconds from sending a text to its reply, which comes after the commit where rows are written.

    One text is under way at a time; the peers take turns every BLOCK_TEXTS of them.
    """
    left = [peer for peer in peers if TERMS[peer.name].asked]
    took_ms: dict[str, list[float]] = {peer.name: [] for peer in left}
    for start in range(-BLOCK_TEXTS, len(texts.single), BLOCK_TEXTS):
        block = texts.warm[:BLOCK_TEXTS] if start < 0 else texts.single[start : start + BLOCK_TEXTS]
        for peer in list(left):
            if start >= TERMS[peer.name].asked:
                continue
            time.sleep(_PAUSE_S / 5)
            with _skipping([peer.name], skipped, left):
                block_ms = [_asked_ms(peer, text) for text in block]
                took_ms[peer.name] += block_ms if start >= 0 else []
    for name, values in took_ms.items():
        if values:
            _say(f"{name}: a single text takes {statistics.median(values):.2f} ms")
    return took_ms


def _asked_ms(peer: Peer, text: str) -> float:
    begun_s = time.perf_counter()
    peer.ask(text)
    return (time.perf_counter() - begun_s) * 1000


def _say(message: str) -> None:
    print(message, flush=True)  # noqa: T201 - progress
