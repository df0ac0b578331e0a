"""The supervisor of one home: starts its services in order, keeps them up, stops them in reverse.

One supervisor per home (a lock that vanishes with it). What it has started stands in the home's note, so that
the next one, or `fenliu down`, finds and stops what a crash left behind.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from types import FrameType

from schemas.errors import FenliuError, SetupError
from schemas.settings import Settings
from schemas.stack import Recorded, Stack, lock_file, read_stack, run_folder, stack_file, write_stack
from worker import processes
from worker.processes import Service
from worker.servers import PostgresServer, RedisServer, make_sockets_folder, remove_sockets_folder
from worker.services import BeatService, WorkerService

_STOP_ORDER = ("beat", "worker", "redis", "postgres")
_STOP_SIGNALS = {"postgres": signal.SIGINT}
_STACK_STOP_S = 180.0
_LEFTOVER_STOP_S = 30.0
_LOCK_TRIES = 40  # readers of the lock hold it for a moment
_LOOK_S = 0.2
_RESTART_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_S = 10.0  # a process that lived so long starts again with the shortest pause: it does not fail at its start

Say = Callable[[str], None]


class Supervisor:
    """Runs a stack in the foreground. `settings.home` must be absolute."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings = settings
        self._home = settings.home
        self._say = say
        self._services: list[Service] = []
        self._processes: dict[str, Popen[bytes]] = {}
        self._launched_at: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._stopping = threading.Event()
        self._hurry = False
        self._stack = Stack()

    def run(self, on_ready: Callable[[Settings], None]) -> None:
        """Start everything, call `on_ready` with the filled settings, and stay until a signal to stop.

        Raises SetupError when a supervisor lives here already, or something cannot be started; what was started
        is stopped then.
        """
        run_folder(self._home).mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self._home), self._signals():
            stop_leftovers(self._home, self._say)
            try:
                self._start(on_ready)
                while not self._stopping.wait(_LOOK_S) and stack_file(self._home).exists():
                    self._look_after()
            finally:
                self._stop()

    def _start(self, on_ready: Callable[[Settings], None]) -> None:
        from worker.migrate import migrate

        sockets = make_sockets_folder(self._home)
        self._note(sockets=str(sockets), supervisor=processes.record(os.getpid()))
        settings = self._settings
        if settings.embedded_redis:
            redis = RedisServer(self._home, sockets)
            settings = settings.model_copy(update={"redis_url": redis.url})
            self._note(redis_url=redis.url)
            self._launch(redis)
        if settings.embedded_database:
            postgres = PostgresServer(self._home, sockets)
            settings = settings.model_copy(update={"database_url": postgres.url})
            self._note(database_url=postgres.url)
            self._launch(postgres)
        for service in self._services:
            processes.wait_for(service, self._processes[service.name], self._stopping.is_set)
        if self._stopping.is_set():
            return
        migrate(settings)
        worker = WorkerService(settings)
        self._launch(worker)
        self._launch(BeatService(settings))
        processes.wait_for(worker, self._processes[worker.name], self._stopping.is_set)
        if not self._stopping.is_set():
            self._note(ready=True)
            on_ready(settings)

    def _launch(self, service: Service) -> None:
        if service not in self._services:
            self._services.append(service)
        process = service.launch()
        self._processes[service.name] = process
        self._launched_at[service.name] = time.monotonic()
        self._note(children={**self._stack.children, service.name: processes.record(process.pid)})

    def _look_after(self) -> None:
        for service in self._services:
            code = self._processes[service.name].poll()
            if code is not None:
                self._restart(service, f"exit code {code}")

    def _restart(self, service: Service, why: str) -> None:
        lived_s = time.monotonic() - self._launched_at[service.name]
        failures = 0 if lived_s > _STEADY_S else self._failures.get(service.name, 0)
        pause_s = _RESTART_PAUSES_S[min(failures, len(_RESTART_PAUSES_S) - 1)]
        self._failures[service.name] = failures + 1
        self._say(f"{service.name} ended ({why}); starting it again in {pause_s:g} s. Its log: {service.log}")
        if self._stopping.wait(pause_s):
            return
        try:
            self._launch(service)
            if service.name != "worker":  # it waits for its servers by itself
                processes.wait_for(service, self._processes[service.name], self._stopping.is_set)
        except FenliuError as error:
            self._say(str(error))

    def _stop(self) -> None:
        for name in _STOP_ORDER:
            service = next((service for service in self._services if service.name == name), None)
            process = self._processes.get(name)
            if service is None or process is None or process.poll() is not None:
                continue
            self._say(f"stopping {name}")
            process.send_signal(service.stop_signal)
            deadline = time.monotonic() + service.stop_s
            while process.poll() is None:
                if time.monotonic() > deadline or (self._hurry and name == "worker"):
                    self._say(f"{name} did not stop in time; killing it")
                    processes.kill_family(process.pid)
                    process.wait()
                time.sleep(0.02)
        remove_sockets_folder(self._home, self._stack.sockets)
        stack_file(self._home).unlink(missing_ok=True)

    def _note(self, **changes: object) -> None:
        self._stack = dataclasses.replace(self._stack, **changes)  # type: ignore[arg-type]
        write_stack(self._home, self._stack)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C drain; a second one does not wait for the worker's batches."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._hurry = self._stopping.is_set()
            self._stopping.set()

        wanted = [
            number
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN  # nohup stays nohup
        ]
        before = {number: signal.signal(number, stop) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def stop_stack(home: Path, say: Say) -> bool:
    """Stop what runs in a home, or what a crash left there; whether there was anything.

    Raises SetupError if another supervisor starts there meanwhile.
    """
    stack = read_stack(home)
    supervisor = stack.supervisor if stack else None
    lived = supervisor is not None and processes.find(supervisor) is not None
    if supervisor is not None and lived and not processes.stop(supervisor, signal.SIGTERM, _STACK_STOP_S):
        say("the supervisor did not stop in time and was killed")
    if not lock_file(home).exists():
        return lived
    with _locked(home):
        return stop_leftovers(home, say) or lived


def stop_leftovers(home: Path, say: Say) -> bool:
    """Stop the processes that a dead supervisor left in its home, worker first. The caller holds the lock."""
    stack = read_stack(home)
    if stack is None:
        stack_file(home).unlink(missing_ok=True)
        return False
    write_stack(home, dataclasses.replace(stack, ready=False))  # its lock is ours now: nobody may take it for alive
    found = False
    for name, recorded in _in_stop_order(stack):
        if processes.find(recorded) is not None:
            say(f"stopping {name} (pid {recorded.pid}), left behind by a crash")
            processes.stop(recorded, _STOP_SIGNALS.get(name, signal.SIGTERM), _LEFTOVER_STOP_S)
            found = True
    remove_sockets_folder(home, stack.sockets)
    stack_file(home).unlink(missing_ok=True)
    return found


def _in_stop_order(stack: Stack) -> Sequence[tuple[str, Recorded]]:
    return sorted(stack.children.items(), key=lambda child: _STOP_ORDER.index(child[0]))


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Hold the home's lock. Raises SetupError if a supervisor does."""
    with lock_file(home).open("ab") as lock:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            else:
                yield
                return
        raise SetupError(f"a stack runs in {home} already: see `fenliu status`, or stop it with `fenliu down`")
