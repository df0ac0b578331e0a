"""SIGINT and SIGTERM: a backfill stops between two chunks, and at once while it waits."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

_LOOK_EVERY_S = 0.2


class StoppedError(Exception):
    """Somebody asked the process to stop; `code` is what it exits with."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.code = 128 + signal_number


class Stop:
    """Catches both signals while entered. Only in the main thread; elsewhere nothing is caught."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def check(self) -> None:
        """Raise StoppedError if a signal has come."""
        if self._signal is not None:
            raise StoppedError(self._signal)

    def sleep(self, seconds: float) -> None:
        """Sleep; raises StoppedError as soon as a signal comes."""
        until = time.monotonic() + seconds
        while True:
            self.check()
            left_s = until - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _LOOK_EVERY_S))

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A signal ends what runs in here where it stands: reading from a pipe or a database may take for ever."""
        self.check()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _caught(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal gives it
        again, self._signal = self._signal is not None, number
        if self._at_once or again:
            raise StoppedError(number)
