"""Alerts: drift and lost accuracy open one row each, which ends when it is over, and may come again."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from schemas.names import Lane, Task
from schemas.settings import Settings
from tests.conftest import Fenliu
from tests.integration.reviewing import NOW, classify, put_in_production, review, stored_at
from worker.desk import alerts, quality, starter
from worker.desk.alerts import Alert, open_alerts
from worker.desk.starter import Answer

GOOD, BAD = "positive", "negative"
FIRST_DAY = NOW - timedelta(days=10)
MANY = 100


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Drift from 50 results on."""
    return settings.model_copy(update={"quality_items": 50})


def labels(good: int) -> list[str]:
    """100 labels, `good` of which are positive."""
    return [GOOD] * good + [BAD] * (MANY - good)


def last_day(engine: Engine, first: int, good: int, **more: str | Lane) -> None:
    """A hundred results an hour ago, by fresh items from `first` on; what was there is two days old now."""
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE predictions SET created_at = :at WHERE created_at > :at"), {"at": NOW - timedelta(days=2)}
        )
    classify(engine, first, labels(good), **more)
    stored_at(engine, first, MANY, NOW - timedelta(hours=1))


def listed(engine: Engine, measure: str = "labels") -> list[Alert]:
    return [alert for alert in alerts.listed(engine) if alert.measure == measure]


def test_drift_raises_one_alert_ends_and_raises_again(engine: Engine, settings: Settings, fenliu: Fenliu) -> None:
    # Given a model whose first day here was half and half
    put_in_production(engine, since=FIRST_DAY)
    classify(engine, 1, labels(50))
    stored_at(engine, 1, MANY, FIRST_DAY + timedelta(hours=1))
    # When the last day is much the same, then nothing happens
    last_day(engine, 1001, 55)
    quality.evaluate(engine, settings, now=NOW)
    assert [] == open_alerts(engine)

    # When nine in ten are negative, then there is one alert, however often it is measured
    last_day(engine, 2001, 10)
    quality.evaluate(engine, settings, now=NOW)
    [alert] = open_alerts(engine)
    assert ("labels", "sentiment", "tiny", "1", 0.25) == (
        alert.measure, alert.task, alert.model, alert.model_version, alert.bound,
    )  # fmt: skip
    assert 0.8 < alert.value < 0.95  # 0.4 ln 9 = 0.879, less for the half items
    quality.evaluate(engine, settings, now=NOW)
    assert 1 == len(listed(engine))
    # and people see it by the view and on the command line
    with engine.connect() as connection:
        assert [("labels", True)] == [
            tuple(row) for row in connection.execute(text("SELECT measure, open FROM dash_alerts"))
        ]
    printed = json.loads(fenliu("quality", "alerts", "--json").stdout)
    assert [(None, "labels")] == [(each["ended_at"], each["measure"]) for each in printed]

    # When it is just under the bound, then it stays, with the new value
    last_day(engine, 3001, 26)
    quality.evaluate(engine, settings, now=NOW)
    [alert] = open_alerts(engine)
    assert 0.8 * 0.25 < alert.value < 0.25
    # When it is well under it, then it ends
    last_day(engine, 4001, 45)
    quality.evaluate(engine, settings, now=NOW)
    assert [] == open_alerts(engine)
    # When it is just under the bound, then it is not raised
    last_day(engine, 5001, 26)
    quality.evaluate(engine, settings, now=NOW)
    assert [] == open_alerts(engine)
    # When it is over it once more, then it is raised again
    last_day(engine, 6001, 5)
    quality.evaluate(engine, settings, now=NOW)
    assert [True, False] == [alert.ended_at is None for alert in listed(engine)]

    # When that is known and wanted, then it becomes the reference
    [taken] = quality.take_reference(engine, settings, now=NOW)
    assert {BAD: 95, GOOD: 5} == taken.metrics["labels"]
    quality.evaluate(engine, settings, now=NOW)
    assert [] == open_alerts(engine)


def test_with_many_labels_an_alert_ends_when_chance_alone_is_left(engine: Engine, settings: Settings) -> None:
    # Given thirty labels that come by chance, and an alert while all results had one of them
    dice = random.Random(3)
    put_in_production(engine, since=FIRST_DAY)
    for first, at in ((1, FIRST_DAY + timedelta(hours=1)), (1001, NOW - timedelta(days=2))):
        classify(engine, first, dice.choices([f"label {n}" for n in range(30)], k=MANY))
        stored_at(engine, first, MANY, at)
    classify(engine, 2001, ["label 1"] * MANY)
    stored_at(engine, 2001, MANY, NOW - timedelta(hours=1))
    quality.evaluate(engine, settings, now=NOW)
    assert [True] == [alert.ended_at is None for alert in listed(engine)]
    # When they come by chance again, which is over the bound with so few results of each
    classify(engine, 3001, dice.choices([f"label {n}" for n in range(30)], k=MANY))
    stored_at(engine, 3001, MANY, NOW + timedelta(days=2))
    quality.evaluate(engine, settings, now=NOW + timedelta(days=2, hours=1))
    # Then the alert has ended
    [alert] = listed(engine)
    assert alert.value > alert.bound
    assert alert.ended_at is not None


