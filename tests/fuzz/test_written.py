"""Labels and routes files as no editor should save them: a set of labels, or an error that names the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.condition_text import parse_condition
from schemas.conditions import Facts
from schemas.errors import ConditionError, LabelsError
from schemas.routes import read_labels_file, read_routes_file
from tests.fuzz.budget import examples
from tests.fuzz.mutations import mutated_bytes, mutated_json
from tests.fuzz.values import json_texts, texts

ROUTES = {
    "route_set": "default",
    "rules": [{"when": 'meta.plan == "pro" and not (text contains "x")', "team": "物流"}],
    "teams": {
        "物流": {"description": "太慢", "examples": ["到哪了"], "threshold": 0.5},
        "退款": "钱",
        "旧": {"enabled": False},
        "人工": {"by_model": False},
    },
}
WRITTEN = """\
route_set: default
rules:
  - {when: 'meta.plan == "pro"', team: 物流}
teams:
  物流: &base {description: 太慢, threshold: 0.5}
  退款: {<<: *base, examples: [到哪了]}
"""


def check(path: Path) -> None:
    """Whatever is in it, reading gives labels or an error of ours of readable length."""
    for read in (read_labels_file, read_routes_file):
        try:
            read(path)
        except (LabelsError, ConditionError) as error:
            assert str(error).startswith(f"{path}: ")
            assert len(str(error)) < 3_000


@given(value=mutated_json(ROUTES), suffix=st.sampled_from([".json", ".yaml"]))
@examples(80)
def test_a_changed_routes_file_is_read_or_refused(tmp_path: Path, value: object, suffix: str) -> None:
    (path := tmp_path / f"routes{suffix}").write_text(json.dumps(value))
    check(path)


@given(content=mutated_bytes(WRITTEN.encode()))
@examples(80)
def test_a_damaged_routes_file_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "routes.yaml").write_bytes(content)
    check(path)


TAGS = (
    "!!bool", "!!int", "!!float", "!!timestamp", "!!binary", "!!null", "!!set", "!!omap", "!!pairs",
    "!!python/name:os", "!x",
)  # fmt: skip


@given(tag=st.sampled_from(TAGS), value=texts.filter(lambda text: len(text) < 100))
@examples(60)
def test_a_tagged_value_is_read_or_refused(tmp_path: Path, tag: str, value: str) -> None:
    (path := tmp_path / "labels.yaml").write_text(f"a: {tag} {json.dumps(value)}\n")
    check(path)


@given(value=json_texts)
@examples(60)
def test_any_json_is_labels_or_refused(tmp_path: Path, value: str) -> None:
    (path := tmp_path / "labels.json").write_text(value, encoding="utf-8")
    check(path)


def _laughs(merge: bool) -> str:
    lines = ["a0: &a0 {x: 1, y: 2}" if merge else "- &a0 [x]"]
    for level in range(1, 25):
        before = f"*a{level - 1}"
        ten = ", ".join([before] * 10)
        lines.append(f"a{level}: &a{level}\n  <<: [{before}, {before}]" if merge else f"- &a{level} [{ten}]")
    return "\n".join(lines)


BOMBS = {
    "aliases in lists": _laughs(merge=False),
    "aliases merged": _laughs(merge=True),
    "one alias very often": "a: &a {x: 1}\nb:\n  <<: [" + ", ".join(["*a"] * 100_000) + "]",
    "many keys": "\n".join(f"k{number}: v" for number in range(6_000)),
    "deep lists": "[" * 1_200,
    "deep mappings": "{a: " * 1_200,
    "an alias of itself": "&a [*a]",
    "a key that is a list": "? [a]\n: b",
    "no number": "a: {threshold: .nan}",
    "very large": "a: " + "x" * 9_000_000,
}


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
@pytest.mark.parametrize("bomb", list(BOMBS.values()), ids=list(BOMBS))
def test_a_file_that_unfolds_without_end_is_refused(tmp_path: Path, bomb: str, suffix: str) -> None:
    (path := tmp_path / f"labels{suffix}").write_text(bomb)
    check(path)
    with pytest.raises(LabelsError):
        read_labels_file(path)


def test_a_routes_file_without_an_enabled_team_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "routes.yaml").write_text("teams: {a: {enabled: false}, b: {enabled: false}}")
    with pytest.raises(LabelsError, match="enabled: false for every team"):
        read_routes_file(path)


WORDS = st.sampled_from(
    ["meta.a", 'meta["b"]', "text", "source", "meta", "==", "!=", "<", "in", "not", "contains", "starts_with", "exists",
     "and", "or", "(", ")", "[", "]", ",", '"x"', "'y\\'", "1", "-1e400", "1e5", "9" * 400, "true", "null", "“", "\0",
     "\ud800", "\n"]
)  # fmt: skip


@given(text=st.one_of(st.lists(WORDS, max_size=14).map(" ".join), texts), meta=json_texts)
@examples(150)
def test_a_condition_is_read_and_asked_or_refused(text: str, meta: str) -> None:
    try:
        condition = parse_condition(text)
    except ConditionError as error:
        assert str(error)
        return
    try:
        facts = json.loads(meta)
    except (ValueError, RecursionError):
        facts = {}
    condition.holds(Facts("shop", "ticket", "1", "x", facts if isinstance(facts, dict) else {"a": facts, "b": facts}))
    assert condition == parse_condition(str(condition))
