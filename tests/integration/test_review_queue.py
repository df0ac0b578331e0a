"""The review queue: what is shown to whom, once, and in which order."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from schemas.errors import ReviewError
from schemas.names import Task
from schemas.settings import Settings
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
    sure,
    unsure,
)
from worker.desk import review_history, review_queue, reviews, tickets
from worker.desk.review_pick import Which

SAID = ("物流太慢了", "这家店的客服真好", "颜色和图片不一样", "包装破了，东西没事", "味道一般般吧", "说明书看不懂")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Without random items, unless a test wants them."""
    return settings.model_copy(update={"review_random_share": 0.0})


def test_the_least_sure_is_shown_first_and_what_is_sure_never(engine: Engine, settings: Settings) -> None:
    # Given comments of which the model is more or less sure
    store(engine, unsure("b", SAID[0], 0.65), unsure("a", SAID[1], 0.51), sure("c", SAID[2]), unsure("d", SAID[3], 0.7))
    # When a reviewer goes through them
    first = claim(engine, settings)
    # Then they come least sure first, with the model's labels to choose from
    assert ("a", SAID[1], "positive", ("negative", "positive")) == (
        first.item_id, first.text, first.predicted_label, first.labels,
    )  # fmt: skip
    assert 2 == review_queue.waiting(engine, settings, "mei", SENTIMENT) + 1
    reviews.decide(engine, first.id, "li", None)
    second = claim(engine, settings)
    assert "b" == second.item_id
    # and the one that is held is shown again until it is decided
    assert second == claim(engine, settings) == review_queue.held(engine, settings, "li", SENTIMENT)
    reviews.decide(engine, second.id, "li", "negative")
    assert None is review_queue.claim(engine, settings, "li", SENTIMENT)
    assert None is review_queue.claim(engine, settings, "mei", SENTIMENT)


def test_tickets_in_triage_come_before_others_and_overridden_ones_not_at_all(
    engine: Engine, settings: Settings
) -> None:
    apply_teams(engine)
    store(engine, ticket("with", team="shipping", score=0.3, text=SAID[0]), in_triage("in triage", SAID[1], score=0.9))
    store(engine, ticket("moved", team="shipping", score=0.2, text=SAID[2]), ticket("sure", score=0.9, text=SAID[3]))
    tickets.assign(engine, "shop", "moved", "billing", by="mei", why="hers")
    first = claim(engine, settings, which=ROUTING)
    assert ("in triage", "billing", "triage", ("billing", "shipping", "triage")) == (
        first.item_id, first.predicted_label, first.team, first.labels,
    )  # fmt: skip
    reviews.decide(engine, first.id, "li", None)
    second = claim(engine, settings, which=ROUTING)
    reviews.decide(engine, second.id, "li", None)
    assert ("with", None) == (second.item_id, review_queue.claim(engine, settings, "li", ROUTING))


def test_eight_reviewers_at_once_get_eight_items(engine: Engine, settings: Settings) -> None:
    # Given ten different comments, and two near-copies of each
    store(engine, *(unsure(f"{n}{c}", f"{sign * 20}，第{c}次", 0.5 + n / 100)
                    for n, sign in enumerate("甲乙丙丁戊己庚辛壬癸") for c in range(3)))  # fmt: skip
    # When eight reviewers claim at the same moment, over and over, and accept what they get
    names = [f"reviewer {number}" for number in range(8)]

    def take(name: str) -> tuple[str, str] | None:
        shown = review_queue.claim(engine, settings, name, SENTIMENT)
        return (shown.text[0], shown.item_id) if shown else None

    with ThreadPoolExecutor(8) as pool:
        first = [taken for taken in pool.map(take, names) if taken]
        # Then no two hold the same text; whoever got none, since others were just then at it, gets one next
        rest = [taken for taken in pool.map(take, names) if taken]
    assert set(first) <= set(rest)
    assert 8 == len(rest) == len({said for said, _ in rest})
    assert [(8, 8)] == rows(engine, "SELECT count(*), count(DISTINCT item_id) FROM reviews WHERE state = 'claimed'")


