"""Which reply is whose, in whatever order replies and answers come."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.mailbox import KEPT_EARLY, Mailbox
from schemas.errors import InboxUnavailableError
from schemas.names import Keys

Reply = Future[Any]


def test_every_mailbox_has_a_stream_of_its_own_where_workers_may_reply() -> None:
    first, second = Mailbox(Keys("shop")), Mailbox(Keys("shop"))
    assert first.stream != second.stream
    assert first.stream.startswith("shop:reply:")


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.data())
def test_everybody_gets_their_own_reply_whichever_comes_first(early: list[bool], data: st.DataObject) -> None:
    # Given entries of which some are answered before their sender knows the entry's id
    mailbox = Mailbox(Keys())
    replies = {f"{number}-0": Reply() for number in range(len(early))}
    order = data.draw(st.permutations(list(zip(replies, early, strict=True))))
    with mailbox.sending():
        mailbox.deliver((entry_id, {"n": entry_id}) for entry_id, is_early in order if is_early)
        for entry_id, reply in replies.items():
            mailbox.expect(entry_id, reply)
    # when the others are answered
    mailbox.deliver((entry_id, {"n": entry_id}) for entry_id, is_early in order if not is_early)
    # then each has its own, and nothing is kept
    assert {entry_id: {"n": entry_id} for entry_id in replies} == {
        entry_id: reply.result(0) for entry_id, reply in replies.items()
    }
    assert 0 == len(mailbox)


def test_late_replies_are_dropped() -> None:
    mailbox, given_up, next_one = Mailbox(Keys()), Reply(), Reply()
    mailbox.expect("1-0", given_up)
    mailbox.forget("1-0")
    mailbox.deliver([("1-0", {}), ("2-0", {})])
    mailbox.expect("2-0", next_one)
    assert (False, False) == (given_up.done(), next_one.done())


def test_early_replies_are_kept_only_while_something_is_sent_and_not_without_end() -> None:
    mailbox = Mailbox(Keys())
    oldest, newest, after = Reply(), Reply(), Reply()
    with ExitStack() as sends:
        sends.enter_context(mailbox.sending())
        with mailbox.sending():
            mailbox.deliver((f"{number}-0", {}) for number in range(KEPT_EARLY + 1))
        mailbox.expect("0-0", oldest)
        mailbox.expect(f"{KEPT_EARLY}-0", newest)
    mailbox.expect("5-0", after)
    assert (False, True, False) == (oldest.done(), newest.done(), after.done())


def test_who_has_gone_is_not_disturbed() -> None:
    mailbox, gone = Mailbox(Keys()), Reply()
    mailbox.expect("1-0", gone)
    gone.cancel()
    mailbox.deliver([("1-0", {})])
    with mailbox.sending():
        mailbox.deliver([("2-0", {})])
        mailbox.expect("2-0", gone)
    mailbox.expect("3-0", gone)
    mailbox.fail(InboxUnavailableError("closed"))
    assert gone.cancelled()


def test_all_who_wait_hear_that_no_reply_will_come() -> None:
    mailbox, waiting = Mailbox(Keys()), Reply()
    mailbox.expect("1-0", waiting)
    mailbox.fail(InboxUnavailableError("closed"))
    with pytest.raises(InboxUnavailableError, match="closed"):
        waiting.result(0)
    assert 0 == len(mailbox)


def test_who_comes_after_the_end_hears_at_once() -> None:
    mailbox, waiting = Mailbox(Keys()), Reply()
    mailbox.close(InboxUnavailableError("closed"))
    mailbox.expect("1-0", waiting)
    with pytest.raises(InboxUnavailableError, match="closed"):
        waiting.result(0)
