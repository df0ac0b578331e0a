"""Overload: ten times more than can be done, first in bulk, then in both inboxes; then nothing, and all is well again.

The shipped model, one worker, `fenliu serve`. First the capacity. Then phase by phase, with live questions at a fifth
of the capacity all the way: calm; bulk flooded by the SDK while requests over HTTP add to it; live flooded as well;
worked off; calm again. The inboxes' bound is what can be worked off in a part of the flood's time, at most the default,
so that recovery can be waited for. Every second memory, backlogs, refusals and the answers to live questions are noted.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

import psutil
import redis
from sqlalchemy import NullPool, text

from benchmarks.chaos.checks import left
from benchmarks.chaos.flood import Flood, Order, flooding
from benchmarks.chaos.live_callers import LiveCallers
from benchmarks.chaos.posts import Posts
from benchmarks.chaos.scenario import Result, Size
from benchmarks.stack import free_port, running, running_worker, scratch_stack, until
from benchmarks.texts import sample_texts
from producers.client import CHUNK_ENTRIES, Client
from schemas.database import make_engine
from schemas.names import Lane
from schemas.settings import Settings

MINUTES: Final = 1.5
POINTS: Final = 300
TIMES: Final = 10
LIVE_SHARE: Final = 0.2
CALM_SHARE, BULK_SHARE, BOTH_SHARE = 0.15, 0.6, 0.25
"""Of the time in `minutes`: each calm phase, bulk flooded, both flooded."""
DRAIN_SHARE: Final = 0.35
"""Of the time in `minutes`: in which each full inbox can be worked off."""
BOUND: Final = 100_000
CAPACITY_ITEMS: Final = 2_000
DRAIN_S: Final = 240.0
MEMORY_MIB: Final = 48.0
"""What the worker's memory may grow by from the first third of the floods to the last."""
_COUNT: Final = text(
    "SELECT source, count(*) AS items, count(*) FILTER (WHERE state = 'done') AS done,"
    " count(*) FILTER (WHERE (SELECT count(*) FROM predictions p WHERE p.current AND p.source = i.source"
    "  AND p.item_id = i.item_id) = 1) AS rows FROM items i GROUP BY source"
)


