"""Questions through the inbox, as in production, and what is said to people when no answer comes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import redis

from dashboard.site import Site
from dashboard.trial.ask import Ask, options_of
from dashboard.words import Words
from producers.async_client import AsyncClient
from schemas.errors import (
    Code,
    EntryError,
    ExpiredError,
    FenliuError,
    InboxFullError,
    InboxUnavailableError,
    ReplyTimeoutError,
    RetryableError,
)
from schemas.messages import Reply

FIELDS = ("text", "labels", "template", "model", "file", "form")
"""Where a problem can be shown; `form` is the place for what no field is to blame for."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no result: a message by field, and the status it is answered with."""

    status: int
    problems: dict[str, str]


async def look_for_worker(site: Site, words: Words) -> Trouble | None:
    """Trouble if no worker runs, so that nobody waits for one."""
    pattern = f"{site.settings.keys.worker_prefix}*"

    def found() -> bool:
        return next(iter(site.server.scan_iter(match=pattern, count=1000)), None) is not None

    try:
        runs = await asyncio.to_thread(found)
    except redis.RedisError as error:
        return trouble_of(InboxUnavailableError(str(error)), words)
    if runs:
        return None
    return Trouble(503, {"form": words("No worker is running, so nothing can be classified. Start one: fenliu worker")})


async def ask_one(client: AsyncClient, ask: Ask, timeout_s: float, words: Words) -> Reply | Trouble:
    """The reply to one text, which is stored nowhere."""
    try:
        return await client.classify(ask.text, timeout_s=timeout_s, **options_of(ask))
    except FenliuError as error:
        return trouble_of(error, words, timeout_s)


def trouble_of(error: FenliuError, words: Words, timeout_s: float = 0.0) -> Trouble:
    """An error as people are told it."""
    match error:
        case EntryError():
            return Trouble(422, {error.field if error.field in FIELDS else "form": _refusal(error, words)})
        case InboxFullError():
            return Trouble(429, {"form": words("The inbox is full: workers have too much to do. Try again later.")})
        case ReplyTimeoutError() | ExpiredError():
            message = words("No answer within %(s)s s: workers are busy or stuck.", s=words.number(timeout_s, 1))
            return Trouble(504, {"form": message + " " + words("“fenliu status” shows what they do.")})
        case InboxUnavailableError():
            return Trouble(503, {"form": words("Redis does not answer now. Try again in a moment.")})
        case RetryableError():
            return Trouble(503, {"form": str(error)})
        case _:
            return Trouble(422, {"form": str(error)})


def _refusal(error: EntryError, words: Words) -> str:
    why = str(error).removeprefix(f"{error.field}: ")
    match error.code, error.field:
        case Code.UNKNOWN_MODEL, _:
            return words("This model cannot do it: %(why)s", why=why)
        case Code.EMPTY_FIELD, "text":
            return words("The text is empty.")
        case Code.MODEL_FAILED, _:
            return words("The model failed on this text: %(why)s", why=why)
        case _:
            return why
