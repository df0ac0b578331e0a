"""The client for asyncio on a fake Redis: what is sent together, what stops on the way, what Redis says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

import fakeredis
import pytest
import redis
from redis.exceptions import NoPermissionError, OutOfMemoryError

from producers.chunks import CHUNK_ENTRIES
from producers.client import AsyncClient, Item, Summary
from schemas.errors import Code, EntryError, FenliuError, InboxFullError, InboxUnavailableError, SetupError
from schemas.names import Keys, Lane

LIVE, BULK = Keys().inbox(Lane.LIVE), Keys().inbox(Lane.BULK)


class Watched(fakeredis.FakeAsyncRedis):
    """Counts the commands of each pipeline; the answers to the first XADDs of the next ones can be given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[int] = []
        self.moods: list[list[Exception]] = []

    def pipeline(self, *args: Any, **options: Any) -> Any:
        pipeline = super().pipeline(*args, **options)
        execute = pipeline.execute

        async def answer(**how: Any) -> list[object]:
            names = [command[0][0] for command in pipeline.command_stack]
            if "XREAD" in names:
                return await execute(**how)
            self.sent.append(names.count("XADD"))
            mood = self.moods.pop(0) if self.moods else []
            if any(isinstance(error, redis.ConnectionError) for error in mood):
                raise mood[0]
            del pipeline.command_stack[: len(mood)]  # commands that fail have not been carried out
            return [*mood, *await execute(**how)]

        pipeline.execute = answer
        return pipeline


@pytest.fixture
def server() -> Watched:
    return Watched()


def test_a_client_that_is_closed_starts_nothing_again(server: Watched) -> None:
    async def story() -> None:
        client = AsyncClient(server)
        await client.aclose()
        with pytest.raises(InboxUnavailableError, match="closed"):
            await client.classify("好")
        assert 1 == len(asyncio.all_tasks())

    asyncio.run(story())


def test_whoever_waits_for_room_hears_that_the_client_is_closed(server: Watched) -> None:
    async def story() -> None:
        client = AsyncClient(server, inbox_bound=1)
        await client.enqueue("1", "好")
        waiting = asyncio.create_task(client.enqueue("2", "好", wait_s=None))
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(InboxUnavailableError, match="closed"):
            await waiting

    run(story())


def test_a_second_event_loop_is_refused_with_the_reason(server: Watched) -> None:
    client = AsyncClient(server)

    async def ask() -> None:
        await client.enqueue("1", "好")

    asyncio.run(ask())
    for call in (lambda: client.enqueue("1", "好"), lambda: client.classify("好")):
        with pytest.raises(SetupError, match="another event loop"):
            asyncio.run(call())  # type: ignore[no-untyped-call]  # a lambda


def run(story: Coroutine[Any, Any, None]) -> None:
    """One event loop for the story; one that hangs fails."""

    async def limited() -> None:
        async with asyncio.timeout(30):
            await story

    asyncio.run(limited())


async def ids(server: Watched, stream: str = LIVE) -> list[str]:
    return [fields[b"id"].decode() for _, fields in await server.xrange(stream)]


def test_what_is_said_at_the_same_moment_travels_together(server: Watched) -> None:
    async def story() -> None:
        client = AsyncClient(server)
        entry_ids = await asyncio.gather(*(client.enqueue(str(number), "x") for number in range(100)))
        # The first call of all asks for the inbox's length, the rest needs one round trip.
        assert [0, 100] == server.sent
        by_id = {entry_id.decode(): fields[b"id"].decode() for entry_id, fields in await server.xrange(LIVE)}
        assert [str(number) for number in range(100)] == [by_id[entry_id] for entry_id in entry_ids]

    run(story())


def test_what_a_worker_would_refuse_is_not_sent(server: Watched) -> None:
    async def story() -> None:
        client = AsyncClient(server)
        with pytest.raises(EntryError, match="text: is empty"):
            await client.enqueue("1", "")
        summary = await client.enqueue_many([Item("1", "a"), {"id": "2"}, {"id": "3", "text": "c"}])
        assert (2, [(1, Code.MISSING_FIELD)]) == (
            summary.enqueued, [(each.position, each.error.code) for each in summary.refusals],
        )  # fmt: skip
        assert ["1", "3"] == await ids(server)
        assert Summary(0, 0, ()) == await client.enqueue_many([])

    run(story())


def test_an_endless_source_is_read_no_further_than_needed(server: Watched) -> None:
    read = 0

    async def endless() -> AsyncIterator[Item]:
        nonlocal read
        for read in itertools.count(1):
            yield Item(str(read), "x")

    async def story() -> None:
        taken = 0
        receipts = AsyncClient(server).enqueue_each(endless(), lane=Lane.BULK)
        async for receipt in receipts:
            taken += 1
            assert receipt.entry_id is not None
            if taken > CHUNK_ENTRIES:
                break
        await receipts.aclose()  # type: ignore[attr-defined]
        assert 2 * CHUNK_ENTRIES == await server.xlen(BULK)
        assert read <= 3 * CHUNK_ENTRIES + 2

    run(story())


