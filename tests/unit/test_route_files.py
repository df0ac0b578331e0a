"""Rules in a routes file: what is read, what is refused with which words, and which rule decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.conditions import Facts
from schemas.errors import ConditionError, LabelsError
from schemas.routes import MAX_RULES, Rule, first_rule, read_labels_file, read_routes_file, route_set_of

RULES = """\
route_set: default
rules:
  - when: meta.plan == "enterprise" and not (source in ["test", "staging"])
    team: 大客户
  - when: >-
      text contains "退款"
      or text contains "退货"
    team: triage
teams:
  大客户: {description: 企业客户}
  物流:
  旧: {enabled: false}
"""


def facts(text: str = "你好", **meta: object) -> Facts:
    return Facts("shop", "ticket", "1", text, meta)


def test_rules_are_read_in_order_and_the_first_that_holds_decides(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(RULES)
    rules = read_routes_file(path).rules
    assert ["大客户", "triage"] == [rule.team for rule in rules]
    found = [first_rule(rules, each) for each in (facts("退款", plan="enterprise"), facts("退货"), facts())]
    assert ["大客户", "triage", None] == [rule and rule.team for rule in found]


def test_rules_are_equal_that_mean_the_same() -> None:
    assert Rule.of('meta.plan=="a"', "x") == Rule.of("meta.plan  ==  'a'", "x")
    assert Rule.of("meta.plan == 1", "x") != Rule.of("meta.plan == true", "x")
    assert {"when": "meta.plan  == 1", "team": "x"} == Rule.of("meta.plan  == 1", "x").as_written()


def test_a_team_that_only_rules_fill_is_none_of_the_labels() -> None:
    # Given a team that a rule names and the model is not to choose
    rule = {"when": "meta.vip == true", "team": "b"}
    found = route_set_of({"rules": [rule], "teams": {"a": "x", "b": {"description": "y", "by_model": False}}})
    # then it is a team, with its rule, and no label
    assert ("a", "b") == found.enabled.names
    assert ("a",) == found.scored.names
    assert ["b"] == [each.team for each in found.rules]
    # and a set without any label is refused
    with pytest.raises(LabelsError, match="by_model: false for every team"):
        route_set_of({"teams": {"b": {"by_model": False}}})


def test_a_routes_file_with_rules_will_do_as_a_labels_file(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(RULES)
    assert ("大客户", "物流") == read_labels_file(path).names


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ("x", "rules must be a list of entries with when and team"),
        ({"when": "meta.a == 1", "team": "a"}, "rules must be a list"),
        (["meta.a == 1"], "rule 1 must have when and team, and nothing else"),
        ([{"when": "meta.a == 1"}], "rule 1 must have when and team"),
        ([{"when": "meta.a == 1", "team": "a", "why": "x"}], "nothing else"),
        ([{"when": True, "team": "a"}], "when of rule 1 must be a condition in text, not bool"),
        ([{"when": "meta.a == 1", "team": 5}], "the team of rule 1 must be text"),
        (
            [{"when": "meta.a == 1", "team": "c"}],
            "'c', which is no team of this file: a, triage",
        ),
        ([{"when": "meta.a == 1", "team": "b"}], "rule 1 gives tickets to 'b', which is disabled"),
        ([{"when": "meta.a == 1", "team": "a"}] * (MAX_RULES + 1), f"at most {MAX_RULES}"),
    ],
)
def test_rules_that_are_wrong_say_so(rules: object, problem: str) -> None:
    with pytest.raises(LabelsError) as caught:
        route_set_of({"rules": rules, "teams": {"a": "x", "b": {"enabled": False}}})
    assert problem in str(caught.value)


def test_a_condition_that_is_wrong_is_shown_with_file_and_rule(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(RULES.replace("source in", "sauce in"))
    with pytest.raises(ConditionError) as caught:
        read_routes_file(path)
    first, line, caret = str(caught.value).splitlines()
    assert first.startswith(f"{path}: rule 1: sauce is no field; fields are source, kind, id, text, meta.…")
    assert "sauce" == line[caret.index("^") :][:5]


@pytest.mark.parametrize("content", ["rules: []", "route_set: default", "{rules: [], route_set: shop}"])
def test_a_file_without_teams_is_told_how_to_write_them(tmp_path: Path, content: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(content)
    with pytest.raises(LabelsError, match=r"routes\.yaml: has no teams; write teams:"):
        read_routes_file(path)


def test_a_key_that_is_misspelt_is_answered_with_all_that_a_team_may_have() -> None:
    with pytest.raises(LabelsError, match=r"unknown key 'by_modell'; known: .*threshold, enabled, by_model"):
        route_set_of({"teams": {"a": {"by_modell": False}}})
