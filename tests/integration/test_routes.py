"""Route sets in Postgres: versions, concurrent applies, the router's cache, and the commands."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text, update

from schemas.database import make_engine
from schemas.errors import ConditionError, DatabaseUnavailableError
from schemas.labels import Label, LabelSet
from schemas.routes import RouteSet, Rule, read_routes_file
from schemas.settings import Settings
from schemas.tables import route_sets
from tests.conftest import Fenliu
from worker import routes
from worker.router import Router, RouteSetVersion
from worker.routes import Change, ChangeKind

BILLING = Label("账单", "付款和账单", ("扣了两次钱",), 0.4)
SHIPPING = Label("物流", "快递和配送")


def route_set(*labels: Label, name: str = "default", disabled: frozenset[str] = frozenset()) -> RouteSet:
    return RouteSet(name, LabelSet(labels), disabled)


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    """What has been sent to the database since the test began."""
    sent: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def _note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    return sent


def test_a_set_comes_back_as_it_was_applied(engine: Engine) -> None:
    wanted = route_set(BILLING, SHIPPING, Label("旧", "", (), 0.0), disabled=frozenset(["旧"]))
    applied = routes.apply(engine, wanted, "mei")
    stored = routes.read(engine, "default")
    assert stored is not None
    assert ("default", 1) == (applied.name, applied.version)
    assert (wanted, 1, "mei", True) == (stored.route_set, stored.version, stored.created_by, stored.current)


def test_only_a_difference_makes_a_version(engine: Engine) -> None:
    routes.apply(engine, route_set(BILLING, SHIPPING), "mei")
    again = routes.apply(engine, route_set(BILLING, SHIPPING), "li")
    assert (1, ()) == (again.version, again.changes)

    changed = routes.apply(engine, route_set(BILLING, Label("物流", "快递")), "li")
    assert 2 == changed.version
    assert (Change(ChangeKind.CHANGED, "物流", {"description": ("快递和配送", "快递")}),) == changed.changes

    # Back to what it was: a new version all the same, since versions only go forward.
    back = routes.apply(engine, route_set(BILLING, SHIPPING), "li")
    assert 3 == back.version
    listed = [(each.version, each.current, each.teams, each.created_by) for each in routes.versions(engine, "default")]
    assert [(3, True, 2, "li"), (2, False, 2, "li"), (1, False, 2, "mei")] == listed
    first = routes.read(engine, "default", 1)
    assert first is not None
    assert not first.current


def test_what_changes_is_told_team_by_team() -> None:
    old = route_set(BILLING, SHIPPING)
    new = route_set(SHIPPING, Label("发票"), disabled=frozenset(["物流"]))
    assert {
        (ChangeKind.ADDED, "发票"),
        (ChangeKind.REMOVED, "账单"),
        (ChangeKind.CHANGED, "物流"),
    } == {(change.kind, change.team) for change in routes.compare(old, new)}
    assert (ChangeKind.REORDERED,) == tuple(each.kind for each in routes.compare(old, route_set(SHIPPING, BILLING)))
    assert () == routes.compare(old, old)


def test_rules_are_part_of_the_version(engine: Engine) -> None:
    # Given a set with a rule
    rule = Rule.of('meta.plan == "enterprise"', "账单")
    ruled = RouteSet("default", LabelSet((BILLING, SHIPPING)), rules=(rule,))
    applied = routes.apply(engine, ruled, "mei")
    assert ChangeKind.RULES is applied.changes[-1].kind
    stored = routes.read(engine, "default")
    assert stored is not None
    assert (ruled, rule.when) == (stored.route_set, stored.route_set.rules[0].when)
    # when it is spaced otherwise, then nothing changes; when its team changes, a new version
    respaced = Rule.of("meta.plan=='enterprise'", "账单")
    assert () == routes.apply(engine, RouteSet("default", ruled.labels, rules=(respaced,)), "mei").changes
    other = Rule.of(rule.when, "物流")
    (change,) = routes.apply(engine, RouteSet("default", ruled.labels, rules=(other,)), "mei").changes
    assert {"rules": ((rule.as_written(),), (other.as_written(),))} == change.fields


def test_the_router_follows_rules_and_keeps_what_it_knows_if_it_cannot_read_new_ones(engine: Engine) -> None:
    # Given a router that knows a version with rules
    rules = (Rule.of('meta.plan == "enterprise"', "账单"),)
    routes.apply(engine, RouteSet("default", LabelSet((BILLING,)), rules=rules), "x")
    router = Router(engine, poll_s=0)
    known = router.resolve("default")
    assert RouteSetVersion("default", 1, LabelSet((BILLING,)), rules) == known
    # when a newer release writes rules in words that this one does not know
    routes.apply(engine, route_set(SHIPPING), "x")
    with engine.begin() as connection:
        unknown = [{"when": "text matches 'a'", "team": "物流"}]
        connection.execute(update(route_sets).where(route_sets.c.current).values(rules=unknown))
    # then it goes on with what it knows, and a router that knows nothing says why
    assert known is router.resolve("default")
    with pytest.raises(ConditionError, match="matches"):
        Router(engine, poll_s=0).resolve("default")


def test_concurrent_applies_queue(settings: Settings) -> None:
    # Given many people who apply different teams to one set that does not exist yet, all at once
    engine = make_engine(settings)
    sets = [route_set(Label(f"team {number}")) for number in range(8)]
    start = threading.Barrier(len(sets))

    def apply(wanted: RouteSet) -> int:
        start.wait()
        return routes.apply(engine, wanted, "x").version

    # when they have all come through
    with ThreadPoolExecutor(len(sets)) as pool:
        versions = list(pool.map(apply, sets))
    # then every one has a version of its own and the last one is current
    assert list(range(1, 9)) == sorted(versions)
    current = routes.read(engine, "default")
    assert current is not None
    assert (8, sets[versions.index(8)]) == (current.version, current.route_set)
    engine.dispose()


def test_sets_do_not_touch_each_other(engine: Engine) -> None:
    routes.apply(engine, route_set(BILLING, name="a"), "x")
    routes.apply(engine, route_set(SHIPPING, name="b"), "x")
    routes.apply(engine, route_set(SHIPPING, BILLING, name="b"), "x")
    assert [("a", 1, 1), ("b", 2, 2)] == [(each.name, each.version, each.teams) for each in routes.list_sets(engine)]


def test_the_router_knows_no_set_that_is_not_there_and_finds_it_once_it_is(engine: Engine) -> None:
    router = Router(engine, poll_s=3600)
    assert router.resolve("default") is None
    routes.apply(engine, route_set(BILLING), "x")
    assert RouteSetVersion("default", 1, LabelSet((BILLING,))) == router.resolve("default")


def test_the_router_routes_to_enabled_teams_only(engine: Engine) -> None:
    router = Router(engine, poll_s=0)
    routes.apply(engine, route_set(BILLING, SHIPPING, disabled=frozenset(["物流"])), "x")
    assert RouteSetVersion("default", 1, LabelSet((BILLING,))) == router.resolve("default")
    routes.apply(engine, RouteSet("default", LabelSet((BILLING, SHIPPING)), unscored=frozenset(["物流"])), "x")
    assert RouteSetVersion("default", 2, LabelSet((BILLING,))) == router.resolve("default")
    routes.apply(engine, route_set(BILLING, disabled=frozenset(["账单"])), "x")
    assert router.resolve("default") is None


def test_the_router_asks_once_per_poll(engine: Engine, statements: list[str]) -> None:
    # Given a router that has read a set and need not look again
    routes.apply(engine, route_set(BILLING), "x")
    router = Router(engine, poll_s=3600)
    first = router.resolve("default")
    statements.clear()
    # when many threads ask, then none goes to the database
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(router.resolve, ["default"] * 100))
    assert [first] * 100 == answers
    assert [] == statements


def test_the_router_sees_a_new_version_and_keeps_the_same_object_until_then(engine: Engine) -> None:
    routes.apply(engine, route_set(BILLING), "x")
    router = Router(engine, poll_s=0)
    first = router.resolve("default")
    assert first is router.resolve("default")
    routes.apply(engine, route_set(SHIPPING), "x")
    assert RouteSetVersion("default", 2, LabelSet((SHIPPING,))) == router.resolve("default")


def test_threads_do_not_wait_for_the_one_that_looks(engine: Engine) -> None:
    # Given a router whose next look hangs, as when the database answers slowly
    routes.apply(engine, route_set(BILLING), "x")
    router = Router(engine, poll_s=0)
    known = router.resolve("default")
    looking, go_on = threading.Event(), threading.Event()

    @event.listens_for(engine, "before_cursor_execute")
    def _hang(*_: object) -> None:
        looking.set()
        go_on.wait()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(router.resolve, "default")
        looking.wait()
        # when others ask meanwhile, then they get what is known at once
        assert known is router.resolve("default")
        go_on.set()
        assert known is slow.result()


def test_the_router_goes_on_without_postgres(settings: Settings, engine: Engine) -> None:
    # Given a router that knows one set
    routes.apply(engine, route_set(BILLING), "x")
    own_engine = make_engine(settings)
    router = Router(own_engine, poll_s=0)
    known = router.resolve("default")
    # when the table can no longer be reached
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE route_sets RENAME TO away"))
    # then that set is still served, and one that was never read is an error that can be retried
    assert known is router.resolve("default")
    with pytest.raises(DatabaseUnavailableError):
        router.resolve("other")
    # and when it is back, the router follows again
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO route_sets"))
    routes.apply(engine, route_set(SHIPPING), "x")
    assert RouteSetVersion("default", 2, LabelSet((SHIPPING,))) == router.resolve("default")
    own_engine.dispose()


def test_apply_and_show_on_the_command_line(fenliu: Fenliu, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        "route_set: support\n"
        "teams:\n"
        "  账单: {description: 付款和账单, threshold: 0.4, examples: [扣了两次钱]}\n"
        "  '[SEP] team': what it does\n"
        "  旧: {description: 不再用, enabled: false}\n"
    )
    first = fenliu("routes", "apply", str(file), "--by", "mei")
    assert (0, "") == (first.returncode, first.stderr)
    assert "version 1" in first.stdout
    assert "+ [SEP] team" in first.stdout

    same = fenliu("routes", "apply", str(file), "--json")
    assert {"name": "support", "version": 1, "changes": []} == json.loads(same.stdout)

    rules = "rules: [{when: 'meta.plan == 5', team: 账单}]\n"
    file.write_text(rules + file.read_text().replace("0.4", "0.5"))
    changed = fenliu("routes", "apply", str(file))
    assert "~ 账单: threshold 0.4 → 0.5" in changed.stdout
    assert "+ rule meta.plan == 5 → 账单" in changed.stdout

    shown = json.loads(fenliu("routes", "show", "support", "--json").stdout)
    assert (2, True) == (shown["version"], shown["current"])
    assert {
        "description": "付款和账单",
        "examples": ["扣了两次钱"],
        "threshold": 0.5,
        "enabled": True,
        "by_model": True,
    } == shown["teams"]["账单"]
    assert not shown["teams"]["旧"]["enabled"]
    old = json.loads(fenliu("routes", "show", "support", "--version", "1", "--json").stdout)
    assert (0.4, "mei") == (old["teams"]["账单"]["threshold"], old["created_by"])
    as_table = fenliu("routes", "show").stdout
    assert "[SEP] team" in as_table
    assert "meta.plan == 5" in as_table


def test_what_show_prints_can_be_applied(fenliu: Fenliu, engine: Engine, tmp_path: Path) -> None:
    wanted = route_set(BILLING, SHIPPING, disabled=frozenset(["物流"]))
    wanted = replace(wanted, rules=(Rule.of("meta.vip == true", "账单"), Rule.of('text contains "x"', "triage")))
    routes.apply(engine, wanted, "x")
    shown = json.loads(fenliu("routes", "show", "--json").stdout)
    file = tmp_path / "routes.json"
    file.write_text(json.dumps({name: shown[name] for name in ("route_set", "rules", "teams")}))
    assert wanted == read_routes_file(file)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("teams: {triage: x}", "'triage' is where undecided tickets go"),
        ("teams: {a: {enabled: maybe}}", "enabled of label 'a' must be true or false"),
        ("teams: {a: {threshold: 2}}", "threshold"),
        ("teams: {}", "has no label"),
        ("a: {desc: x}", "unknown key 'desc'"),
        ("a: x\na: y", "stands twice"),
        ("teams: {a: x}\nrules: [{when: meta.b = 1, team: a}]", "rule 1: '=' has no meaning here; write == to compare"),
    ],
)
def test_a_wrong_file_changes_nothing(
    fenliu: Fenliu, engine: Engine, tmp_path: Path, content: str, problem: str
) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(content)
    done = fenliu("routes", "apply", str(file))
    assert 1 == done.returncode
    assert problem in done.stderr
    assert [] == routes.list_sets(engine)


def test_showing_what_is_not_there_fails(fenliu: Fenliu) -> None:
    assert "no route set yet" in fenliu("routes", "show").stdout
    missing = fenliu("routes", "show", "nobody")
    assert 1 == missing.returncode
    assert "'nobody'" in missing.stderr
