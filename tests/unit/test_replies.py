"""A reply as who asked reads it: the inverse of what a worker writes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.questions import question
from producers.receipts import opened
from schemas.errors import Code, EntryError, ExpiredError, PermanentError
from schemas.messages import TaskResult, decode_reply, encode_reply
from schemas.names import Keys, ReplyStatus

IDS = st.text(min_size=1, max_size=20)
RESULTS = st.dictionaries(st.text(), st.recursive(st.text() | st.floats(allow_nan=False) | st.booleans(), st.lists))


@given(IDS, IDS, st.sampled_from(ReplyStatus), RESULTS)
def test_a_reply_comes_out_as_it_went_in(source: str, id: str, status: ReplyStatus, result: dict[str, Any]) -> None:
    fields = encode_reply("5-1", (source, id), status, result)
    reply = decode_reply(fields)
    assert ("5-1", source, id, status, result) == (
        reply.entry_id, reply.source, reply.id, reply.status, reply.result,
    )  # fmt: skip
    in_bytes = {
        name.encode(): value.encode("utf-8", "surrogatepass") for name, value in fields.items() if value.isprintable()
    }
    if len(in_bytes) == len(fields):
        assert reply == decode_reply(in_bytes)


def test_results_have_names() -> None:
    routing = {
        "label": "物流", "score": 0.9, "scores": {"物流": 0.9, "退款": 0.1}, "model": "m", "model_version": "2",
        "stage": "encoder", "infer_ms": 1.5,
    }  # fmt: skip
    result = {"routing": routing, "assignment": {"team": "物流", "status": "auto"}}
    reply = opened(encode_reply("5-1", ("shop", "7"), ReplyStatus.OK, result))
    assert TaskResult("物流", 0.9, {"物流": 0.9, "退款": 0.1}, "m", "2", "encoder", 1.5) == reply.routing
    assert ("物流", None) == (reply.team, reply.sentiment)
    assert opened(encode_reply("5-1", ("shop", "7"), ReplyStatus.SUPERSEDED, {})).team is None


def dead(**result: str) -> dict[str, str]:
    return encode_reply("5-1", ("shop", "7"), ReplyStatus.DEAD, result)


def test_what_went_wrong_is_raised() -> None:
    with pytest.raises(EntryError, match=r"^route_set: is 'x'$") as caught:
        opened(dead(code="unknown_route_set", field="route_set", message="route_set: is 'x'"))
    assert (Code.UNKNOWN_ROUTE_SET, "route_set") == (caught.value.code, caught.value.field)
    with pytest.raises(PermanentError, match="too_blue: text: is too blue"):
        opened(dead(code="too_blue", field="text", message="is too blue"))
    with pytest.raises(ExpiredError):
        opened(encode_reply("5-1", ("shop", "7"), ReplyStatus.EXPIRED, {}))


@pytest.mark.parametrize(
    "changed", [{"result": "["}, {"result": "[]"}, {"status": "asleep"}, {"id": None}, {"result": "[" * 100_000}]
)
def test_what_is_no_reply_says_so(changed: dict[str, str | None]) -> None:
    fields = encode_reply("5-1", ("shop", "7"), ReplyStatus.OK, {}) | changed
    with pytest.raises(PermanentError, match="a reply that cannot be read"):
        decode_reply({name: value for name, value in fields.items() if value is not None})


def test_a_question_is_not_stored_and_ends_with_its_asker() -> None:
    fields, disposable = question("好", {"source": "shop"}, stream="fenliu:reply:a", timeout_s=5, keys=Keys())
    assert disposable
    assert ("好", "shop", "no", "fenliu:reply:a") == tuple(
        fields[name] for name in ("text", "source", "store", "reply_to")
    )
    assert {"id", "deadline"} <= fields.keys()


def test_a_question_that_is_stored_has_the_deadline_it_is_given() -> None:
    stored = question({"id": 7, "text": "好"}, {"store": True}, stream="fenliu:reply:a", timeout_s=5, keys=Keys())
    assert ({"id": "7", "text": "好", "store": "yes", "reply_to": "fenliu:reply:a"}, False) == stored
    # what an item says goes before what is said for all
    own = question({"text": "好", "store": "no"}, {"store": True}, stream="fenliu:reply:a", timeout_s=5, keys=Keys())
    assert own.disposable


@pytest.mark.parametrize(("item", "field"), [("", "text"), ({"text": "x", "reply_to": "fenliu:reply:b"}, "reply_to")])
def test_a_wrong_question_is_refused_before_it_is_asked(item: str | dict[str, object], field: str) -> None:
    with pytest.raises(EntryError) as caught:
        question(item, {}, stream="fenliu:reply:a", timeout_s=5, keys=Keys())
    assert field == caught.value.field