def run(size: Size) -> Result:
    """All phases; the checks say whether everything taken in has its row, bounds were kept and producers told."""
    seconds = size.seconds(MINUTES)
    with ExitStack() as stack:
        fresh = stack.enter_context(scratch_stack())
        capacity_per_s = _capacity(fresh, size)
        bound = min(BOUND, max(2_000, round(DRAIN_SHARE * seconds * capacity_per_s)))
        settings = fresh.model_copy(update={"inbox_bound": bound})
        port = free_port()
        worker = stack.enter_context(running_worker(settings))
        serve = stack.enter_context(running(settings, "serve", "--port", str(port)))
        client = stack.enter_context(redis.Redis.from_url(settings.redis_url))
        callers = LiveCallers(settings, LIVE_SHARE * capacity_per_s, size.rng("live callers"))
        posts = Posts(port)
        watch = _Watch(settings, client, {"worker": worker, "serve": serve}, callers, posts)
        order = Order(settings.redis_url, settings.prefix, bound, Lane.BULK, TIMES * capacity_per_s)
        with callers:
            watch.phase("calm", CALM_SHARE * seconds)
            with posts, flooding(order) as bulk:
                watch.floods["bulk"] = bulk
                watch.phase("bulk flooded", BULK_SHARE * seconds)
                with flooding(replace(order, lane=Lane.LIVE)) as live:
                    watch.floods["live"] = live
                    watch.phase("both flooded", BOTH_SHARE * seconds)
            worked_off_s = watch.phase("worked off", DRAIN_S, until_empty=True)
            watch.phase("calm again", CALM_SHARE * seconds)
        until(lambda: not any(client.xlen(key) for key in settings.keys.inboxes.values()), worker)
        checks = watch.checks(bound) | left(client, settings.keys) | _rows(settings, watch, callers, posts)
    return {
        "capacity_per_s": capacity_per_s,
        "offered_per_s": order.per_s,
        "live_per_s": LIVE_SHARE * capacity_per_s,
        "inbox_bound": bound,
        "worked_off_s": worked_off_s,
        "phases": watch.phases(),
        "http": posts.statuses(),
        "floods": {name: {"taken": f.taken.value, "refused": f.refused} for name, f in watch.floods.items()},
        "memory_allowed_mib": MEMORY_MIB,
        "checks": checks,
        "samples": watch.samples[:: max(1, -(-len(watch.samples) // POINTS))],
    }


def _capacity(settings: Settings, size: Size) -> float:
    """Items per second from a full bulk inbox."""
    texts, count = sample_texts(), size.items or CAPACITY_ITEMS
    with (
        running_worker(settings) as worker,
        Client.from_settings(settings) as sender,
        redis.Redis.from_url(settings.redis_url) as client,
    ):
        begun_s = time.perf_counter()
        items = ({"id": str(n), "source": "capacity", "text": f"{n}：{texts[n % len(texts)]}"} for n in range(count))
        sender.enqueue_many(items, lane=Lane.BULK)
        until(lambda: not client.xlen(settings.keys.inbox(Lane.BULK)), worker)
        return count / (time.perf_counter() - begun_s)


class _Watch:
    """Looks once a second, phase by phase."""

    def __init__(
        self,
        settings: Settings,
        client: Any,
        running_now: dict[str, subprocess.Popen[bytes]],
        callers: LiveCallers,
        posts: Posts,
    ) -> None:
        self._settings = settings
        self._client = client
        self._processes = running_now
        self._callers = callers
        self._posts = posts
        self._begun_s = time.monotonic()
        self.floods: dict[str, Flood] = {}
        self.samples: list[dict[str, Any]] = []

    def phase(self, name: str, seconds: float, *, until_empty: bool = False) -> float:
        """Look on for so long, or until the inboxes hold no more than a moment's entries; how long it was."""
        begun_s = time.monotonic()
        while time.monotonic() - begun_s < seconds:
            self._callers.now_in(name)
            time.sleep(1.0)
            look = self._look(name)
            self.samples.append(look)
            if until_empty and look["bulk"] == 0 and look["live"] < self._callers.per_s:
                break
        took_s = time.monotonic() - begun_s
        print(f"{name}: {took_s:.0f} s, {self.samples[-1]}", flush=True)  # noqa: T201 - progress
        return took_s

    def phases(self) -> list[dict[str, Any]]:
        """Live questions of each phase, and the most memory and backlog in it."""
        found = []
        for name in dict.fromkeys(look["phase"] for look in self.samples):
            looks = [look for look in self.samples if look["phase"] == name]
            most = {f"most_{what}": max(look[what] for look in looks) for what in ("worker_mib", "serve_mib", *Lane)}
            found.append({"phase": name, "seconds": len(looks)} | most | self._callers.answers(name))
        return found

    def checks(self, bound: int) -> dict[str, int]:
        """What must not be, but for lost items."""
        floods = [look["worker_mib"] for look in self.samples if "flooded" in look["phase"]]
        third = max(1, len(floods) // 3)
        grew_mib = sorted(floods[-third:])[third // 2] - sorted(floods[:third])[third // 2]
        # Each producer has looked before its chunk of 500; a caller or a request adds its few without another look.
        slack = (len(self.floods) + 2) * CHUNK_ENTRIES
        most = max(max(look["bulk"], look["live"]) for look in self.samples)
        return {
            "entries in an inbox over its bound": max(0, most - bound - slack),
            "memory over what is allowed, MiB": max(0, round(grew_mib - MEMORY_MIB)),
            "processes that ended": sum(process.poll() is not None for process in self._processes.values()),
            "floods of which nobody was told": sum(flood.told.value == 0 for flood in self.floods.values()),
            "full inboxes over HTTP without 429 and Retry-After": self._posts.wrong(),
        }

    def _look(self, phase: str) -> dict[str, Any]:
        memory = {
            f"{name}_mib": round(psutil.Process(process.pid).memory_info().rss / 2**20, 1)
            for name, process in self._processes.items()
        }
        backlogs = {lane.value: self._client.xlen(self._settings.keys.inbox(lane)) for lane in Lane}
        at_s = round(time.monotonic() - self._begun_s, 1)
        answered = {"live_ms": self._callers.median_ms_of_last()}
        refused = {f"{name}_refused": flood.refused for name, flood in self.floods.items()}
        redis_mib = round(self._client.info("memory")["used_memory"] / 2**20, 1)
        return {"at_s": at_s, "phase": phase, "redis_mib": redis_mib} | memory | backlogs | answered | refused


def _rows(settings: Settings, watch: _Watch, callers: LiveCallers, posts: Posts) -> dict[str, int]:
    """Items that were taken in, against their rows."""
    engine = make_engine(settings, poolclass=NullPool, statement_timeout_s=0)
    with engine.connect() as connection:
        found = {row.source: row for row in connection.execute(_COUNT)}
        dead = int(connection.execute(text("SELECT count(*) FROM dead_letters")).scalar_one())
    engine.dispose()
    sent = {f"flood-{name}": flood.taken.value for name, flood in watch.floods.items()}
    sent |= {"caller": callers.sent, "http": posts.accepted}
    without = sum(abs(count - (found[source].rows if source in found else 0)) for source, count in sent.items())
    return {
        "items taken in without their one row": without,
        "dead letters": dead,
        "live questions without a reply": callers.unanswered(),
    }
