"""infinity-emb as an HTTP server on ONNX Runtime: `infinity_emb v2 --engine optimum`; no warm-up, all else by default.

`/classify` is what runs the same graph: it takes the logits. (`/embeddings` wants the states of every token and pools
them by itself.) Its pipeline runs one text after the other, also those of one request. It writes no rows: a text is
done when its reply is there. Callers keep their connections: 32 of them with one text a request, 4 with 32 texts.
"""

from __future__ import annotations

import http.client
import json
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.environments import HERE
from benchmarks.peers.peer import Peer, Worked
from benchmarks.peers.process import launched, wait_until
from benchmarks.stack import free_port
from schemas.errors import SetupError
from schemas.settings import Settings

CALLERS, TEXTS_OF_A_REQUEST, CALLERS_BY_MANY = 32, 32, 4
MODEL = "fenliu"


@contextmanager
def infinity_peer(settings: Settings, model: Path) -> Iterator[Callable[[], list[Peer]]]:
    """A server in the model's folder (see `environments` for why there); what is yielded waits until it answers."""
    port = free_port()
    log = settings.home / "infinity.log"
    command = [str(HERE / "infinity" / "bin" / "infinity_emb"), "v2", "--model-id", ".", "--served-model-name", MODEL]
    command += [
        "--engine",
        "optimum",
        "--device",
        "cpu",
        "--no-model-warmup",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    variables = {"HF_HOME": str(settings.home / "hub"), "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    with launched(command, log, variables, model) as process:

        def work(callers: int, size: int, texts: Sequence[str]) -> Worked:
            calls = [texts[start : start + size] for start in range(0, len(texts), size)]
            connections: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()
            for _ in range(callers):
                connections.put(http.client.HTTPConnection("127.0.0.1", port, timeout=120))

            def call(part: Sequence[str]) -> list[str]:
                connection = connections.get()
                try:
                    return _classify(connection, part)
                finally:
                    connections.put(connection)

            with ThreadPoolExecutor(callers) as pool:
                started = time.perf_counter()
                answers = list(pool.map(call, calls))
                seconds = time.perf_counter() - started
            while not connections.empty():
                connections.get().close()
            return Worked(seconds, [label for answer in answers for label in answer])

        def ready() -> list[Peer]:
            wait_until(lambda: _is_healthy(port), process, log)
            one = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            return [
                Peer(
                    name,
                    process.pid,
                    lambda texts, c=callers, s=size: work(c, s, texts),  # type: ignore[misc]  # bound by defaults
                    lambda text: _ask(one, text),
                    writes_rows=False,
                )
                for name, callers, size in (
                    ("infinity-1", CALLERS, 1),
                    ("infinity-32", CALLERS_BY_MANY, TEXTS_OF_A_REQUEST),
                )
            ]

        yield ready


def _ask(connection: http.client.HTTPConnection, text: str) -> list[str]:
    """The server ends connections that are idle for 5 s: then with a new one."""
    try:
        return _classify(connection, [text])
    except (ConnectionError, http.client.HTTPException):
        connection.close()
        return _classify(connection, [text])


def _classify(connection: http.client.HTTPConnection, texts: Sequence[str]) -> list[str]:
    body = json.dumps({"model": MODEL, "input": list(texts)}, ensure_ascii=False).encode()
    connection.request("POST", "/classify", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise SetupError(f"infinity answered {answer.status}: {content[:200]!r}")
    return [max(scores, key=lambda score: float(score["score"]))["label"] for scores in json.loads(content)["data"]]


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
