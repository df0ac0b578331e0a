"""A text that ends the worker's process, among others that must not suffer; the worker is started again each time."""

from __future__ import annotations

from pathlib import Path

from benchmarks.chaos import poison
from benchmarks.chaos.kept_worker import kept_worker, path_with
from benchmarks.chaos.misbehaving import Marker, write_model
from schemas.names import Lane
from tests.acceptance.conftest import Place
from tests.waiting import wait_for


def test_a_text_that_crashes_becomes_a_dead_letter_and_its_neighbours_get_their_rows(
    place: Place, tmp_path: Path
) -> None:
    # Given a model that ends its process on one text, and neighbours of that in both inboxes
    settings = place.settings.model_copy(update={"home": tmp_path, "poison_after": 1, "claim_idle_s": 1.0, "slots": 2})
    model, crashing_id = write_model(settings.models_home, settings.model)
    settings = settings.model_copy(update={"model": model})
    neighbours = {lane: [{"id": f"{lane}-{number}", "text": f"很好 {number}"} for number in range(20)] for lane in Lane}
    place.add(neighbours[Lane.LIVE])
    place.add([{"id": "culprit", "text": f"好的 {Marker.CRASHES}"}, *neighbours[Lane.BULK]], Lane.BULK)
    # When a worker works them off that is started again whenever it ends
    environment = {"PYTHONPATH": path_with(poison.CRASHING), poison.CRASHING_ID: str(crashing_id)}
    with kept_worker(settings, tmp_path / "worker.log", environment=environment) as worker:
        wait_for(lambda: place.left() == (0, 0), 120, "inboxes empty")
        ends = [end.code for end in worker.ends]
    # Then it crashed with others and alone, and then the culprit stands by itself among the dead letters
    assert [-11, -11] == ends
    assert [("culprit", "poison", "text")] == place.rows("SELECT item_id, code, field FROM dead_letters")
    # And every neighbour has its one row
    rows = place.rows("SELECT item_id, count(*) FROM predictions WHERE current GROUP BY 1")
    assert {(item["id"], 1) for items in neighbours.values() for item in items} == set(rows)
