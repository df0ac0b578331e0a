"""Quality measured on rows: which reviews count for which version, by hand-computed numbers, once a day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, update

from schemas.names import Stage, Task
from schemas.settings import Settings
from schemas.tables import evaluations
from tests.conftest import Fenliu
from tests.integration.outcomes import comment, sentiment, ticket
from tests.integration.reviewing import NOW, classify, put_in_production, review
from worker.desk import evaluations as desk
from worker.desk import quality, reviewed, starter
from worker.desk.copies import fingerprint
from worker.desk.evaluations import Evaluation
from worker.desk.starter import Answer
from worker.sink import Sink

GOOD, BAD = "positive", "negative"


def found(engine: Engine, data: str = "reviewed:random") -> dict[str, Evaluation]:
    """The newest measurement of each version."""
    return {each.model_version: each for each in desk.listed(engine, "sentiment") if each.data == data}


def rows(engine: Engine) -> int:
    with engine.connect() as connection:
        return len(connection.execute(select(evaluations.c.id)).all())


def test_random_reviews_speak_alone_and_hard_cases_beside_them(engine: Engine, settings: Settings) -> None:
    # Given eight results, four of them reviewed at random (one wrong), four because they were not sure (three wrong)
    put_in_production(engine)
    classify(engine, 1, [GOOD] * 4 + [BAD] * 4)
    review(engine, 1, [GOOD, GOOD, BAD])
    review(engine, 8, [BAD], at=NOW - timedelta(days=7))
    review(engine, 4, [BAD, GOOD, GOOD, BAD], origin="low_confidence")
    # When quality is measured
    done = quality.evaluate(engine, settings, now=NOW)
    # Then random reviews are 3 of 4 right
    random, every = found(engine)["1"], found(engine, "reviewed:all")["1"]
    assert (2, 2) == (done.changed, len(done.made))
    assert (4, 0.75) == (random.items, random.accuracy)
    # F1 of positive is 2*2/(2+3), of negative 2*1/(2+1)
    assert pytest.approx((4 / 5 + 2 / 3) / 2) == random.macro_f1
    assert [["negative", "positive", 1]] == [each for each in random.metrics["confusion"] if each[0] != each[1]]
    assert pytest.approx(0.9 - 0.75) == random.metrics["calibration_error"]
    assert (NOW - timedelta(days=7), NOW + timedelta(seconds=2)) == (random.from_at, random.to_at)
    # And by the week in which they were decided
    assert [("2026-03-09", 1, 1.0), ("2026-03-16", 3, 2 / 3)] == [
        (week["week"], week["accuracy"]["items"], week["accuracy"]["value"]) for week in random.metrics["weeks"]
    ]
    # And all of them 4 of 8
    assert (8, 0.5) == (every.items, every.accuracy)


def test_a_shadow_version_is_judged_by_the_same_reviews(engine: Engine, settings: Settings) -> None:
    put_in_production(engine)
    classify(engine, 1, [GOOD, GOOD, BAD, BAD])
    classify(engine, 1, [GOOD, BAD, BAD, BAD], version="2", production=False)
    review(engine, 1, [GOOD, BAD, BAD, BAD])
    quality.evaluate(engine, settings, now=NOW)
    assert {"1": 0.75, "2": 1.0} == {version: each.accuracy for version, each in found(engine).items()}


def test_the_newest_decision_on_the_text_that_was_judged_counts(engine: Engine, settings: Settings) -> None:
    put_in_production(engine)
    classify(engine, 1, [GOOD] * 6)
    review(engine, 1, [BAD] * 6)
    # Given an item decided again later, for another reason; one skipped, one claimed, neither of which is a decision
    review(engine, 1, [GOOD], origin="low_confidence", at=NOW + timedelta(hours=1))
    review(engine, 2, [GOOD], state="skipped", at=NOW + timedelta(hours=1))
    review(engine, 3, [GOOD], state="claimed", at=NOW + timedelta(hours=1))
    # and one whose text has changed since, and has another result now
    Sink(engine).write([comment("4", 60, GOOD)], NOW)
    # and one that was sent again with the same text, by its fingerprint, and one with another
    review(engine, 5, [GOOD], at=NOW + timedelta(hours=1), fingerprint=fingerprint("text of 70"))
    review(engine, 6, [GOOD], at=NOW + timedelta(hours=1), fingerprint=fingerprint("something else"))
    Sink(engine).write([comment("5", 70, GOOD), comment("6", 70, GOOD)], NOW)
    # When they are read
    judged = reviewed.read(engine, Task.SENTIMENT, settings)["tiny", "1"]
    # Then four are left: the first decided anew, two as they were, and the same text sent again
    assert [(BAD, True), (BAD, True), (GOOD, True), (GOOD, True)] == sorted(
        (each.judged.truth, each.is_random) for each in judged
    )


def test_an_accepted_result_needs_no_label_and_a_rule_is_no_model(engine: Engine, settings: Settings) -> None:
    put_in_production(engine)
    sure, ruled = ticket("1", score=0.9), ticket("2", score=1.0)
    ruled = ruled._replace(predictions=(ruled.predictions[1]._replace(stage=Stage.RULE),))
    unsure = ticket("3")
    scores = {"billing": 0.2, "other": 0.1}
    unsure = unsure._replace(predictions=(unsure.predictions[1]._replace(score=0.2, scores=scores),))
    Sink(engine).write([sure, ruled, unsure], NOW)
    review(engine, 1, [None] * 3, task="routing", predicted_label="billing")  # type: ignore[list-item]
    judged = reviewed.read(engine, Task.ROUTING, settings)["tiny", "1"]
    # Then what goes to triage, by the settings' threshold, is not decided by the model
    assert [("billing", 0.9, True), ("billing", 0.2, False)] == [
        (each.judged.truth, each.judged.score, each.judged.decided) for each in judged
    ]


def test_a_second_look_on_the_same_day_adds_no_row(engine: Engine, settings: Settings) -> None:
    put_in_production(engine)
    classify(engine, 1, [GOOD] * 3)
    review(engine, 1, [GOOD, GOOD])
    assert 2 == quality.evaluate(engine, settings).changed
    # When nothing has changed, then nothing is written
    assert 0 == quality.evaluate(engine, settings).changed
    # When there is one review more, then today's rows are changed
    review(engine, 3, [BAD])
    assert 2 == quality.evaluate(engine, settings).changed
    assert (2, 3) == (rows(engine), found(engine)["1"].items)
    # When it is another day and nothing has changed, then nothing is written either; else there are new rows
    with engine.begin() as connection:
        connection.execute(update(evaluations).values(created_at=NOW))
    assert (0, 2) == (quality.evaluate(engine, settings).changed, rows(engine))
    review(engine, 3, [GOOD], at=NOW + timedelta(hours=1))
    assert (2, 4) == (quality.evaluate(engine, settings).changed, rows(engine))


def test_before_a_worker_has_run_there_is_nothing(engine: Engine, settings: Settings, fenliu: Fenliu) -> None:
    assert (None, ()) == (quality.evaluate(engine, settings).production, quality.evaluate(engine, settings).made)
    done = fenliu("quality", "evaluate", "--json")
    assert (0, {"changed": 0, "evaluations": []}) == (done.returncode, json.loads(done.stdout))
    assert "start a worker" in done.stderr
    assert [] == quality.take_reference(engine, settings)


# --- the starter set -------------------------------------------------------------------------------------------------


def test_the_starter_set_is_measured_once_per_version(engine: Engine, settings: Settings) -> None:
    # Given a model that calls everything positive
    put_in_production(engine)
    production = quality.in_production(engine)
    assert production is not None
    assert [Task.SENTIMENT] == starter.to_measure(engine, production)
    answers = [Answer(GOOD, 0.6, {GOOD: 0.6, BAD: 0.4})] * 50
    # When it answers, then half is right, none is covered, and it is not asked again
    made = starter.store(engine, Task.SENTIMENT, ("tiny", "1"), answers, settings)
    assert (0.5, 50, 0) == (made.accuracy, made.items, made.metrics["covered"]["right"])
    assert [] == starter.to_measure(engine, production)
    assert {GOOD} == {each["predicted"] for each in found(engine, "starter")["1"].metrics["answers"]}
    # And a new version is
    assert [Task.SENTIMENT] == starter.to_measure(engine, replace(production, version="2"))
    # And a model with sentiments of other names never
    assert [] == starter.to_measure(engine, replace(production, version="3", labels=("good", "bad")))


def test_a_prediction_that_is_not_sure_is_not_covered(engine: Engine, settings: Settings) -> None:
    put_in_production(engine)
    done = [comment(str(n)) for n in (1, 2)]
    unsure = done[1]._replace(predictions=(sentiment(score=0.69),))
    Sink(engine).write([done[0], unsure], NOW)
    review(engine, 1, [GOOD, BAD])
    quality.evaluate(engine, settings, now=NOW)
    made = found(engine)["1"].metrics
    assert (1, 2, 1.0) == (made["covered"]["right"], made["covered"]["items"], made["covered_accuracy"]["value"])
