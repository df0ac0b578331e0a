"""Routing tickets to teams with a real worker: rules, new versions without a restart, and people's decisions."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.conftest import SAMPLE_ROUTES, Place
from tests.conftest import Fenliu
from tests.waiting import wait_for

LATE = "快递三天没更新了，物流太慢"
VIP = """\
rules:
  - when: meta.plan == "enterprise"
    team: 大客户
teams:
  大客户: {threshold: 1}
"""


def _decided(place: Place, item_id: str) -> tuple[object, ...]:
    """Team, stage, and the versions that the assignment and the result name."""
    rows = place.rows(
        "SELECT a.item_id, a.team, a.status, p.stage, p.route_set_version, a.route_set_version"
        " FROM assignments a JOIN predictions p USING (source, item_id) WHERE p.current AND p.task = 'routing'"
    )
    return next((tuple(row[1:]) for row in rows if row[0] == item_id), ())


def test_a_new_version_decides_without_a_restart_and_a_persons_decision_outlives_it(
    place: Place, fenliu: Fenliu, tmp_path: Path
) -> None:
    # Given a worker, and a ticket that the first version has routed by the model
    place.apply_sample_routes()
    place.workers.start()
    place.add([{"id": "first", "kind": "ticket", "text": LATE, "plan": "enterprise"}])
    place.wait_until_empty(60)
    assert ("物流配送", "auto", "encoder", 1, 1) == _decided(place, "first")

    # When a version with a rule is tried, then nothing has changed yet
    file = tmp_path / "routes.yaml"
    strict = SAMPLE_ROUTES.read_text().replace("  发票开具:\n", "  发票开具:\n    threshold: 1\n")
    file.write_text(strict.replace("teams:\n", VIP))
    tried = json.loads(fenliu("routes", "test", str(file), "--json").stdout)
    assert [{"from": "物流配送", "to": "大客户", "tickets": 1}] == tried["moves"]
    # and once it is applied, the same worker follows it
    assert 0 == fenliu("routes", "apply", str(file)).returncode
    sent = 0

    def follows() -> bool:
        nonlocal sent
        sent += 1
        place.add([{"id": f"next {sent}", "kind": "ticket", "text": LATE, "meta": '{"plan": "enterprise"}'}])
        place.wait_until_empty(60)
        return _decided(place, f"next {sent}") == ("大客户", "auto", "rule", 2, 2)

    wait_for(follows, 60, "a ticket is routed by version 2")
    # and a ticket that no rule decides, and one that its threshold sends to triage, name that version, too
    unsure = {"id": "unsure", "kind": "ticket", "text": "电子发票怎么开，抬头写错了"}
    place.add([{"id": "other", "kind": "ticket", "text": LATE}, unsure])
    place.wait_until_empty(60)
    assert ("物流配送", "auto", "encoder", 2, 2) == _decided(place, "other")
    assert ("triage", "triage", "encoder", 2, 2) == _decided(place, "unsure")
    ((who, why),) = place.rows(f"SELECT who, why FROM assignment_events WHERE item_id = 'next {sent}'")
    assert ("rules of default 2", 'rule: meta.plan == "enterprise"') == (who, why)

    # When a person gives the first ticket to another team, and it is sent again
    moved = fenliu("tickets", "assign", "first", "退货退款", "--by", "li", "--why", "要退款")
    assert (0, "default/first: 物流配送 → 退货退款\n") == (moved.returncode, moved.stdout)
    place.add([{"id": "first", "kind": "ticket", "text": LATE, "plan": "enterprise"}])
    place.wait_until_empty(60)
    # Then the newest result is the rule's, and the ticket is where the person put it
    assert ("退货退款", "overridden", "rule", 2, 1) == _decided(place, "first")
    shown = json.loads(fenliu("tickets", "show", "first", "--json").stdout)
    assert [(None, "物流配送"), ("物流配送", "退货退款")] == [
        (event["from_team"], event["to_team"]) for event in shown["history"]
    ]
    # until it is given back
    assert "退货退款 → 大客户" in fenliu("tickets", "release", "first", "--by", "li").stdout
    assert ["物流配送", "退货退款", "大客户"] == [
        team for (team,) in place.rows("SELECT team FROM outbox WHERE item_id = 'first' ORDER BY id")
    ]
