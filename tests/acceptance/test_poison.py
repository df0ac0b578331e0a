"""Texts that end the worker's process, among others that must not suffer; the worker is started again as by compose."""

from __future__ import annotations

from pathlib import Path

from benchmarks.chaos import poison
from benchmarks.chaos.kept_worker import kept_worker, path_with
from benchmarks.chaos.misbehaving import Marker, write_model
from schemas.names import Lane
from tests.acceptance.conftest import Place
from tests.waiting import wait_for


def test_texts_that_crash_and_hang_become_dead_letters_and_their_neighbours_get_their_rows(
    place: Place, tmp_path: Path
) -> None:
    # Given a model that crashes on one text and never returns from another, and neighbours in both inboxes
    settings = place.settings.model_copy(
        update={"home": tmp_path, "poison_after": 1, "claim_idle_s": 1.0, "batch_timeout_s": 2.0, "slots": 2}
    )
    model, crashing_id = write_model(settings.models_home, settings.model)
    settings = settings.model_copy(update={"model": model})
    for lane, marker in ((Lane.LIVE, Marker.CRASHES), (Lane.BULK, Marker.HANGS)):
        items = [{"id": f"{lane}-{number}", "text": f"很好 {number}"} for number in range(20)]
        place.add([*items[:7], {"id": marker.name, "text": f"好的 {marker}"}, *items[7:]], lane)
    # When a worker works them off that is started again whenever it ends
    environment = {"PYTHONPATH": path_with(poison.CRASHING), poison.CRASHING_ID: str(crashing_id)}
    with kept_worker(settings, tmp_path / "worker.log", environment=environment) as worker:
        wait_for(lambda: place.left() == (0, 0), 120, "inboxes empty")
        ends = {end.code for end in worker.ends}
    # Then it ended by both, and each culprit stands by itself among the dead letters
    assert {-11, 70} == ends
    letters = place.rows("SELECT item_id, code, field FROM dead_letters ORDER BY item_id")
    assert [("CRASHES", "poison", "text"), ("HANGS", "poison", "text")] == letters
    # And every neighbour has its one row
    rows = place.rows("SELECT item_id, count(*) FROM predictions WHERE current GROUP BY 1")
    assert {(f"{lane}-{number}", 1) for lane in Lane for number in range(20)} == set(rows)
