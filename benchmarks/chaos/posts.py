"""Items over HTTP, a request at a time, and what the gateway answers when the inbox is full."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from typing import Final

from benchmarks.texts import sample_texts

PAUSE_S: Final = 0.2
ITEMS: Final = 20
_TIMEOUT_S: Final = 60.0


class Posts:
    """Used as a context: posts to the bulk inbox until its end. `accepted`: items that the gateway said are in."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._statuses: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._post, daemon=True)
        self.accepted = 0

    def __enter__(self) -> Posts:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_TIMEOUT_S)

    def statuses(self) -> dict[str, int]:
        """How often each answer came."""
        return dict(self._statuses)

    def wrong(self) -> int:
        """Answers that are neither 202 nor 429 with Retry-After."""
        return sum(number for status, number in self._statuses.items() if status not in ("202", "429, Retry-After"))

    def _post(self) -> None:
        texts, number = sample_texts(), 0
        while not self._stop.wait(PAUSE_S):
            items = [
                {"id": str(number + n), "source": "http", "text": f"{number + n}：{texts[(number + n) % len(texts)]}"}
                for n in range(ITEMS)
            ]
            number += ITEMS
            try:
                self._one(json.dumps(items, ensure_ascii=False).encode())
            except OSError as error:
                self._statuses[type(error).__name__] += 1

    def _one(self, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", "/v1/items?lane=bulk", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = json.loads(answer.read())
            told = ", Retry-After" if answer.getheader("Retry-After") else ""
            self._statuses[f"{answer.status}{told}"] += 1
            if answer.status == http.HTTPStatus.ACCEPTED:
                self.accepted += content["accepted"]
        finally:
            connection.close()
