"""What callers are told."""

from __future__ import annotations

import json

from schemas.errors import Code
from schemas.messages import RawEntry, decode
from schemas.names import AssignmentStatus, Keys, Lane, ReplyStatus, Stage, Task
from worker.inference.scores import Vote
from worker.outcome import Assignment, Dead, Done, Expired, Prediction
from worker.reply import replies_for

KEYS = Keys("fenliu")


def _raw(**fields: str) -> RawEntry:
    given = {"id": "7", "source": "shop", "text": "好"} | fields
    return RawEntry(Lane.LIVE, "5-1", {name.encode(): value.encode() for name, value in given.items()})


def test_only_those_who_ask_are_told_in_order() -> None:
    # Given three entries, two of which want a reply
    asked, silent, expired = _raw(reply_to="fenliu:reply:a"), _raw(), _raw(reply_to="fenliu:reply:b")
    prediction = Prediction(
        Task.ROUTING, "m", "1", "物流", 0.9, {"物流": 0.9, "退款": 0.1}, Stage.ENCODER, True, 1.0, 2.0, 3
    )
    outcomes = [
        Done(decode(asked, KEYS), (prediction,), Assignment("物流", AssignmentStatus.AUTO, 0.9)),
        Done(decode(silent, KEYS), ()),
        Expired(decode(expired, KEYS)),
    ]
    # When they are answered
    statuses = [ReplyStatus.OK, ReplyStatus.OK, ReplyStatus.EXPIRED]
    first, second = replies_for([asked, silent, expired], outcomes, statuses, KEYS)
    # Then each reply says whose it is, how it went, and the result
    assert (first.stream, second.stream) == ("fenliu:reply:a", "fenliu:reply:b")
    assert ("5-1", "shop", "7", "ok") == tuple(first.fields[name] for name in ("entry_id", "source", "id", "status"))
    result = json.loads(first.fields["result"])
    assert ("物流", {"物流": 0.9, "退款": 0.1}) == (result["routing"]["label"], result["routing"]["scores"])
    assert {"team": "物流", "status": "auto"} == result["assignment"]
    assert ("expired", {}) == (second.fields["status"], json.loads(second.fields["result"]))


def test_a_long_text_comes_with_what_each_of_its_windows_says() -> None:
    # Given a text that was read in two windows, and one that was not
    raw = _raw(reply_to="fenliu:reply:a")
    votes = (Vote(0, 5, {"好": 0.9, "坏": 0.1}), Vote(3, 8, {"坏": 0.6, "好": 0.4}))
    for given in (votes, ()):
        prediction = Prediction(
            Task.SENTIMENT,
            "m",
            "1",
            "好",
            0.65,
            {"好": 0.65, "坏": 0.35},
            Stage.CLASSIFIER,
            True,
            1.0,
            2.0,
            votes=given,
        )
        # when they are answered
        (reply,) = replies_for([raw], [Done(decode(raw, KEYS), (prediction,))], [ReplyStatus.OK], KEYS)
        # then only the first has windows
        found = json.loads(reply.fields["result"])["sentiment"].get("windows")
        expected = [
            {"start": 0, "end": 5, "scores": {"好": 0.9, "坏": 0.1}},
            {"start": 3, "end": 8, "scores": {"坏": 0.6, "好": 0.4}},
        ]
        assert (expected if given else None) == found


def test_a_dead_entry_is_answered_with_its_code_and_field() -> None:
    raw = _raw(reply_to="fenliu:reply:a", kind="poem")
    dead = Dead(raw, Code.UNKNOWN_KIND, "kind", "kind: is 'poem'", ("shop", "7"))
    (reply,) = replies_for([raw], [dead], [ReplyStatus.DEAD], KEYS)
    expected = {"code": "unknown_kind", "field": "kind", "message": "kind: is 'poem'"}
    assert ("dead", expected) == (reply.fields["status"], json.loads(reply.fields["result"]))


def test_no_reply_goes_to_a_key_outside_the_reply_streams() -> None:
    raw = _raw(reply_to="fenliu:inbox:live")
    dead = Dead(raw, Code.BAD_VALUE, "reply_to", "…", ("shop", "7"))
    assert [] == list(replies_for([raw], [dead], [ReplyStatus.DEAD], KEYS))
