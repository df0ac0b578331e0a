"""Where a scenario plays: servers, workers, somebody who looks on, and how it ends."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Engine, NullPool

from benchmarks.chaos.checks import check, left
from benchmarks.chaos.fleet import Fleet
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.scenario import Result, Size
from benchmarks.chaos.services import Service
from benchmarks.chaos.timeline import EXIT, Timeline
from benchmarks.chaos.watch import Watch
from benchmarks.texts import SAMPLE
from schemas.database import make_engine
from schemas.routes import read_routes_file
from schemas.settings import Settings
from worker import pulse, routes
from worker.migrate import migrate
from worker.servers import PostgresServer, RedisServer, make_sockets_folder, remove_sockets_folder

_READY_S = 120.0
_STUCK_S = 60.0


@dataclass
class Place:
    """`settings` lead straight to the servers, `seen` the way that workers and producers take."""

    settings: Settings
    seen: Settings
    redis: Service
    postgres: Service
    proxies: Mapping[str, Proxy]
    fleet: Fleet
    watch: Watch
    timeline: Timeline
    engine: Engine
    client: Any
    logs: Path

    def wait_until_ready(self) -> None:
        """Return when every worker has had a heartbeat."""

        def ready() -> bool:
            seen = {worker.get("pid") for worker in pulse.workers(self.client, self.settings.keys)}
            return seen >= {str(pid) for pid in self.fleet.pids()}

        self._until(ready, _READY_S)

    def wait_until_empty(self, stuck_s: float = _STUCK_S) -> None:
        """Return when everything is worked off, or nothing has been settled for `stuck_s`: the checks tell."""
        while self.timeline.now_s() - self.timeline.last_settled_s() < stuck_s:
            try:
                if not any(left(self.client, self.settings.keys).values()):
                    return
            except redis.RedisError:
                pass  # it has been started again a moment ago
            time.sleep(0.1)

    def result(self, items: Iterable[Mapping[str, str]], *, skip: Iterable[str] = ()) -> Result:
        """Checks, faults and recoveries of what has happened here. The workers are stopped."""
        self.fleet.stop()
        rows = list(items)
        recoveries = self.timeline.recoveries()
        recoveries |= {"worker": self.watch.recoveries, "worker, more faults meanwhile": self.watch.disturbed}
        return {
            "items": len(rows),
            "seconds": round(self.timeline.now_s(), 1),
            "checks": check(self.engine, self.client, self.settings.keys, rows, skip=skip),
            "recoveries_s": {name: seconds for name, seconds in recoveries.items() if seconds},
            "killed_workers_that_held_nothing": self.watch.held_nothing,
            "workers_that_ended_by_themselves": sum(event.kind == EXIT for event in self.timeline.events),
            "tracebacks": self.fleet.tracebacks(),
            "faults": self.timeline.faults(),
        }

    def _until(self, condition: Callable[[], bool], limit_s: float) -> None:
        until_s = time.monotonic() + limit_s
        while not condition() and time.monotonic() < until_s:
            time.sleep(0.1)


@contextmanager
def place(
    size: Size, *, workers: int = 2, proxied: bool = False, environment: Mapping[str, str] | None = None,
    only_first: bool = False, **settings: Any,
) -> Iterator[Place]:  # fmt: skip
    """A fresh stack with `workers` that are started again when they end, and the sample's routes. Raises SetupError.

    `proxied`: workers and producers reach the servers by TCP proxies. `settings` and `environment` are the workers';
    with `only_first` the environment is that of one of them.
    """
    timeline = Timeline()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fl-"))).resolve()
        (home / "run").mkdir()
        sockets = make_sockets_folder(home)
        stack.callback(remove_sockets_folder, home, str(sockets))
        servers = RedisServer(home, sockets, fsync="always"), PostgresServer(home, sockets)
        of_redis, of_postgres = services = Service(servers[0], timeline), Service(servers[1], timeline)
        for service in services:
            stack.callback(service.end)
            service.start()
        direct = Settings(home=home, redis_url=servers[0].url, database_url=servers[1].url, **settings)
        migrate(direct)
        proxies: dict[str, Proxy] = {}
        seen = direct
        if proxied:
            targets = {"redis": sockets / "redis.sock", "postgres": sockets / "postgres" / ".s.PGSQL.5432"}
            proxies = {name: stack.enter_context(Proxy(target)) for name, target in targets.items()}
            urls = {
                "redis_url": f"redis://127.0.0.1:{proxies['redis'].port}/0",
                "database_url": f"postgresql://fenliu@127.0.0.1:{proxies['postgres'].port}/fenliu",
            }
            seen = direct.model_copy(update=urls)
        engine = make_engine(direct, poolclass=NullPool, statement_timeout_s=0)
        routes.apply(engine, read_routes_file(SAMPLE / "routes.yaml"), "chaos")
        client = stack.enter_context(redis.Redis.from_url(direct.redis_url, socket_timeout=20))
        watch = Watch(direct.redis_url, direct.keys, timeline)
        stack.callback(watch.stopped.set)
        logs = home / "worker-logs"
        stack.callback(_keep, logs, size.logs)
        fleet = Fleet(seen, logs, timeline, watch, count=workers, environment=environment, only_first=only_first)
        stack.enter_context(fleet)
        there = Place(direct, seen, of_redis, of_postgres, proxies, fleet, watch, timeline, engine, client, logs)
        there.wait_until_ready()
        watch.start()
        yield there


def run_together(*actions: Callable[[], None]) -> None:
    """Run all in threads of their own and wait; what one raises is raised here."""
    errors: list[BaseException] = []

    def guarded(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[action], daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def at_times(times_s: Sequence[float], act: Callable[[], object]) -> Callable[[], None]:
    """Something that acts at each of these seconds from its beginning, or as soon afterwards as it can."""

    def run() -> None:
        begun_s = time.monotonic()
        for at_s in times_s:
            time.sleep(max(0.0, begun_s + at_s - time.monotonic()))
            act()

    return run


def _keep(logs: Path, folder: Path | None) -> None:
    if folder is not None:
        shutil.copytree(logs, folder, dirs_exist_ok=True)
