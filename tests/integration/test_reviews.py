"""What reviewers decide: rows, tickets that move and come back, copies, examples, the list and the export."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from schemas.errors import ReviewError
from schemas.names import AssignmentStatus, ReviewOrigin, ReviewState, Task
from schemas.settings import Settings
from tests.conftest import Fenliu
from tests.integration.outcomes import ticket
from tests.integration.queued import (
    ROUTING,
    SENTIMENT,
    apply_teams,
    claim,
    execute,
    in_triage,
    rows,
    store,
    unsure,
)
from worker import routes
from worker.desk import review_examples, review_history, review_queue, review_undo, reviews, tickets

PARCEL = "订单 {} 的包裹到现在还没有更新物流信息，请帮我查询一下"
TRICKY = '他说："好，\n但是…"\r\n=1+1, 🙂'


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"review_random_share": 0.0})


def places(engine: Engine) -> dict[str, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in rows(engine, "SELECT item_id, team, status, score FROM assignments")}


def history(engine: Engine, item_id: str) -> list[tuple[Any, ...]]:
    statement = "SELECT item_id, who, from_team, to_team, why FROM assignment_events ORDER BY id"
    return [row[1:] for row in rows(engine, statement) if row[0] == item_id][1:]  # but for the model's


def told(engine: Engine) -> list[str]:
    return [team for (team,) in rows(engine, "SELECT team FROM outbox ORDER BY id")]


def test_a_decision_says_who_when_and_about_what(engine: Engine, settings: Settings) -> None:
    store(engine, unsure("a", "物流太慢了", 0.55), unsure("b", "客服真好", 0.6))
    accepted = reviews.decide(engine, claim(engine, settings).id, "li", "positive", note=" 看得出来 ")
    corrected = reviews.decide(engine, claim(engine, settings).id, "li", "negative")
    assert (ReviewState.ACCEPTED, "positive", 0.55, ReviewOrigin.LOW_CONFIDENCE, 0, False) == (
        accepted.state, accepted.label, accepted.predicted_score, accepted.origin, accepted.same, accepted.moved,
    )  # fmt: skip
    assert (ReviewState.CORRECTED, "negative", "positive") == (
        corrected.state, corrected.label, corrected.predicted_label,
    )  # fmt: skip
    columns = "item_id, state, reviewer, label, predicted_label, model, model_version, note"
    assert [
        ("a", "accepted", "li", "positive", "positive", "tiny", "1", "看得出来"),
        ("b", "corrected", "li", "negative", "positive", "tiny", "1", None),
    ] == rows(engine, f"SELECT {columns} FROM reviews ORDER BY id")
    assert [(True, True, True)] == rows(
        engine,
        "SELECT DISTINCT r.text_updated_at = i.updated_at, r.decided_at >= r.claimed_at, r.fingerprint IS NOT NULL"
        " FROM reviews r JOIN items i USING (source, item_id)",
    )


def test_what_is_no_label_here_is_refused_and_nothing_is_done(engine: Engine, settings: Settings) -> None:
    apply_teams(engine)
    store(engine, unsure("a", "物流太慢了"), in_triage("t", "发票"))
    shown = claim(engine, settings)
    with pytest.raises(ReviewError, match="'neutral' is no label here; choose one of negative, positive"):
        reviews.decide(engine, shown.id, "li", "neutral")
    shown = claim(engine, settings, which=ROUTING)
    with pytest.raises(ReviewError, match="'old' is no label here; choose one of billing, shipping, triage"):
        reviews.decide(engine, shown.id, "li", "old")
    with pytest.raises(ReviewError, match="at most 1000 characters"):
        reviews.decide(engine, shown.id, "li", None, note="x" * 1_001)
    assert [("claimed",)] == rows(engine, "SELECT DISTINCT state FROM reviews")


def test_a_corrected_ticket_goes_to_its_team_and_an_accepted_one_leaves_triage(
    engine: Engine, settings: Settings
) -> None:
    apply_teams(engine)
    store(engine, in_triage("a", "发票抬头", score=0.2), in_triage("b", "包裹丢了", score=0.3))
    store(engine, ticket("c", score=0.5, text="退款还没到"))
    # When a is corrected, b accepted, and c, which is with its team, accepted as well
    corrected = reviews.decide(engine, claim(engine, settings, which=ROUTING).id, "li", "shipping", note="包裹")
    accepted = reviews.decide(engine, claim(engine, settings, which=ROUTING).id, "li", None)
    unmoved = reviews.decide(engine, claim(engine, settings, which=ROUTING).id, "li", None)
    # Then a and b are where they belong by the reviewer's word, and nothing was done to c
    assert ([True, True, False], ["shipping", "billing", "billing"]) == (
        [each.moved for each in (corrected, accepted, unmoved)],
        [each.team for each in (corrected, accepted, unmoved)],
    )
    assert {
        "a": ("shipping", "overridden", None), "b": ("billing", "overridden", None), "c": ("billing", "auto", 0.5),
    } == places(engine)  # fmt: skip
    assert [("li", "triage", "shipping", "review: 包裹")] == history(engine, "a")
    assert [("li", "triage", "billing", "review")] == history(engine, "b")
    assert [] == history(engine, "c")
    assert ["triage", "triage", "billing", "shipping", "billing"] == told(engine)


def test_decisions_are_undone_in_order_and_the_ticket_goes_back(engine: Engine, settings: Settings) -> None:
    # Given two decisions of li's, one of them of a ticket that left triage, and one of mei's
    apply_teams(engine)
    store(engine, in_triage("a", "发票抬头", score=0.2), in_triage("b", "包裹丢了", score=0.3), in_triage("c", "慢"))
    reviews.decide(engine, claim(engine, settings, which=ROUTING).id, "li", "shipping")
    reviews.skip(engine, claim(engine, settings, which=ROUTING).id, "li")
    reviews.decide(engine, claim(engine, settings, "mei", ROUTING).id, "mei", "shipping")
    claim(engine, settings, which=ROUTING)
    # When li undoes twice, and a third time
    last = review_undo.last(engine, "li", Task.ROUTING)
    assert last is not None
    assert ("b", ReviewState.SKIPPED, None) == (last.item_id, last.state, last.label)
    undone = [review_undo.undo(engine, settings, "li", Task.ROUTING) for _ in range(3)]
    # Then his own are undone, the last one first, and the ticket is in triage again as the model left it
    assert ["b", "a", None] == [each and each.item_id for each in undone]
    assert ("triage", "triage", 0.2) == places(engine)["a"]
    assert ("li", "shipping", "triage", "review undone") == history(engine, "a")[-1]
    assert "triage" == told(engine)[-1]
    # and he holds the item of the last one alone, as it was shown
    assert [("a", "claimed", None, None)] == rows(
        engine, "SELECT item_id, state, label, decided_at FROM reviews WHERE reviewer = 'li'"
    )
    assert "a" == claim(engine, settings, which=ROUTING).item_id
    # When the model sees the ticket again, then it decides
    store(engine, ticket("a", 60, text="发票抬头", score=0.9))
    assert ("billing", "auto", 0.9) == places(engine)["a"]
    assert ("shipping", "overridden", None) == places(engine)["b"]


def test_a_ticket_that_was_moved_since_stays_when_the_decision_is_undone(engine: Engine, settings: Settings) -> None:
    apply_teams(engine)
    store(engine, in_triage("a", "发票抬头"))
    reviews.decide(engine, claim(engine, settings, which=ROUTING).id, "li", "shipping")
    tickets.assign(engine, "shop", "a", "billing", by="mei", why="发票")
    undone = review_undo.undo(engine, settings, "li", Task.ROUTING)
    assert undone is not None
    assert ("billing", "mei") == (undone.team, undone.moved_by)
    assert ("billing", "overridden", None) == places(engine)["a"]


def test_what_another_looks_at_now_cannot_be_undone(engine: Engine, settings: Settings) -> None:
    store(engine, unsure("a", "物流太慢了"))
    reviews.skip(engine, claim(engine, settings, "li").id, "li")
    claim(engine, settings, "mei")
    with pytest.raises(ReviewError, match="shop/a cannot be undone: mei is reviewing it now"):
        review_undo.undo(engine, settings, "li", Task.SENTIMENT)
    # until her time is up
    execute(engine, "UPDATE reviews SET claimed_at = now() - interval '11 minutes' WHERE state = 'claimed'")
    undone = review_undo.undo(engine, settings, "li", Task.SENTIMENT)
    assert undone is not None
    assert [("li", "claimed")] == rows(engine, "SELECT reviewer, state FROM reviews")


def test_the_same_for_all_copies_decides_them_and_undoing_opens_them_again(engine: Engine, settings: Settings) -> None:
    # Given four tickets that say the same; one more of them is with its team, and one changes while they are looked at
    apply_teams(engine)
    store(engine, *(in_triage(f"{n}", PARCEL.format(n * 37), score=0.2 + n / 100) for n in range(5)))
    store(engine, ticket("with", team="shipping", score=0.5, text=PARCEL.format(99)))
    shown = claim(engine, settings, which=ROUTING)
    assert ["1", "2", "3", "4", "with"] == [copy.item_id for copy in shown.copies]
    store(engine, in_triage("4", "电子发票怎么开", at_s=60))
    # When li says that all of them are for shipping
    decision = reviews.decide(engine, shown.id, "li", "shipping", same_for_copies=True)
    # Then there is a row for each that still says the same, of which none counts as random
    assert 4 == decision.same
    assert [
        ("0", "corrected", "billing"), ("1", "corrected", "billing"), ("2", "corrected", "billing"),
        ("3", "corrected", "billing"), ("with", "accepted", "shipping"),
    ] == rows(engine, "SELECT item_id, state, predicted_label FROM reviews ORDER BY item_id")  # fmt: skip
    assert [("low_confidence", "shipping")] == rows(engine, "SELECT DISTINCT origin, label FROM reviews")
    assert {"0": "shipping", "1": "shipping", "2": "shipping", "3": "shipping", "4": "triage", "with": "shipping"} == {
        item_id: place[0] for item_id, place in places(engine).items()
    }
    assert ("shipping", "auto", 0.5) == places(engine)["with"]
    # and when he undoes it, then all are as they were, and shown with it again
    review_undo.undo(engine, settings, "li", Task.ROUTING)
    assert ["triage"] * 5 == [places(engine)[f"{n}"][0] for n in range(5)]
    assert [("0", "claimed", 4)] == rows(engine, "SELECT item_id, state, copies FROM reviews")
    assert 4 == len(claim(engine, settings, which=ROUTING).copies)


# --- examples --------------------------------------------------------------------------------------------------------


def examples(engine: Engine, team: str) -> tuple[str, ...]:
    stored = routes.read(engine, "default")
    assert stored is not None
    return next(label.examples for label in stored.route_set.labels.labels if label.name == team)


def test_a_ticket_becomes_an_example_of_its_team_and_stops_being_one(engine: Engine, settings: Settings) -> None:
    apply_teams(engine)
    store(engine, in_triage("a", " 发票抬头 "), unsure("s", "慢"))
    decision = reviews.decide(engine, claim(engine, settings, which=ROUTING).id, "li", "shipping")
    # When li makes it an example, twice
    assert [4, 4] == [review_examples.add_example(engine, decision.id, "li").version for _ in range(2)]
    assert ("发票抬头",) == examples(engine, "shipping")
    assert "shipping" == getattr(review_undo.last(engine, "li", Task.ROUTING), "example", None)
    # and undoes the decision, then it is said that the example is still there, and it can be taken out
    undone = review_undo.undo(engine, settings, "li", Task.ROUTING)
    assert undone is not None
    assert ("shipping", "shipping") == (undone.example, claim(engine, settings, which=ROUTING).example)
    assert 5 == review_examples.remove_example(engine, undone.id, "li").version
    assert () == examples(engine, "shipping")
    with pytest.raises(ReviewError, match="was not added"):
        review_examples.remove_example(engine, undone.id, "li")
    with pytest.raises(ReviewError, match="only a ticket"):
        review_examples.add_example(engine, undone.id, "li")
    with pytest.raises(ReviewError, match="no decision"):
        review_examples.add_example(engine, undone.id, "mei")


def test_an_example_that_was_there_before_is_not_taken_out(engine: Engine, settings: Settings) -> None:
    apply_teams(engine)
    store(engine, in_triage("a", "发票抬头"))
    tickets.add_example(engine, "shop", "a", "shipping", by="mei")
    decision = reviews.decide(engine, claim(engine, settings, which=ROUTING).id, "li", "shipping")
    review_examples.add_example(engine, decision.id, "li")
    with pytest.raises(ReviewError, match="was not added"):
        review_examples.remove_example(engine, decision.id, "li")
    assert ("发票抬头",) == examples(engine, "shipping")


# --- looking back ----------------------------------------------------------------------------------------------------


def test_the_list_goes_back_page_by_page_and_counts_ones_own(engine: Engine, settings: Settings) -> None:
    store(engine, *(unsure(f"{n}", sign * 9, 0.5 + n / 100) for n, sign in enumerate("甲乙丙丁戊")))
    for reviewer in ("li", "mei", "li", "li"):
        reviews.decide(engine, claim(engine, settings, reviewer).id, reviewer, None)
    reviews.skip(engine, claim(engine, settings).id, "li")
    first = review_history.history(engine, limit=3)
    rest = review_history.history(engine, limit=3, before=(first[-1].decided_at, first[-1].id))
    assert (["4", "3", "2"], ["1", "0"]) == ([each.item_id for each in first], [each.item_id for each in rest])
    assert ["1"] == [each.item_id for each in review_history.history(engine, reviewer="mei")]
    assert [] == review_history.history(engine, task=Task.ROUTING)
    assert ["li", "mei"] == review_history.reviewers(engine)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert (3, 1) == tuple(review_history.count_since(engine, name, hour_ago) for name in ("li", "mei"))


def test_the_export_holds_the_newest_decision_of_each_text_that_is_still_so(
    engine: Engine, settings: Settings, fenliu: Fenliu
) -> None:
    # Given an accepted and a corrected text, three near-copies judged as one and another looked at by itself, a skipped
    # one, one whose text has changed since, and one that was judged twice
    store(engine, unsure("1", TRICKY, 0.50), unsure("2", "客服真好", 0.51))
    store(engine, *(unsure(f"3{n}", PARCEL.format(n * 37), 0.52) for n in range(3)), unsure("4", "不知道", 0.53))
    store(engine, unsure("5", "旧的", 0.54), unsure("6", "两次", 0.55, source="app"))
    for label in ("positive", "negative", "negative", "", "positive", "positive"):
        shown = claim(engine, settings)
        if label:
            reviews.decide(engine, shown.id, "li", label, same_for_copies=True)
        else:
            reviews.skip(engine, shown.id, "li")
    execute(
        engine,
        "INSERT INTO reviews (source, item_id, task, state, reviewer, origin, label, predicted_label, text_updated_at,"
        " fingerprint, decided_at) SELECT source, item_id, task, 'corrected', 'mei', 'random', 'negative', 'positive',"
        " text_updated_at, fingerprint, now() + interval '1 s' FROM reviews WHERE item_id = '6'",
    )
    # and one text that was sent again as it is
    store(engine, unsure("5", "新的", at_s=60), unsure("2", "客服真好", 0.9, at_s=60))

    # When the texts are exported
    done = fenliu("reviews", "export", "--task", "sentiment")
    # Then each stands there once, in order, whatever is in it
    assert (0, "4 reviewed texts\n") == (done.returncode, done.stderr)
    table = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    assert [
        ("app", "6", "两次", "negative", "corrected", "random"),
        ("shop", "1", TRICKY, "positive", "accepted", "low_confidence"),
        ("shop", "2", "客服真好", "negative", "corrected", "low_confidence"),
        ("shop", "30", PARCEL.format(0), "negative", "corrected", "low_confidence"),
    ] == [tuple(row[name] for name in ("source", "item_id", "text", "label", "state", "origin")) for row in table]
    # and it can be narrowed, and be JSON
    lines = fenliu("reviews", "export", "-", "--task", "sentiment", "--json", "--source", "shop").stdout.splitlines()
    assert ["1", "2", "30"] == [json.loads(line)["item_id"] for line in lines]
    chosen = review_history.reviewed_texts(engine, Task.SENTIMENT, origin=ReviewOrigin.RANDOM)
    assert ["6"] == [each.item_id for each in chosen]
    later = datetime.now(UTC) + timedelta(hours=1)
    assert [] == review_history.reviewed_texts(engine, Task.SENTIMENT, since=later)
    assert [] == review_history.reviewed_texts(engine, Task.ROUTING)


def test_an_export_that_cannot_be_written_says_why(fenliu: Fenliu, tmp_path: Any) -> None:
    done = fenliu("reviews", "export", str(tmp_path / "none" / "x.csv"), "--task", "sentiment")
    assert (1, "") == (done.returncode, done.stdout)
    assert "No such file or directory" in done.stderr
    assert 2 == fenliu("reviews", "export", "--task", "mood").returncode


def test_a_decision_by_hand_is_kept_by_the_status_of_a_ticket(engine: Engine, settings: Settings) -> None:
    # Given a ticket in triage that the reviewer, too, can give to nobody
    apply_teams(engine)
    store(engine, in_triage("a", "？？？"))
    reviews.decide(engine, claim(engine, settings, which=ROUTING).id, "li", "triage")
    # and triage is no team to learn
    assert [] == review_history.reviewed_texts(engine, Task.ROUTING)
    # Then no later result takes it away
    store(engine, ticket("a", 60, text="？？？"))
    assert ("triage", AssignmentStatus.OVERRIDDEN, None) == places(engine)["a"]
    assert None is review_queue.claim(engine, settings, "li", SENTIMENT)