def test_items_do_not_wait_for_a_source_that_pauses(server: Watched) -> None:
    async def story() -> None:
        sent = asyncio.Event()

        async def pausing() -> AsyncIterator[Mapping[str, object]]:
            yield {"id": "1", "text": "x"}
            await sent.wait()
            yield {"id": "2", "text": "x"}

        # The second item only comes when the first has had its receipt.
        seen = []
        async for receipt in AsyncClient(server).enqueue_each(pausing()):
            sent.set()
            seen.append(receipt.entry_id)
        assert 2 == len(seen)

    run(story())


def test_a_source_that_fails_loses_nothing_that_came_before(server: Watched) -> None:
    async def failing() -> AsyncIterator[Mapping[str, object]]:
        yield {"id": "1", "text": "x"}
        raise OSError("the file has gone")

    async def story() -> None:
        with pytest.raises(OSError, match="the file has gone"):
            await AsyncClient(server).enqueue_many(failing())
        assert ["1"] == await ids(server)

    run(story())


def test_many_who_come_at_once_do_not_pass_the_bound(server: Watched) -> None:
    async def story() -> None:
        client = AsyncClient(server, inbox_bound=10)
        told = await asyncio.gather(*(client.enqueue(str(n), "x") for n in range(30)), return_exceptions=True)
        assert 10 == await server.xlen(LIVE) == sum(isinstance(each, str) for each in told)
        assert {InboxFullError} == {type(each) for each in told if not isinstance(each, str)}
        # The other inbox has room, and this one as soon as a worker has taken something.
        await client.enqueue("31", "x", lane=Lane.BULK)
        await server.xtrim(LIVE, maxlen=9, approximate=False)
        await client.enqueue("32", "x")

    run(story())


def test_waiting_goes_on_as_there_is_room(server: Watched) -> None:
    async def story() -> None:
        client = AsyncClient(server, inbox_bound=2)
        sending = asyncio.create_task(client.enqueue_many([Item(str(n), "x") for n in range(5)], wait_s=None))
        taken: list[str] = []
        while len(taken) < 5:
            for entry_id, fields in await server.xrange(LIVE):
                await server.xdel(LIVE, entry_id)
                taken.append(fields[b"id"].decode())
            await asyncio.sleep(0)
        assert 5 == (await sending).enqueued
        assert ["0", "1", "2", "3", "4"] == taken

    run(story())


def test_entries_that_redis_did_not_take_are_sent_again_and_no_others(server: Watched) -> None:
    async def story() -> None:
        client = AsyncClient(server)
        await client.enqueue("first", "x")
        server.moods = [[OutOfMemoryError("used memory > 'maxmemory'")] * 2, [redis.ConnectionError("gone")]]
        receipts = [each async for each in client.enqueue_each([Item(str(n), "x") for n in range(4)], wait_s=None)]
        assert ["first", "2", "3", "0", "1"] == await ids(server)
        by_id = {entry_id.decode(): fields[b"id"].decode() for entry_id, fields in await server.xrange(LIVE)}
        assert ["0", "1", "2", "3"] == [by_id[receipt.entry_id or ""] for receipt in receipts]

    run(story())


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        (redis.ConnectionError("gone"), InboxUnavailableError),
        (OutOfMemoryError("used memory > 'maxmemory'"), InboxUnavailableError),
        (NoPermissionError("this user has no permissions"), SetupError),
    ],
)
def test_what_redis_says_becomes_one_of_our_errors(server: Watched, said: Exception, raised: type[FenliuError]) -> None:
    async def story() -> None:
        async with AsyncClient(server) as client:
            await client.enqueue("1", "x")
            server.moods = [[said], [said]]
            with pytest.raises(raised):
                await client.enqueue("2", "x")
            # After a lost connection the length is asked for first; that fails, too.
            with pytest.raises(raised):
                await client.classify("2")
            server.moods = []
            await client.enqueue("3", "x")
            assert ["1", "3"] == await ids(server)

    run(story())


def test_who_leaves_before_the_pipeline_does_costs_nothing(server: Watched) -> None:
    async def story() -> None:
        async with AsyncClient(server) as client:
            await client.enqueue("1", "x")
            asking = asyncio.create_task(client.classify("x"))
            await asyncio.sleep(0)  # it has had its turn, and the pipeline has not left
            asking.cancel()
            await asyncio.wait([asking])
            await client.enqueue("2", "x")
            assert ["1", "2"] == await ids(server)
            assert [0, 1, 1] == server.sent

    run(story())


def test_a_closed_client_says_so(server: Watched) -> None:
    async def story() -> None:
        client = AsyncClient(server)
        waiting = asyncio.create_task(client.classify("x", wait_s=None))
        while not await server.xlen(LIVE):
            await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(InboxUnavailableError, match="closed"):
            await waiting
        with pytest.raises(InboxUnavailableError, match="closed"):
            await client.enqueue("1", "x")

    run(story())


def test_a_wrong_url_says_so() -> None:
    with pytest.raises(SetupError, match="Redis URL is wrong"):
        AsyncClient("http://localhost")
