"""The session alone in a process of its own, which works only when it is asked: the limit that a pipeline is held to.

It gets texts that are in memory, all at once, and does what a worker does with them but for Redis and Postgres:
tokenizing, sorting by length, runs, scores. Which setting is its best, `benchmarks.session` finds out.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import read_result
from benchmarks.session import Setting, seconds_alone
from schemas.settings import Settings, cpu_quota
from worker.inference.classifier import Classifier
from worker.inference.folder import find, model_homes

_STOP_S = 30


class Took(NamedTuple):
    """What some texts took: seconds on the clock, and of processor time."""

    seconds: float
    processor_s: float


class Alone:
    """The caller's end. `pid`: of the process."""

    def __init__(self, connection: Connection, pid: int) -> None:
        self._connection = connection
        self.pid = pid

    def begin(self, texts: Sequence[str], at_once: int | None = None) -> None:
        """Have the texts classified; `at_once`: so many in one call instead of as the setting says."""
        self._connection.send((list(texts), at_once))

    def done(self) -> bool:
        """Whether `took` would not have to wait."""
        return self._connection.poll()

    def took(self) -> Took:
        """What the texts of `begin` took, once they are classified."""
        return Took(*self._connection.recv())

    def classify(self, texts: Sequence[str]) -> Took:
        """Have the texts classified, and wait for it."""
        self.begin(texts)
        return self.took()


@contextmanager
def session_alone(settings: Settings, setting: Setting) -> Iterator[Alone]:
    """A process with the model in production that is ready to classify; ended afterwards."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    folder = find(settings.model, model_homes(settings.models_home))
    process = context.Process(target=_serve, args=(theirs, folder, setting), daemon=True)
    process.start()
    try:
        ours.recv()
        yield Alone(ours, process.pid or 0)
    finally:
        ours.close()
        theirs.close()
        process.join(_STOP_S)


def best_setting(settings: Settings) -> Setting:
    """The fastest one that `benchmarks.session` has found for this model on this machine; the worker's own if it has
    not looked for it."""
    found = read_result("session") or {}
    model = "/".join(find(settings.model, model_homes(settings.models_home)).parts[-2:])
    if found.get("model") == model and found["machine"]["cpus"] == cpu_quota() and "tokenizing" in found["best"]:
        best = found["best"]
        return Setting(best["order"], best["run_tokens"], best["at_once"], best["slots"], best["threads"])
    return Setting("sorted", settings.run_tokens, 0, settings.slots_at_once, 1)


def _serve(connection: Connection, folder: Path, setting: Setting) -> None:
    classifier = Classifier.load(folder, run_tokens=setting.run_tokens, threads=setting.threads)
    connection.send(True)
    while True:
        try:
            texts, at_once = connection.recv()
        except EOFError:
            return
        before_s = time.process_time()
        seconds = seconds_alone(classifier, texts, setting.slots, setting.at_once if at_once is None else at_once)
        connection.send((seconds, time.process_time() - before_s))