def test_backfills_and_few_results_raise_nothing(engine: Engine, settings: Settings) -> None:
    put_in_production(engine, since=FIRST_DAY)
    classify(engine, 1, [GOOD, BAD] * 50)
    stored_at(engine, 1, MANY, FIRST_DAY + timedelta(hours=1))
    quality.evaluate(engine, settings, now=NOW)
    # Given a backfill of old and negative rows, when quality is measured, then the newest live results count
    last_day(engine, 1001, 0, lane=Lane.BULK)
    done = quality.evaluate(engine, settings, now=NOW)
    [drift] = [each for each in done.made if each.data == "drift"]
    assert (50, []) == (drift.items, open_alerts(engine))
    # Given fewer results than drift is measured from, then there is no reference, and no drift
    put_in_production(engine, "2", since=NOW - timedelta(days=2))
    assert [] == [each for each in quality.evaluate(engine, settings, now=NOW).made if each.model_version == "2"]


def test_a_version_that_has_left_production_has_no_alert(engine: Engine, settings: Settings) -> None:
    put_in_production(engine, since=FIRST_DAY)
    classify(engine, 1, labels(50))
    stored_at(engine, 1, MANY, FIRST_DAY + timedelta(hours=1))
    last_day(engine, 1001, 5)
    quality.evaluate(engine, settings, now=NOW)
    assert 1 == len(open_alerts(engine))
    put_in_production(engine, "2", since=NOW)
    quality.evaluate(engine, settings, now=NOW)
    assert [] == open_alerts(engine)


@pytest.mark.parametrize(("wrong", "alerted"), [(4, 0), (7, 0), (40, 1)])
def test_accuracy_is_held_against_the_starter_set(engine: Engine, settings: Settings, wrong: int, alerted: int) -> None:
    # Given a model that has 49 of 50 starter texts right
    put_in_production(engine, since=FIRST_DAY)
    truths = [item.label for item in starter.read_starter().of(Task.SENTIMENT)]
    truths[0] = BAD if truths[0] == GOOD else GOOD
    answers = [Answer(label, 0.9, {label: 0.9}) for label in truths]
    starter.store(engine, Task.SENTIMENT, ("tiny", "1"), answers, settings)
    # When of 70 random reviews so many are wrong
    classify(engine, 1, [GOOD] * 70)
    review(engine, 1, [BAD] * wrong + [GOOD] * (70 - wrong), at=NOW - timedelta(days=1))
    # and all reviews of hard cases
    classify(engine, 101, [GOOD] * 70)
    review(engine, 101, [BAD] * 70, origin="low_confidence", at=NOW - timedelta(days=1))
    quality.evaluate(engine, settings, now=NOW)
    # Then an alert needs a loss over the bound that is more than chance, and hard cases change nothing
    found = listed(engine, "accuracy")
    assert alerted == len(found)
    assert all(
        pytest.approx((30 / 70, 0.98 - settings.quality_accuracy_bound)) == (each.value, each.bound) for each in found
    )


def test_accuracy_is_held_against_what_came_before(engine: Engine, settings: Settings) -> None:
    # Given 50 random reviews a month ago, nine in ten right, when of 60 new ones half are wrong
    put_in_production(engine, since=FIRST_DAY)
    classify(engine, 1, [GOOD] * 110)
    review(engine, 1, [BAD] * 5 + [GOOD] * 45, at=NOW - timedelta(days=30))
    review(engine, 51, [BAD] * 30 + [GOOD] * 30, at=NOW - timedelta(days=1))
    quality.evaluate(engine, settings, now=NOW)
    [alert] = open_alerts(engine)
    assert ("accuracy", 0.5, pytest.approx(0.85)) == (alert.measure, alert.value, alert.bound)
    # When people have been busy and it is good again, then it ends
    classify(engine, 201, [GOOD] * 1500)
    review(engine, 201, [GOOD] * 1500, at=NOW - timedelta(hours=1))
    quality.evaluate(engine, settings, now=NOW)
    assert [] == open_alerts(engine)
