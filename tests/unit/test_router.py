"""The decision on a ticket's scores. The router's cache is tested on a real database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.labels import Label, LabelSet
from schemas.names import TRIAGE_TEAM, AssignmentStatus, Stage
from schemas.routes import Rule
from worker.outcome import Assignment
from worker.router import decide, decide_by, decided

LABELS = LabelSet((Label("账单"), Label("物流", threshold=0.8), Label("售后", threshold=0.0)))


@pytest.mark.parametrize(
    ("scores", "threshold", "margin", "team"),
    [
        ({"账单": 0.7, "物流": 0.2, "售后": 0.1}, 0.5, 0.0, "账单"),
        ({"账单": 0.5, "物流": 0.3, "售后": 0.2}, 0.5, 0.0, "账单"),  # at the threshold is enough
        ({"账单": 0.49, "物流": 0.3, "售后": 0.21}, 0.5, 0.0, TRIAGE_TEAM),
        ({"物流": 0.79, "账单": 0.2, "售后": 0.01}, 0.5, 0.0, TRIAGE_TEAM),  # below its own threshold
        ({"售后": 0.4, "账单": 0.3, "物流": 0.3}, 0.5, 0.0, "售后"),  # its own threshold is lower
        ({"账单": 0.6, "售后": 0.35, "物流": 0.05}, 0.5, 0.25, "账单"),
        ({"账单": 0.6, "售后": 0.36, "物流": 0.04}, 0.5, 0.25, TRIAGE_TEAM),  # too close to the second
        ({"物流": 0.05, "账单": 0.9, "售后": 0.05}, 0.5, 0.5, "账单"),  # in whatever order
        ({"账单": 1.0}, 0.5, 1.0, "账单"),  # nobody to be close to
    ],
)
def test_the_best_team_gets_it_unless_it_is_not_sure(
    scores: dict[str, float], threshold: float, margin: float, team: str
) -> None:
    status = AssignmentStatus.TRIAGE if team == TRIAGE_TEAM else AssignmentStatus.AUTO
    assert Assignment(team, status, max(scores.values())) == decide(scores, LABELS, threshold, margin)


@given(st.dictionaries(st.sampled_from(LABELS.names), st.floats(0, 1), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_rule_sends_no_ticket_out_of_triage(
    scores: dict[str, float], threshold: float, margin: float
) -> None:
    loose, strict = decide(scores, LABELS, threshold, 0), decide(scores, LABELS, threshold, margin)
    assert strict.team in {loose.team, TRIAGE_TEAM}
    assert max(scores.values()) == loose.score == strict.score


@given(st.dictionaries(st.sampled_from(LABELS.names), st.floats(0, 1), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_what_is_stored_leads_to_the_decision_that_was_made(
    scores: dict[str, float], threshold: float, margin: float
) -> None:
    # Given scores in the order of the model, and as Postgres gives them back
    descending = dict(sorted(scores.items(), key=lambda each: -each[1]))
    shuffled = dict(sorted(scores.items()))
    label = next(iter(descending))
    assert decide(descending, LABELS, threshold, margin) == decided(
        Stage.ENCODER, label, shuffled, labels=LABELS, threshold=threshold, margin=margin
    )


@pytest.mark.parametrize("team", ["账单", TRIAGE_TEAM])
def test_a_rule_decides_for_good(team: str) -> None:
    by_rule = decide_by(Rule.of("meta.a == " + "1" * 300, team))
    status = AssignmentStatus.TRIAGE if team == TRIAGE_TEAM else AssignmentStatus.AUTO
    assert (team, status, 1.0) == (by_rule.team, by_rule.status, by_rule.score)
    assert (200, "rule: meta.a == 111", "…") == (len(by_rule.why), by_rule.why[:19], by_rule.why[-1])
    stored = decided(Stage.RULE, team, {team: 1.0}, labels=LABELS, threshold=1.0, margin=1.0)
    assert (team, status, 1.0) == (stored.team, stored.status, stored.score)
