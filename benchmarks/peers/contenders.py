"""Who is measured, on what terms, and how each is started."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers import environments
from benchmarks.peers.celery_peer import celery_peer
from benchmarks.peers.infinity_peer import CALLERS, CALLERS_BY_MANY, infinity_peer
from benchmarks.peers.peer import Peer, Terms
from benchmarks.peers.transformers_peer import transformers_peer
from schemas.settings import Settings

Started = AbstractContextManager[Callable[[], list[Peer]]]
Start = Callable[[Settings, Path], Started]
_CELERY = ("celery", "onnxruntime")


@dataclass(frozen=True)
class Host:
    """One process tree, which is one peer or several. `environment`: empty where Fenliu's own will do."""

    names: tuple[str, ...]
    environment: str
    packages: tuple[str, ...]
    start: Start


def _celery(name: str, module: str, pool: str, *, database: int, environment: str = "") -> Start:
    def start(settings: Settings, model: Path) -> Started:
        interpreter = environments.python(environment)
        return celery_peer(
            settings, model, name=name, interpreter=interpreter, module=module, pool=pool, database=database
        )

    return start


HOSTS: Final = (
    Host(("celery-threads",), "", _CELERY, _celery("celery-threads", "one_task", "threads", database=1)),
    Host(("celery-prefork",), "", _CELERY, _celery("celery-prefork", "one_task", "prefork", database=2)),
    Host(
        ("celery-batches",),
        "batches",
        ("celery-batches", "celery", "onnxruntime"),
        _celery("celery-batches", "batches", "threads", database=3, environment="batches"),
    ),
    Host(("infinity-1", "infinity-32"), "infinity", ("infinity-emb", "optimum", "onnxruntime"), infinity_peer),
    Host(("transformers-1", "transformers-32"), "transformers", ("transformers", "torch"), transformers_peer),
)

TERMS: Final = {
    "fenliu": Terms("Fenliu", "`fenliu worker`, nothing remembered"),
    "celery-threads": Terms(
        "Celery, one text a task, threads",
        "one ONNX session of a thread a run, a thread per CPU, prefetch 64; each task commits its row",
    ),
    "celery-prefork": Terms(
        "Celery, one text a task, prefork", "the same with a process per CPU, each with a session of its own"
    ),
    "celery-batches": Terms(
        "celery-batches, 64 texts, threads",
        "texts by 64 in the order of their arrival, a run and a transaction for each; a single text waits 0.1 s, "
        "`flush_interval`, of which the examples in its documentation have 10 s",
        asked=20,
    ),
    "infinity-1": Terms(
        "infinity-emb, one text a request",
        f"`infinity_emb v2 --engine optimum`, `/classify`, {CALLERS} callers; replies, no rows",
    ),
    "infinity-32": Terms(
        "infinity-emb, 32 texts a request",
        f"the same server with {CALLERS_BY_MANY} callers; its memory is that of both",
        asked=0,
    ),
    "transformers-1": Terms(
        "transformers in PyTorch, one text a call",
        '`pipeline("text-classification")` in FP32, in the caller\'s own process; nothing queued, no rows',
        part=0.1,
    ),
    "transformers-32": Terms(
        "transformers in PyTorch, 32 texts a batch",
        "the same process with `batch_size=32`, in the order of their arrival; its memory is that of both",
        part=0.2,
        asked=0,
    ),
}
"""`part` and `asked` keep the whole under four minutes on two cores."""