def test_a_claim_that_has_run_out_is_taken_over_and_the_loser_is_told(engine: Engine, settings: Settings) -> None:
    store(engine, unsure("a", SAID[0]))
    lost = claim(engine, settings, "li")
    # While li holds it, nobody else gets it
    assert None is review_queue.claim(engine, settings, "mei", SENTIMENT)
    # When the time is over, then mei gets it
    execute(engine, "UPDATE reviews SET claimed_at = now() - interval '11 minutes'")
    taken = claim(engine, settings, "mei")
    assert "a" == taken.item_id
    with pytest.raises(ReviewError, match="shop/a is with mei now"):
        reviews.decide(engine, lost.id, "li", None)
    with pytest.raises(ReviewError, match="shop/a is with mei now"):
        reviews.skip(engine, lost.id, "li")
    assert not review_queue.keep(engine, "li", lost.id)
    reviews.decide(engine, taken.id, "mei", None)
    with pytest.raises(ReviewError, match="decided already, by mei"):
        reviews.decide(engine, lost.id, "li", None)


def test_what_is_given_back_is_free_and_what_was_left_may_be_taken_up_again(engine: Engine, settings: Settings) -> None:
    store(engine, unsure("a", SAID[0]))
    # Given back: free at once
    held = claim(engine, settings, "li")
    assert not review_queue.release(engine, "mei", held.id)
    assert review_queue.release(engine, "li", held.id)
    with pytest.raises(ReviewError, match="not yours any more"):
        reviews.decide(engine, held.id, "li", None)
    # Left, as when the page is closed: free for others, but li may come back
    held = claim(engine, settings, "li")
    assert review_queue.lapse(engine, settings, "li", held.id)
    assert held == review_queue.held(engine, settings, "li", SENTIMENT)
    assert review_queue.keep(engine, "li", held.id)
    assert None is review_queue.claim(engine, settings, "mei", SENTIMENT)
    review_queue.lapse(engine, settings, "li", held.id)
    assert "a" == claim(engine, settings, "mei").item_id
    assert 1 == review_queue.release_all(engine, "mei")
    assert [] == rows(engine, "SELECT * FROM reviews")


def test_a_skipped_item_is_left_to_others_and_a_new_text_comes_again(engine: Engine, settings: Settings) -> None:
    store(engine, unsure("a", SAID[0]), unsure("copy", SAID[0] + "！"))
    shown = claim(engine, settings, "li")
    reviews.skip(engine, shown.id, "li", note="unclear")
    # Then li sees neither it nor its near-copy again, and mei does
    assert None is review_queue.claim(engine, settings, "li", SENTIMENT)
    reviews.decide(engine, claim(engine, settings, "mei").id, "mei", None)
    # When its text changes, then it is there for all again
    store(engine, unsure("a", SAID[1], at_s=60))
    again = claim(engine, settings, "li")
    assert (SAID[1], "a") == (again.text, again.item_id)
    reviews.decide(engine, again.id, "li", None)
    # but the same text, sent again, is not
    store(engine, unsure("a", SAID[1], at_s=90))
    assert None is review_queue.claim(engine, settings, "mei", SENTIMENT)


def test_a_text_that_changes_while_it_is_held_is_not_judged(engine: Engine, settings: Settings) -> None:
    store(engine, unsure("a", SAID[0]))
    shown = claim(engine, settings)
    store(engine, unsure("a", SAID[1], at_s=60))
    with pytest.raises(ReviewError, match="has changed since you were shown it"):
        reviews.decide(engine, shown.id, "li", None)
    assert SAID[1] == claim(engine, settings).text


def test_a_text_that_is_sent_again_unchanged_while_it_is_held_is_judged(engine: Engine, settings: Settings) -> None:
    # Given a ticket that a reviewer looks at, while a backfill sends it again and another version decides otherwise
    apply_teams(engine)
    store(engine, ticket("a", team="shipping", score=0.3, text=SAID[0]))
    shown = claim(engine, settings, which=ROUTING)
    store(engine, ticket("a", 60, team="billing", score=0.9, text=SAID[0]))
    assert shown.id == claim(engine, settings, which=ROUTING).id
    # When the reviewer accepts what was shown, then the ticket goes where he said
    decision = reviews.decide(engine, shown.id, "li", None)
    assert ("shipping", "shipping", True) == (decision.label, decision.team, decision.moved)


