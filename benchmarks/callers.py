"""Callers of the REST API in a process of their own, as cheap as can be: bytes out, a status and a length read.

    python -m benchmarks.callers PORT CALLERS SECONDS

Each caller keeps one connection and asks for one text after another. The first seconds are not counted. Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import cast

from benchmarks.texts import distinct_texts

TEXTS = 6_000
WARM_S = 2.0
_LENGTH = b"content-length: "
_END = b"\r\n\r\n"


def requests(texts: Sequence[str]) -> list[bytes]:
    """A whole HTTP request for each text."""
    bodies = [json.dumps({"text": text}, ensure_ascii=False).encode() for text in texts]
    head = b"POST /v1/predict HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: %d"
    return [head % len(body) + _END + body for body in bodies]


def answered(data: bytes) -> bytes | None:
    """The status of a whole answer; None as long as some of it is missing."""
    head = data.find(_END)
    if head < 0:
        return None
    at = data.find(_LENGTH) + len(_LENGTH)
    length = int(data[at : data.index(b"\r\n", at)])
    return data[9:12] if len(data) >= head + len(_END) + length else None


class _Shared:
    """What all callers share: the requests, and the answers that counted."""

    def __init__(self, seconds: float) -> None:
        self.requests = requests(distinct_texts(TEXTS))
        self.next = 0
        self.from_s = time.perf_counter() + WARM_S
        self.to_s = self.from_s + seconds
        self.took_s: list[float] = []
        self.failed = 0


class _Caller(asyncio.Protocol):
    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._got = b""
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._got += data
        status = answered(self._got)
        if status is None:
            return
        self._got = b""
        now_s = time.perf_counter()
        if status != b"200":
            self._shared.failed += 1
        elif self._shared.from_s <= now_s < self._shared.to_s:
            self._shared.took_s.append(now_s - self._sent_s)
        if now_s < self._shared.to_s:
            self._ask()
        else:
            self._transport.close()

    def _ask(self) -> None:
        shared = self._shared
        shared.next = (shared.next + 1) % len(shared.requests)
        self._sent_s = time.perf_counter()
        self._transport.write(shared.requests[shared.next])


async def _call(port: int, callers: int, seconds: float) -> _Shared:
    shared = _Shared(seconds)
    loop = asyncio.get_running_loop()
    for _ in range(callers):
        await loop.create_connection(lambda: _Caller(shared), "127.0.0.1", port)
    await asyncio.sleep(shared.to_s - time.perf_counter() + 1)
    return shared


def main(arguments: Sequence[str]) -> None:
    """Call, then print answers, failures and processor time."""
    import uvloop

    port, callers, seconds = int(arguments[0]), int(arguments[1]), float(arguments[2])
    shared = uvloop.run(_call(port, callers, seconds))
    print(  # noqa: T201 - a command's output
        json.dumps({"took_s": shared.took_s, "failed": shared.failed, "processor_s": time.process_time()})
    )


if __name__ == "__main__":
    main(sys.argv[1:])
