"""Waiting for results on a real Redis, with somebody who answers as a worker does: both clients."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from producers.asking import Replies
from producers.client import AsyncClient, Client, Item, Reply
from schemas.errors import (
    Code,
    EntryError,
    ExpiredError,
    FenliuError,
    InboxFullError,
    InboxUnavailableError,
    ReplyTimeoutError,
)
from schemas.messages import RawEntry, decode, encode_reply
from schemas.names import Lane, ReplyStatus
from schemas.settings import Settings
from worker import processes
from worker.inbox import Inbox, connect
from worker.inbox import Reply as Answer
from worker.servers import RedisServer, make_sockets_folder, remove_sockets_folder

RESULTS: dict[str, tuple[ReplyStatus, dict[str, object]]] = {
    "expired": (ReplyStatus.EXPIRED, {}),
    "dead": (ReplyStatus.DEAD, {"code": "unknown_model", "field": "model", "message": "model: there is no x"}),
}


class Answerer:
    """Reads the live inbox and answers: a text's reply echoes it. Texts with "silence" get none."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.seen: list[str] = []
        self._inbox = Inbox(connect(settings, read_block_s=1), settings.keys, "answerer")
        self._inbox.ensure_groups()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                entries = [entry for entry in self._inbox.wait(256, 0.05) if self._note(entry)]
                if entries:
                    self._inbox.settle(entries, [self._answer(entry) for entry in entries], self.settings)
            except InboxUnavailableError:
                self._stopping.wait(0.02)

    def _note(self, raw: RawEntry) -> bool:
        text = raw.fields[b"text"].decode()
        self.seen.append(text)
        return "silence" not in text

    def _answer(self, raw: RawEntry) -> Answer:
        entry = decode(raw, self.settings.keys)
        status, result = RESULTS.get(entry.text, (ReplyStatus.OK, {"echo": entry.text}))
        return Answer(entry.reply_to or "", encode_reply(raw.entry_id, (entry.source, entry.id), status, result))


@pytest.fixture
def answerer(settings: Settings) -> Iterator[Answerer]:
    answerer = Answerer(settings)
    yield answerer
    answerer.stop()


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(limited())


def echoes(replies: list[Reply | FenliuError]) -> list[object]:
    """What was echoed, or the type of the error."""
    return [reply.result["echo"] if isinstance(reply, Reply) else type(reply) for reply in replies]


def reply_streams(client: redis.Redis, settings: Settings) -> list[int]:
    """The length of every reply stream there is."""
    return [client.xlen(key) for key in client.scan_iter(f"{settings.keys.reply_prefix}*")]


MIXED = ["好", "", "expired", "dead", Item("7", "坏"), {"id": "8", "text": "行", "source": "shop"}]
MIXED_ANSWERS = ["好", EntryError, ExpiredError, EntryError, "坏", "行"]


def test_threads_get_their_answers(answerer: Answerer, redis_client: redis.Redis, settings: Settings) -> None:
    with Client.from_settings(settings) as client:
        reply = client.classify("好", id="42", source="shop")
        assert ("42", "shop", {"echo": "好"}) == (reply.id, reply.source, reply.result)
        with pytest.raises(EntryError, match="model: there is no x") as caught:
            client.classify("dead")
        assert Code.UNKNOWN_MODEL is caught.value.code
        assert MIXED_ANSWERS == echoes(client.classify_many(MIXED))
        # Threads share the client and its stream.
        texts = [f"text {number}" for number in range(1200)]
        answers: dict[int, list[object]] = {}

        def ask(place: int) -> None:
            answers[place] = echoes(client.classify_many(texts[place::4]))

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {place: texts[place::4] for place in range(4)} == answers
    assert (0, []) == (redis_client.xlen(settings.keys.inbox(Lane.LIVE)), reply_streams(redis_client, settings))


def test_tasks_get_their_answers(answerer: Answerer, redis_client: redis.Redis, settings: Settings) -> None:
    async def story() -> None:
        async with AsyncClient.from_settings(settings) as client:
            reply = await client.classify("好", id="42", source="shop")
            assert ("42", "shop", {"echo": "好"}) == (reply.id, reply.source, reply.result)
            with pytest.raises(ExpiredError):
                await client.classify("expired")
            assert MIXED_ANSWERS == echoes(await client.classify_many(MIXED))
            texts = [f"text {number}" for number in range(200)]
            for _ in range(5):
                replies = await asyncio.gather(*(client.classify(text) for text in texts))
                assert texts == echoes(list(replies))
            many = [f"text {number}" for number in range(1200)]
            assert many == echoes(await client.classify_many(many))
            assert max(reply_streams(redis_client, settings)) <= 1200  # it is trimmed as it is read

    run(story)
    assert (0, []) == (redis_client.xlen(settings.keys.inbox(Lane.LIVE)), reply_streams(redis_client, settings))


def test_a_client_may_bring_a_server_that_decodes(answerer: Answerer, settings: Settings) -> None:
    async def story() -> None:
        server = redis.asyncio.Redis.from_url(settings.redis_url, decode_responses=True, protocol=2)
        async with server, AsyncClient(server, prefix=settings.prefix) as client:
            assert "好" == (await client.classify("好")).result["echo"]

    run(story)
    with (
        redis.Redis.from_url(settings.redis_url, decode_responses=True, protocol=2) as server,
        Client(server, prefix=settings.prefix) as client,
    ):
        assert "好" == client.classify("好").result["echo"]