def test_near_copies_are_shown_once_with_their_count(engine: Engine, settings: Settings) -> None:
    # Given eight comments that say the same, and another
    parcel = "订单 {} 的包裹到现在还没有更新物流信息，请帮我查询一下"
    store(
        engine, *(unsure(f"copy {n}", parcel.format(n * 37) + "！" * n, 0.55) for n in range(8)), unsure("z", SAID[1])
    )
    # When they are reviewed
    shown = claim(engine, settings)
    # Then one stands for all
    assert ("copy 0", [f"copy {n}" for n in range(1, 8)]) == (shown.item_id, [copy.item_id for copy in shown.copies])
    assert [(7,)] == rows(engine, "SELECT copies FROM reviews")
    # and neither mei, meanwhile, nor li, afterwards, sees another of them
    assert "z" == claim(engine, settings, "mei").item_id
    reviews.decide(engine, shown.id, "li", None)
    assert None is review_queue.claim(engine, settings, "li", SENTIMENT)
    # while only the one that was looked at is decided, and no ids of the others are kept with it
    assert [("copy 0", {})] == rows(engine, "SELECT item_id, before FROM reviews WHERE state = 'accepted'")


def test_more_copies_than_are_compared_at_once_do_not_hide_what_comes_after(engine: Engine, settings: Settings) -> None:
    store(engine, *(unsure(f"{n:04}", f"{SAID[0]}{n}", 0.5) for n in range(1_100)), unsure("z", SAID[1]))
    reviews.decide(engine, claim(engine, settings).id, "li", None)
    assert "z" == claim(engine, settings).item_id


def test_a_reviewer_may_keep_to_a_source_or_a_team(engine: Engine, settings: Settings) -> None:
    apply_teams(engine)
    store(engine, in_triage("a", SAID[0]), in_triage("b", SAID[1], team="shipping"))
    store(engine, in_triage("c", SAID[2], source="app"))
    assert "b" == claim(engine, settings, which=Which(Task.ROUTING, team="shipping")).item_id
    # and what is held for another wish is given back
    assert "c" == claim(engine, settings, which=Which(Task.ROUTING, source="app")).item_id
    assert [("c",)] == rows(engine, "SELECT item_id FROM reviews")


def test_a_narrowed_queue_draws_nothing_by_chance(engine: Engine, settings: Settings) -> None:
    # Given sure and unsure comments and tickets, and a queue that would draw whenever it may
    apply_teams(engine)
    store(engine, sure("a", SAID[0]), unsure("b", SAID[1]), ticket("t", team="shipping", score=0.6, text=SAID[2]))
    always = settings.model_copy(update={"review_random_share": 1.0})
    # When it is narrowed, then what it shows speaks for that source or team alone, and does not count as random
    for which in (Which(Task.SENTIMENT, source="shop"), Which(Task.ROUTING, team="shipping")):
        reviews.decide(engine, claim(engine, always, which=which).id, "li", None)
        assert None is review_queue.claim(engine, always, "li", which)
    assert [("b", "low_confidence"), ("t", "low_confidence")] == rows(engine, "SELECT item_id, origin FROM reviews")


def test_a_team_sees_the_sentiments_of_its_own_tickets(engine: Engine, settings: Settings) -> None:
    apply_teams(engine)
    store(engine, unsure("c", SAID[0]), ticket("t", team="shipping", text=SAID[1]), ticket("u", text=SAID[2]))
    execute(engine, "UPDATE predictions SET score = 0.6 WHERE task = 'sentiment'")
    which = Which(Task.SENTIMENT, team="shipping")
    reviews.decide(engine, claim(engine, settings, which=which).id, "li", None)
    assert (None, [("t",)]) == (
        review_queue.claim(engine, settings, "li", which), rows(engine, "SELECT item_id FROM reviews"),
    )  # fmt: skip


