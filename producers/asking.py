"""Waiting for replies with threads: the reply stream of a client and the thread that reads it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import redis

from producers.mailbox import Mailbox
from producers.questions import Question
from producers.readers import ReplyThread
from producers.receipts import no_reply, opened
from schemas.errors import FenliuError, InboxUnavailableError
from schemas.messages import Reply
from schemas.names import Keys


@dataclass(slots=True, eq=False)
class Asked:
    """A question, what has become of it, and the monotonic time until which its reply is waited for."""

    question: Question | None
    until_s: float
    error: FenliuError | None = None
    entry_id: str | None = None
    future: concurrent.futures.Future[Any] = field(default_factory=concurrent.futures.Future)

    @property
    def is_answered(self) -> bool:
        """Whether its reply has come."""
        return self.future.done() and self.future.exception() is None

    def answer(self, timeout_s: float) -> Reply | FenliuError:
        """The reply, or why there is none. Waits until the time is up."""
        if self.error is not None:
            return self.error
        try:
            return opened(self.future.result(max(0.0, self.until_s - time.monotonic())))
        except TimeoutError:
            return no_reply(timeout_s)
        except FenliuError as error:
            return error


class Replies:
    """The mailbox of one process, and its thread, started when first asked for. A fork gets a mailbox of its own."""

    def __init__(self, server: redis.Redis, keys: Keys) -> None:
        self._server = server
        self._keys = keys
        self._lock = threading.Lock()
        self._pid = 0
        self._mailbox = Mailbox(keys)
        self._thread: ReplyThread | None = None

    def mailbox(self) -> Mailbox:
        """Where replies of this process arrive."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._mailbox = Mailbox(self._keys)
                    self._thread = ReplyThread(self._server, self._mailbox)
                    self._pid = os.getpid()
        return self._mailbox

    def close(self) -> None:
        """End the thread, and let those who wait know."""
        with self._lock:
            if self._thread is not None and self._pid == os.getpid():
                self._mailbox.close(InboxUnavailableError("the client was closed"))
                self._thread.stop()
                with contextlib.suppress(redis.RedisError):
                    self._server.delete(self._mailbox.stream)
            self._thread, self._pid = None, 0
