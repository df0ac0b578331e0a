"""Reviews with a real worker: an example that routes the next ticket, and an export that training reads."""

from __future__ import annotations

import random
import time
from pathlib import Path

from schemas.names import Task
from tests.acceptance.conftest import Place
from tests.conftest import Fenliu
from training.data_files import read_rows
from worker.desk import review_examples, review_queue, reviews
from worker.desk.review_pick import Which

LATE = "快递三天没更新了，物流太慢"
ROUTING = Which(Task.ROUTING)
MOST_S = 5


def _routed(place: Place, item_id: str) -> list[tuple[object, ...]]:
    return [
        row[1:]
        for row in place.rows(
            "SELECT item_id, a.team, p.route_set_version FROM assignments a JOIN predictions p USING (source, item_id)"
            " WHERE p.task = 'routing' AND p.current"
        )
        if row[0] == item_id
    ]


def test_a_correction_made_an_example_routes_the_next_ticket_and_can_be_trained_on(
    place: Place, fenliu: Fenliu, tmp_path: Path
) -> None:
    # Given teams that are well described, a ticket that a worker has routed by that, and a reviewer who knows better
    place.apply_sample_routes()
    place.workers.start()
    place.add([{"id": "first", "kind": "ticket", "text": LATE}, {"id": "note", "text": '很好，\n"真的"\r\n好'}])
    place.wait_until_empty(60)
    assert [("物流配送", 1)] == _routed(place, "first")
    always = place.settings.model_copy(update={"review_random_share": 1.0})
    shown = review_queue.claim(place.engine, always, "li", ROUTING, random.Random(1))
    assert shown is not None
    decision = reviews.decide(place.engine, shown.id, "li", "技术故障")
    assert ("first", "技术故障", True) == (decision.item_id, decision.team, decision.moved)
    # When its text is made an example with one click
    assert 2 == review_examples.add_example(place.engine, decision.id, "li").version
    # Then a ticket that comes once the worker has looked again, which is within 5 s, goes to that team
    assert place.settings.routes_poll_s < MOST_S
    time.sleep(place.settings.routes_poll_s)
    place.add([{"id": "next", "kind": "ticket", "text": LATE + "了"}])
    place.wait_until_empty(60)
    assert [("技术故障", 2)] == _routed(place, "next")

    # When a comment is reviewed as well and both are exported
    while shown := review_queue.claim(place.engine, always, "li", Which(Task.SENTIMENT)):
        reviews.decide(place.engine, shown.id, "li", "negative" if shown.item_id == "note" else None)
    files = {task: tmp_path / f"{task}.csv" for task in Task}
    for task, file in files.items():
        assert 0 == fenliu("reviews", "export", str(file), "--task", task).returncode
    # Then training reads them, with every sign of every text
    assert [(LATE, "技术故障")] == [(row.text, row.label) for row in read_rows(files[Task.ROUTING])]
    read = {row.text: row.label for row in read_rows(files[Task.SENTIMENT], allowed=("negative", "positive"))}
    assert "negative" == read['很好，\n"真的"\r\n好']
