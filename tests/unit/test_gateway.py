"""The REST API's answers: results in order, every error as a problem document, bodies within bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from producers.gateway.problems import TYPE_PREFIX
from producers.receipts import Receipt
from schemas.errors import (
    Code,
    DatabaseUnavailableError,
    EntryError,
    ExpiredError,
    FenliuError,
    InboxFullError,
    InboxUnavailableError,
    ReplyTimeoutError,
    SetupError,
)
from schemas.names import Lane, Task
from tests.gateways import JSON, FakeClient, ask, make_app, problem_in


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


def failing(error: Exception) -> Any:
    def answer(_: object) -> Any:
        raise error

    return answer


# --- predictions -----------------------------------------------------------------------------------------------------


def test_one_text_gives_one_result(client: FakeClient) -> None:
    answer = ask(make_app(client), "POST", "/v1/predict", json={"text": "好"})
    assert 200 == answer.status_code
    assert {
        "results": [
            {
                "label": "好", "score": 0.98765, "scores": {"好": 0.98765, "rest": 0.01235},
                "model": "m", "model_version": "1", "stage": "classifier",
            }
        ]
    } == answer.json()  # fmt: skip


def test_results_stand_in_the_order_of_the_texts_and_one_failure_costs_no_other(client: FakeClient) -> None:
    # Given texts of which one breaks a rule and one gets no reply in time
    wrong: dict[str, FenliuError] = {
        "b": EntryError(Code.EMPTY_FIELD, "text", "is empty"),
        "d": ReplyTimeoutError("no reply in 30 s"),
    }

    def answer(text: str) -> None:
        if text in wrong:
            raise wrong[text]

    client.answer = answer
    # When they are asked about at once
    results = ask(make_app(client), "POST", "/v1/predict", json={"texts": ["a", "b", "c", "d"]}).json()["results"]
    # Then each has its own result or its own error
    assert ["a", None, "c", None] == [result.get("label") for result in results]
    assert {
        "type": TYPE_PREFIX + "invalid-request", "detail": "text: is empty", "code": "empty_field", "field": "text",
    } == results[1]["error"]  # fmt: skip
    assert {"type": TYPE_PREFIX + "no-reply-in-time", "detail": "no reply in 30 s"} == results[3]["error"]


def test_when_no_text_can_be_classified_the_answer_is_a_problem(client: FakeClient) -> None:
    client.answer = failing(EntryError(Code.UNKNOWN_MODEL, "model", "there is none"))
    problem = problem_in(ask(make_app(client), "POST", "/v1/predict", json={"texts": ["a", "b"], "model": "x"}))
    assert (422, "model: there is none") == (problem.status, problem.detail)
    assert [("model", "unknown_model")] == [(error.field, error.code) for error in problem.errors or []]


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ({}, {}),
        ({"task": "sentiment"}, {}),
        ({"task": "routing"}, {"tasks": [Task.ROUTING]}),
        ({"labels": ["a", "b"]}, {"tasks": [Task.ROUTING], "labels": ["a", "b"]}),
        (
            {"task": "routing", "labels": {"a": "x", "b": {"examples": ["y"]}}, "multi_label": True, "template": "{}"},
            {
                "tasks": [Task.ROUTING], "labels": {"a": "x", "b": {"examples": ["y"]}}, "multi_label": True,
                "template": "{}",
            },
        ),
        ({"task": "routing", "route_set": "night"}, {"tasks": [Task.ROUTING], "route_set": "night"}),
        ({"model": "base/2"}, {"model": "base/2"}),
    ],
)  # fmt: skip
def test_what_is_asked_reaches_the_inbox(client: FakeClient, asked: dict[str, Any], options: dict[str, Any]) -> None:
    assert 200 == ask(make_app(client), "POST", "/v1/predict", json={"text": "好"} | asked).status_code
    assert [("好", {"source": "http"} | options)] == client.asked


@pytest.mark.parametrize(
    ("body", "status", "field", "said"),
    [
        ('{"text": "a", "texts": ["b"]}', 422, "body", 'give either "text" or "texts"'),
        ('{"text": "a", "texts": null}', 422, "body", 'give either "text" or "texts"'),
        ("{}", 422, "body", 'give either "text" or "texts"'),
        ("[]", 422, "body", "must be an object"),
        ('{"text": 1}', 422, "text", "must be text"),
        ('{"texts": ["a", 2]}', 422, "texts.1", "must be text"),
        ('{"texts": "a"}', 422, "texts", "must be a list"),
        ('{"texts": []}', 422, "texts", "give at least one"),
        ('{"texts": ["a", "b", "c", "d"]}', 422, "texts", "has 4 entries; at most 3"),
        ('{"text": "a", "task": "poetry"}', 422, "task", "'sentiment' or 'routing'"),
        ('{"text": "a", "colour": 1}', 422, "colour", "is not known; leave it out"),
        ('{"text": "a", "labels": "a,b"}', 422, "labels", "must be a list of names or an object"),
        ('{"text": "a", "task": "sentiment", "labels": ["a"]}', 422, "labels", "is for routing"),
        ('{"text": "a", "template": "{}"}', 422, "template", 'say "task": "routing"'),
        ('{"text": "a", "multi_label": 1}', 422, "multi_label", "must be true or false"),
        ('{"text": "a"', 400, None, "JSON"),
        ('{"text": "\\ud800"}', 422, "text", "half of a surrogate pair"),
        ("", 400, None, "JSON"),
        ("\xff", 400, None, "JSON"),
    ],
)
def test_what_breaks_a_rule_is_named_with_its_fix(
    client: FakeClient, body: str, status: int, field: str | None, said: str
) -> None:
    answer = ask(make_app(client, http_texts=3), "POST", "/v1/predict", content=body.encode("latin-1"), headers=JSON)
    problem = problem_in(answer)
    assert status == problem.status
    assert said in problem.detail
    assert [field] == [error.field for error in problem.errors or []] if field else problem.errors is None
    assert [] == client.asked


def test_many_labels_times_many_texts_are_refused(client: FakeClient) -> None:
    asked = {"texts": ["a"] * 100, "labels": {"a": "x" * 1000}}
    problem = problem_in(ask(make_app(client, http_body_bytes=50_000), "POST", "/v1/predict", json=asked))
    assert (422, "labels") == (problem.status, (problem.errors or [])[0].field)


@pytest.mark.parametrize(
    ("error", "status", "kind", "retry"),
    [
        (EntryError(Code.TOO_LONG, "text", "is long"), 422, "invalid-request", False),
        (InboxFullError("the live inbox holds 9 entries"), 429, "inbox-full", True),
        (InboxUnavailableError("redis://:secret@host"), 503, "inbox-unavailable", True),
        (DatabaseUnavailableError("host=secret"), 503, "database-unavailable", True),
        (SetupError("WRONGPASS secret"), 503, "unavailable", True),
        (ReplyTimeoutError("no reply in 30 s"), 504, "no-reply-in-time", False),
        (ExpiredError("the deadline passed"), 504, "no-reply-in-time", False),
        (RuntimeError("secret"), 500, "internal-error", False),
    ],
)
def test_every_failure_is_a_problem_of_its_own_type(
    client: FakeClient, error: Exception, status: int, kind: str, retry: bool
) -> None:
    client.answer = failing(error)
    answer = ask(make_app(client), "POST", "/v1/predict", json={"text": "a"})
    problem = problem_in(answer)
    assert (status, TYPE_PREFIX + kind) == (problem.status, problem.type)
    assert retry == (int(answer.headers.get("retry-after", "0")) > 0)
    assert "secret" not in answer.text


def test_unknown_paths_and_methods_are_problems_too(client: FakeClient) -> None:
    app = make_app(client)
    assert TYPE_PREFIX + "not-found" == problem_in(ask(app, "GET", "/v2/predict")).type
    answer = ask(app, "DELETE", "/v1/predict")
    assert (TYPE_PREFIX + "method-not-allowed", "POST") == (problem_in(answer).type, answer.headers["allow"])


# --- the older form --------------------------------------------------------------------------------------------------


def test_older_clients_get_label_emoji_and_rounded_score(client: FakeClient) -> None:
    app = make_app(client)
    happy = ask(app, "POST", "/predict", json={"text": "positive"})
    assert {"text": "positive", "label": "positive", "emoji": "😄", "score": 0.9877} == happy.json()
    assert "😠" == ask(app, "POST", "/predict", json={"text": "negative", "more": 1}).json()["emoji"]


@pytest.mark.parametrize("body", ["", "x", "[]", "{}", '{"text": null}', '{"text": 5}', '{"text": " \\u3000\\n"}'])
def test_older_clients_without_a_text_get_400(client: FakeClient, body: str) -> None:
    answer = ask(make_app(client), "POST", "/predict", content=body)
    assert (400, {"error": "缺少文本输入"}) == (answer.status_code, answer.json())


# --- items -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [{"id": "1", "text": "a"}, [{"id": "1", "text": "a"}], {"items": [{"id": "1", "text": "a"}]}]
)
def test_one_item_or_many_are_taken(client: FakeClient, body: object) -> None:
    answer = ask(make_app(client), "POST", "/v1/items?lane=bulk", json=body)
    assert (202, {"accepted": 1, "refused": 0, "items": [{"position": 0, "entry_id": "1-0"}]}) == (
        answer.status_code, answer.json(),
    )  # fmt: skip
    assert [({"id": "1", "text": "a"}, Lane.BULK)] == client.enqueued


def test_items_are_refused_by_themselves(client: FakeClient) -> None:
    # Given an inbox that refuses item 2 and takes three entries
    def receive(item: Any) -> Receipt:
        if len(client.enqueued) == 3:
            raise InboxFullError("the live inbox holds 3 entries")
        refused = EntryError(Code.BAD_TIME, "created_at", "is 'x'") if item["id"] == "2" else None
        return Receipt(item, None if refused else "7-0", refused)

    client.receive = receive
    # When five are sent, one of which is no object
    items = [{"id": "1"}, "no object", {"id": "2"}, {"id": "3"}, {"id": "4"}]
    answer = ask(make_app(client), "POST", "/v1/items", json=items)
    # Then each says for itself what became of it
    assert (202, 2, 3) == (answer.status_code, answer.json()["accepted"], answer.json()["refused"])
    found = answer.json()["items"]
    assert list(range(5)) == [item["position"] for item in found]
    assert ["7-0", None, None, "7-0", None] == [item.get("entry_id") for item in found]
    assert ("bad_time", "created_at") == (found[2]["error"]["code"], found[2]["error"]["field"])
    assert [TYPE_PREFIX + "invalid-request", TYPE_PREFIX + "inbox-full"] == [
        found[place]["error"]["type"] for place in (1, 4)
    ]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"text": "a"}, ["id"]),
        ([{"text": "a"}, 5], ["items.0.id", "items.1.item"]),
        ({"items": 5}, ["items"]),
        ({"items": []}, ["items"]),
        ([], ["items"]),
        ("x", ["items"]),
        ({"items": [{"id": "1", "text": "a"}], "source": "shop"}, ["source"]),
        ([{"id": "1", "text": "a"}] * 4, ["items"]),
    ],
)
def test_when_every_item_is_wrong_the_answer_is_422(client: FakeClient, body: object, fields: list[str]) -> None:
    client.receive = lambda item: Receipt(item, None, EntryError(Code.MISSING_FIELD, "id", "is missing"))
    problem = problem_in(ask(make_app(client, http_texts=3), "POST", "/v1/items", json=body))
    assert (422, fields) == (problem.status, [error.field for error in problem.errors or []])


def test_a_full_inbox_and_an_unknown_lane_say_so(client: FakeClient) -> None:
    client.receive = failing(InboxFullError("the live inbox holds 9 entries"))
    answer = ask(make_app(client), "POST", "/v1/items", json={"id": "1", "text": "a"})
    assert (429, "2") == (problem_in(answer).status, answer.headers["retry-after"])
    problem = problem_in(ask(make_app(client), "POST", "/v1/items?lane=fast", json={"id": "1", "text": "a"}))
    assert (422, "lane: is 'fast'; use live or bulk") == (problem.status, problem.detail)


def test_numbers_that_are_no_json_are_refused(client: FakeClient) -> None:
    body = '{"id": "1", "text": "a", "meta": {"n": NaN}}'
    assert 400 == problem_in(ask(make_app(client), "POST", "/v1/items", content=body, headers=JSON)).status


@pytest.mark.parametrize("path", ["default/a%00b", "a%00b/1"])
def test_an_item_that_no_database_could_hold_is_not_found(client: FakeClient, path: str) -> None:
    assert 404 == problem_in(ask(make_app(client), "GET", f"/v1/items/{path}")).status


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/docs"])
def test_head_is_answered_as_get_is(client: FakeClient, path: str) -> None:
    assert 200 == ask(make_app(client), "HEAD", path).status_code


def test_another_method_is_told_which_ones_there_are(client: FakeClient) -> None:
    app = make_app(client)
    for method, path, allowed in (("POST", "/healthz", "GET, HEAD"), ("PUT", "/predict", "POST")):
        answer = ask(app, method, path)
        assert (405, allowed) == (problem_in(answer).status, answer.headers["allow"])


def test_when_every_text_breaks_a_rule_the_problem_names_each_by_its_place(client: FakeClient) -> None:
    client.answer = failing(EntryError(Code.EMPTY_FIELD, "text", "is empty"))
    problem = problem_in(ask(make_app(client), "POST", "/v1/predict", json={"texts": ["", " "]}))
    assert "texts.0: is empty; texts.1: is empty" == problem.detail
    assert ["texts.0", "texts.1"] == [error.field for error in problem.errors or ()]


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/items", "/predict"])
def test_a_body_over_the_bound_is_refused(client: FakeClient, path: str) -> None:
    app = make_app(client, http_body_bytes=1024)
    answer = ask(app, "POST", path, content=json.dumps({"text": "x" * 2000}), headers=JSON)
    assert 413 == problem_in(answer).status


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON;charset=UTF-8", 200),
        ("application/vnd.shop+json", 200),
        ("application/json; charset=gbk", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        (None, 415),
    ],
)
def test_only_json_is_taken(client: FakeClient, content_type: str | None, status: int) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = ask(make_app(client), "POST", "/v1/predict", content='{"text": "好"}', headers=headers)
    assert status == answer.status_code
