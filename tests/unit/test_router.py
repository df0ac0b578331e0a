"""The decision on a ticket's scores. The router's cache is tested on a real database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.labels import Label, LabelSet
from schemas.names import TRIAGE_TEAM, AssignmentStatus
from worker.outcome import Assignment
from worker.router import decide

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
