"""Label sets, labels files and routes files: what is read, and what is refused with which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import LabelsError
from schemas.labels import (
    MAX_DESCRIPTION_CHARS,
    MAX_EXAMPLES,
    MAX_LABEL_CHARS,
    MAX_LABELS,
    Label,
    LabelSet,
    label_set,
    parse_labels_text,
)
from schemas.routes import RouteSet, read_labels_file, read_routes_file


def test_a_list_gives_bare_labels_in_order() -> None:
    assert LabelSet((Label("物流"), Label("账单"))) == label_set([" 物流 ", "账单"])
    assert ("物流", "账单") == label_set(("物流", "账单")).names


def test_a_mapping_gives_descriptions_examples_and_thresholds() -> None:
    given_labels = {
        "物流": "快递和配送",
        "账单": None,
        "退款": {"description": " 退货和退款 ", "examples": ["钱没到账"], "threshold": 1},
        "其他": {"description": None},
        "空": "",
    }
    assert (
        Label("物流", "快递和配送"),
        Label("账单"),
        Label("退款", "退货和退款", ("钱没到账",), 1.0),
        Label("其他"),
        Label("空"),
    ) == label_set(given_labels).labels


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("物流", "must be a list"),
        (5, "must be a list"),
        (None, "must be a list"),
        ([], "has no label"),
        ({}, "has no label"),
        ([f"label {number}" for number in range(MAX_LABELS + 1)], f"at most {MAX_LABELS}"),
        (["a", "b", " a"], "names 'a' twice"),
        ([""], "a label is empty"),
        ([5], "a label must be text, not int"),
        ([True], "a label must be text, not bool"),
        (["x" * (MAX_LABEL_CHARS + 1)], f"at most {MAX_LABEL_CHARS}"),
        (["a\0"], "NUL"),
        (["\ud800"], "surrogate"),
        ({"a": 5}, "must have a description or an object"),
        ({"a": {"description": 0}}, "must be text, not int"),
        ({"a": {"description": "x" * (MAX_DESCRIPTION_CHARS + 1)}}, f"at most {MAX_DESCRIPTION_CHARS}"),
        ({"a": {"desc": "x"}}, "unknown key 'desc'"),
        ({"a": {"examples": "x"}}, "must be a list of texts"),
        ({"a": {"examples": {"x": 1}}}, "must be a list of texts"),
        ({"a": {"examples": [""]}}, "an example of label 'a' is empty"),
        ({"a": {"examples": ["x"] * (MAX_EXAMPLES + 1)}}, f"at most {MAX_EXAMPLES}"),
        ({"a": {"threshold": 1.01}}, "from 0 to 1"),
        ({"a": {"threshold": float("nan")}}, "from 0 to 1"),
        ({"a": {"threshold": True}}, "from 0 to 1"),
        ({"a": {"threshold": "0.5"}}, "from 0 to 1"),
    ],
)
def test_what_breaks_a_rule_is_refused_and_named(value: object, problem: str) -> None:
    with pytest.raises(LabelsError) as caught:
        label_set(value)
    assert problem in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(JSON)
def test_any_json_gives_labels_or_a_labels_error(value: object) -> None:
    try:
        labels = label_set(value)
    except LabelsError:
        return
    assert len(labels.names) == len(set(labels.names)) > 0
    assert all(name.strip() == name != "" for name in labels.names)


def test_labels_on_a_command_line() -> None:
    assert ("好评", "差评", "中性") == parse_labels_text(" 好评,差评，中性 ,").names
    with pytest.raises(LabelsError):
        parse_labels_text(" , ")


# --- files -----------------------------------------------------------------------------------------------------------

DETAILS = st.none() | st.text(st.characters(categories=["L", "N", "P"]), max_size=8)


@given(
    st.dictionaries(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), DETAILS, min_size=1),
    st.sampled_from([".json", ".yaml"]),
)
def test_a_file_says_the_same_in_either_form(
    tmp_path_factory: pytest.TempPathFactory, labels: dict[str, str | None], suffix: str
) -> None:
    path = tmp_path_factory.mktemp("labels") / f"labels{suffix}"
    as_yaml = yaml.safe_dump(labels, allow_unicode=True, sort_keys=False)
    path.write_text(json.dumps(labels) if suffix == ".json" else as_yaml)
    assert label_set(labels) == read_labels_file(path)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_file_may_have_a_byte_order_mark_and_merged_defaults(tmp_path: Path) -> None:
    content = "\ufeff账单: &default {description: 付款, threshold: 0.5}\n物流: {<<: *default, description: 快递}\n"
    assert (Label("账单", "付款", (), 0.5), Label("物流", "快递", (), 0.5)) == read_labels_file(
        write(tmp_path / "labels.yaml", content)
    ).labels


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.yaml", "a: 1\n", "must have a description"),
        ("a.yaml", "a: x\na: y\n", "'a' stands twice"),
        ("a.yaml", "a: {threshold: 0.1, threshold: 0.2}\n", "'threshold' stands twice"),
        ("a.json", '{"a": "x", "a": "y"}', "'a' stands twice"),
        ("a.yaml", "a: [\n", "cannot be read as YAML or JSON"),
        ("a.json", "{", "cannot be read as YAML or JSON"),
        ("a.yaml", "a: !!python/object/apply:os.getcwd []\n", "cannot be read as YAML or JSON"),
        ("a.yaml", "a: 2026-13-45\n", "cannot be read as YAML or JSON"),
        ("a.yaml", "---\na: x\n---\nb: y\n", "cannot be read as YAML or JSON"),
        ("a.yaml", "yes: x\n", "a label must be text, not bool"),
        ("a.yaml", "", "must be a list"),
        ("a.yaml", "[" * 100_000, "cannot be read as YAML or JSON"),
        ("a.json", "[" * 100_000, "cannot be read as YAML or JSON"),
        ("a.yaml", "账单: x\n".encode("gb18030"), "is not UTF-8"),
    ],
)
def test_a_file_that_is_wrong_says_so_with_its_name(
    tmp_path: Path, name: str, content: str | bytes, problem: str
) -> None:
    path = write(tmp_path / name, content)
    for read in (read_labels_file, read_routes_file):
        with pytest.raises(LabelsError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert problem in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="No such file"):
        read_labels_file(tmp_path / "none.yaml")
    with pytest.raises(LabelsError, match="directory"):
        read_labels_file(tmp_path)


def test_a_routes_file_names_its_set_or_is_the_default_one(tmp_path: Path) -> None:
    teams = LabelSet((Label("账单", "付款"), Label("物流")))
    named = write(tmp_path / "named.yaml", "route_set: vip\nteams: {账单: 付款, 物流: }\n")
    assert RouteSet("vip", teams) == read_routes_file(named)
    bare = write(tmp_path / "bare.yaml", "账单: 付款\n物流: null\n")
    assert RouteSet("default", teams) == read_routes_file(bare)
    listed = write(tmp_path / "listed.yaml", "teams: [账单, 物流]\n")
    assert ("账单", "物流") == read_routes_file(listed).labels.names


def test_teams_can_be_disabled(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "teams:\n  a: {enabled: false}\n  b: {enabled: true, threshold: 0.5}\n  c: x\n")
    expected = RouteSet("default", LabelSet((Label("a"), Label("b", threshold=0.5), Label("c", "x"))), frozenset("a"))
    assert expected == read_routes_file(file)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("teams: {a: x}\nteam: y\n", "unknown key 'team'"),
        ("teams: {triage: x}\n", "'triage' is where undecided tickets go"),
        ("route_set: ''\nteams: {a: x}\n", "route_set is empty"),
        ("route_set: [a]\nteams: {a: x}\n", "route_set must be text"),
        ("teams: {a: {enabled: 1}}\n", "enabled of label 'a' must be true or false"),
        ("teams: {a: {enabled: false, color: red}}\n", "unknown key 'color'"),
        ("teams:\n", "must be a list"),
    ],
)
def test_a_routes_file_that_is_wrong_says_so(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(LabelsError) as caught:
        read_routes_file(write(tmp_path / "routes.yaml", content))
    assert problem in str(caught.value)


def test_the_shipped_routes_are_right() -> None:
    sample = Path(__file__).parent.parent.parent / "producers" / "sample" / "routes.yaml"
    assert 8 == len(read_routes_file(sample).labels.names)


def test_label_sets_are_values() -> None:
    value: Any = {"a": {"examples": ["x"]}}
    assert hash(label_set(value)) == hash(label_set(value))


def test_a_routes_file_will_do_as_a_labels_file(tmp_path: Path) -> None:
    # Given a routes file with one team that is disabled
    path = tmp_path / "routes.yaml"
    path.write_text("route_set: default\nteams:\n  物流: 快递\n  旧: {description: 旧, enabled: false}\n", "utf-8")
    # When it is read as labels, then the others are the labels
    assert LabelSet((Label("物流", "快递"),)) == read_labels_file(path)
