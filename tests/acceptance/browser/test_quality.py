"""Quality in a browser: alive on day one, honest about few reviews, and showing what reviewers and drift say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import text

from tests.acceptance.browser.conftest import Visitor
from tests.acceptance.conftest import Place
from tests.waiting import wait_for
from worker.desk import quality

SEED = text("""
    WITH item AS (
        INSERT INTO items (source, item_id, kind, text, state, created_at, updated_at, received_at, entry_id, entry_ms,
            entry_seq)
        SELECT 'shop', 'r' || n, 'comment', '物流太慢了', 'done', now(), :at, now(), n || '-0', n, 0
        FROM generate_series(1, :many) n RETURNING source, item_id, entry_id, entry_ms, entry_seq
    ), predicted AS (
        INSERT INTO predictions (source, item_id, task, model, model_version, label, score, scores, stage, production,
            current, queue_ms, infer_ms, entry_id, entry_ms, entry_seq, item_created_at, updated_at)
        SELECT source, item_id, 'sentiment', :model, :version, 'negative', 0.9, '{}', 'classifier', true, true, 1, 1,
            entry_id, entry_ms, entry_seq, now(), :at FROM item
    )
    INSERT INTO reviews (source, item_id, task, state, reviewer, origin, label, predicted_label, text_updated_at,
        decided_at)
    SELECT source, item_id, 'sentiment', CASE WHEN entry_ms <= :wrong THEN 'corrected' ELSE 'accepted' END, 'mei',
        'random', CASE WHEN entry_ms <= :wrong THEN 'positive' ELSE 'negative' END, 'negative', :at,
        now() - entry_ms * interval '1 hour'
    FROM item
""")


def seed(place: Place, many: int, wrong: int) -> None:
    """Random reviews of the production model's results, of which the first `wrong` are wrong."""
    production = quality.in_production(place.engine)
    assert production is not None
    with place.engine.begin() as connection:
        connection.execute(
            SEED, {"many": many, "wrong": wrong, "model": production.model, "version": production.version,
                   "at": "2026-03-01T12:00:00Z"},
        )  # fmt: skip


def figure(page: Any, name: str) -> str:
    tile = page.locator(".tile").filter(has=page.get_by_text(name, exact=True))
    return str(tile.locator("dd").first.inner_text())


def test_day_one_shows_the_starter_set_and_later_the_reviews(place: Place, visitor: Visitor) -> None:
    # Given an empty database, when somebody opens the page, then it says what to do
    page = visitor("/quality")
    page.get_by_text("Start a worker with").wait_for()

    # When a worker starts, then the page finds out by itself and has the starter set measured
    place.workers.start()
    page.get_by_role("heading", name=re.compile("Starter set, text by text")).wait_for(timeout=60_000)
    assert "2" == str(place.one("SELECT count(*) FROM evaluations WHERE data = 'starter' AND items = 50"))
    found = place.one("SELECT accuracy FROM evaluations WHERE data = 'starter' AND task = 'sentiment'")
    assert f"{found * 100:g}%" == figure(page, "Accuracy")
    assert (
        50
        == page.locator("section", has=page.get_by_role("heading", name=re.compile("text by text")))
        .locator("tbody tr")
        .count()
    )
    page.get_by_text("too few to say").wait_for()
    page.locator(".plot canvas").first.wait_for()
    # And nothing of it stands among the items
    assert 0 == place.one("SELECT count(*) FROM items")
    # And routing is a key press away
    page.get_by_role("link", name="Routing").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**task=routing*")
    found = place.one("SELECT accuracy FROM evaluations WHERE data = 'starter' AND task = 'routing'")
    assert f"{found * 100:g}%" == figure(page, "Accuracy")

    # Given 40 random reviews of which 10 were corrected, when somebody measures now
    seed(place, 40, 10)
    page.goto("/quality")
    page.get_by_role("button", name="Measure now").press("Enter")
    page.get_by_role("link", name="Random reviews (40)").wait_for()
    # Then the page is about them
    assert "75%" == figure(page, "Accuracy")
    page.get_by_role("heading", name="Accuracy over time").wait_for()
    assert (
        "positive\tnegative\t10"
        == page.get_by_role("region", name="What is taken for what").locator("tbody tr").inner_text()
    )
    # And the starter set is a click away
    page.get_by_role("link", name="Starter set (50)").click()
    page.get_by_text("Fifty shipped texts").wait_for()

    # When it is opened in Chinese on a telephone, then it fits
    phone = visitor("/quality?data=no-such&task=<b>", locale="zh-CN", width=360, height=740)
    phone.get_by_role("heading", name="结果有多准？").wait_for()
    assert "75%" == figure(phone, "准确率")
    phone.locator(".plot canvas").first.wait_for()
    assert 360 >= phone.evaluate("document.documentElement.scrollWidth")


@pytest.fixture
def hasty(place: Place) -> Place:
    """A place where pages wait two seconds for workers."""
    place.settings = place.settings.model_copy(update={"http_timeout_s": 2.0})
    return place


def test_no_worker_answers(hasty: Place, visitor: Visitor) -> None:
    # Given a model in production whose worker is away
    place = hasty
    with place.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO models (name, version, state, tasks, manifest) VALUES ('tiny', '1', 'production', "
                 """'["sentiment"]', '{"labels": ["negative", "positive"]}')""")
        )  # fmt: skip
    # When somebody opens the page, then it says that it waits; and leaves nothing in the inbox when time is up
    page = visitor("/quality")
    page.get_by_text("is being measured with this model").wait_for()
    wait_for(lambda: place.left()[0] > 0, 20, "the texts are in the inbox")
    page.get_by_text("No worker has answered the starter set yet").wait_for(timeout=40_000)
    wait_for(lambda: place.left() == (0, 0), 20, "they are taken back")