def test_a_text_that_nobody_waits_for_leaves_the_inbox(
    answerer: Answerer, redis_client: redis.Redis, settings: Settings
) -> None:
    inbox = settings.keys.inbox(Lane.LIVE)

    async def story() -> None:
        async with AsyncClient.from_settings(settings) as client:
            # Given somebody who waits, and somebody whose item is to be stored
            leaving = asyncio.create_task(client.classify("silence, please"))
            stored = asyncio.create_task(client.classify("silence, and keep it", store=True))
            while len(answerer.seen) != 2:
                await asyncio.sleep(0.01)
            # when they go, or give up
            for task in (leaving, stored):
                task.cancel()
            with pytest.raises(ReplyTimeoutError, match=r"no reply within 0\.2 s"):
                await client.classify("silence", timeout_s=0.2)

    run(story)
    with Client.from_settings(settings) as client:
        assert [ReplyTimeoutError] == echoes(client.classify_many(["silence again"], timeout_s=0.2))
    # then only what is to be stored is still there
    assert [b"silence, and keep it"] == [fields[b"text"] for _, fields in redis_client.xrange(inbox)]


def test_a_full_inbox_refuses_those_for_whom_there_is_no_room(redis_client: redis.Redis, settings: Settings) -> None:
    inbox = settings.keys.inbox(Lane.LIVE)

    async def story() -> None:
        async with AsyncClient(settings.redis_url, prefix=settings.prefix, inbox_bound=3) as client:
            # Given three who wait, which is all there is room for
            waiting = [asyncio.create_task(client.classify(f"silence {number}")) for number in range(3)]
            while redis_client.xlen(inbox) < 3:
                await asyncio.sleep(0.01)
            # when more come, then they are refused
            assert [InboxFullError] * 2 == echoes(await client.classify_many(["silence"] * 2))
            with Client(settings.redis_url, prefix=settings.prefix, inbox_bound=3) as other:
                assert [InboxFullError] * 2 == echoes(other.classify_many(["silence"] * 2))
            # and what was asked leaves with who asked, whether they go or the client does
            waiting[0].cancel()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [asyncio.CancelledError] + [InboxUnavailableError] * 2 == [type(each) for each in told]

    run(story)
    assert 0 == redis_client.xlen(inbox)


def test_threads_hear_when_the_client_is_closed(redis_client: redis.Redis, settings: Settings) -> None:
    inbox = settings.keys.inbox(Lane.LIVE)
    told: list[object] = []
    with Client.from_settings(settings) as client:
        waiting = threading.Thread(target=lambda: told.extend(echoes(client.classify_many(["silence"]))))
        waiting.start()
        while redis_client.xlen(inbox) < 1:
            pass
    waiting.join()
    assert ([InboxUnavailableError], 0) == (told, redis_client.xlen(inbox))


def test_a_reader_whose_connection_or_stream_is_lost_goes_on(
    answerer: Answerer, redis_client: redis.Redis, settings: Settings
) -> None:
    def lose() -> None:
        for each in redis_client.client_list():
            if each["cmd"] == "xread":
                redis_client.client_kill_filter(_id=each["id"])
        for key in redis_client.scan_iter(f"{settings.keys.reply_prefix}*"):
            redis_client.delete(key)

    async def story() -> None:
        async with AsyncClient.from_settings(settings) as client:
            for text in ("before", "after"):
                assert text == (await client.classify(text)).result["echo"]
                await asyncio.to_thread(lose)

    run(story)
    with Client.from_settings(settings) as client:
        for text in ("before", "after"):
            assert text == client.classify(text).result["echo"]
            lose()


def test_a_restart_of_redis_is_survived() -> None:
    with tempfile.TemporaryDirectory(prefix="fl-") as name:
        home = Path(name).resolve()
        (home / "run").mkdir()
        sockets = make_sockets_folder(home)
        server = RedisServer(home, sockets)

        def start() -> Any:
            process = server.launch()
            processes.wait_for(server, process)
            return process

        process = start()
        settings = Settings(home=home, redis_url=server.url)
        answerer = Answerer(settings)

        async def story() -> None:
            nonlocal process
            async with AsyncClient.from_settings(settings) as client:
                assert "one" == (await client.classify("one")).result["echo"]
                process.kill()
                process.wait()
                with pytest.raises(InboxUnavailableError):
                    await client.classify("nobody there")
                waiting = asyncio.create_task(client.classify("two", wait_s=30))
                process = await asyncio.to_thread(start)
                assert "two" == (await waiting).result["echo"]

        try:
            run(story)
        finally:
            answerer.stop()
            process.kill()
            process.wait()
            remove_sockets_folder(home, str(sockets))


def test_a_forked_process_gets_a_stream_of_its_own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with redis.Redis.from_url(settings.redis_url) as server:
        replies = Replies(server, settings.keys)
        here, thread = replies.mailbox(), replies._thread
        assert here is replies.mailbox()
        assert thread is not None
        pid = os.getpid()
        monkeypatch.setattr("producers.asking.os.getpid", lambda: pid + 1)
        assert here.stream != replies.mailbox().stream
        replies.close()
        thread.stop()