def test_an_item_that_is_being_erased_or_has_no_text_is_passed_over(engine: Engine, settings: Settings) -> None:
    store(engine, unsure("a", SAID[0], 0.5), unsure("b", SAID[1], 0.6))
    with engine.begin() as eraser:
        eraser.execute(text("SELECT FROM items WHERE item_id = 'a' FOR UPDATE"))
        shown = claim(engine, settings)
        assert "b" == shown.item_id
    reviews.decide(engine, shown.id, "li", None)
    execute(engine, "UPDATE items SET text = NULL, state = 'dead' WHERE item_id = 'a'")
    assert None is review_queue.claim(engine, settings, "li", SENTIMENT)


# --- random ones -----------------------------------------------------------------------------------------------------


def test_random_items_come_from_all_results_and_chance_alone_says_when(engine: Engine, settings: Settings) -> None:
    # Given ten comments of which the model is sure, ten of which it is not, and a share of a half
    signs = [chr(0x4E00 + 37 * n) * 9 for n in range(20)]
    store(engine, *(sure(f"s{n}", signs[n]) for n in range(10)), *(unsure(f"u{n}", signs[10 + n]) for n in range(10)))
    half = settings.model_copy(update={"review_random_share": 0.5})
    # When all are reviewed
    chance = random.Random(5)
    while shown := review_queue.claim(engine, half, "li", SENTIMENT, chance):
        reviews.decide(engine, shown.id, "li", None)
    # Then each came once; the sure ones can only be random, and some of the unsure are as well
    counts = Counter((item_id[0], origin) for item_id, origin in rows(engine, "SELECT item_id, origin FROM reviews"))
    assert (10, 10) == (counts["s", "random"], counts["u", "random"] + counts["u", "low_confidence"])
    assert 0 < counts["u", "random"]
    # and with no share there are none of them
    assert None is review_queue.claim(engine, settings, "mei", SENTIMENT)


def test_a_draw_that_falls_on_a_judged_item_makes_its_decision_count(engine: Engine, settings: Settings) -> None:
    # Given 30 unsure comments, which were all reviewed, and one that is sure
    signs = [chr(0x4E00 + 37 * n) * 9 for n in range(31)]
    store(engine, *(unsure(f"u{n}", signs[n]) for n in range(30)))
    while shown := review_queue.claim(engine, settings, "li", SENTIMENT):
        reviews.decide(engine, shown.id, "li", "negative")
    store(engine, sure("s", signs[30]))
    # When a random item is drawn, and again whenever it is given back
    always = settings.model_copy(update={"review_random_share": 1.0})
    for _ in range(10):
        shown = claim(engine, always, "mei")
        # Then it is the one that is left
        assert "s" == shown.item_id
        review_queue.release(engine, "mei", shown.id)
    # and the decisions that chance fell on before it are random now: the sample holds unsure ones, too
    drawn = [line for line in review_history.history(engine, limit=100) if line.origin == "random"]
    assert 0 < len(drawn) <= 30
    assert {"negative"} == {line.label for line in drawn}


def test_a_large_table_is_sampled_and_not_read_through(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given more results than the sample shall hold
    signs = [chr(0x4E00 + 3 * n) * 5 for n in range(2_000)]
    store(engine, *(sure(f"{n:04}", sign) for n, sign in enumerate(signs)))
    execute(engine, "ANALYZE predictions")
    monkeypatch.setattr("worker.desk.review_pick.SAMPLE_ROWS", 200)
    always = settings.model_copy(update={"review_random_share": 1.0})
    # When fifty are drawn
    shown = []
    for _ in range(50):
        shown.append(claim(engine, always))
        reviews.decide(engine, shown[-1].id, "li", None)
    # Then they come from everywhere: of four quarters none is left out
    assert 50 == len({each.item_id for each in shown})
    assert {0, 1, 2, 3} == {int(each.item_id) // 500 for each in shown}
