"""Quality with real processes: the clock has it measured at night, with the model in production."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from schemas.names import Task
from tests.acceptance.conftest import Place
from tests.conftest import ROOT, Fenliu, environment, fenliu_command
from tests.waiting import wait_for
from worker.desk import starter

TICK = {"FENLIU_TICK_S": "0.5"}
NIGHTS = 2
DUE = "UPDATE schedules SET next_run_at = now(), last_outcome = NULL WHERE job = 'quality'"


def of_schedule(place: Place, column: str) -> Any:
    return [value for (value,) in place.rows(f"SELECT {column} FROM schedules WHERE job = 'quality'")]


def test_it_is_measured_every_night(place: Place, fenliu: Fenliu) -> None:
    # Given a clock and a worker, which has never been asked anything
    place.workers.start(**TICK)
    with subprocess.Popen(fenliu_command("beat"), cwd=ROOT, env=environment(place.settings, **TICK)) as beat:
        try:
            wait_for(lambda: ["0 4 * * *"] == of_schedule(place, "cron"), 60, "it is scheduled")
            for _ in range(NIGHTS):
                # When night comes
                with place.engine.begin() as connection:
                    connection.exec_driver_sql(DUE)
                wait_for(lambda: ["started"] == of_schedule(place, "last_outcome"), 30, "it is started")
                # Then the starter set is measured, once
                wait_for(lambda: 2 == place.one("SELECT count(*) FROM evaluations"), 60, "it is measured")
            log = place.settings.home / "logs" / "quality.log"
            wait_for(lambda: NIGHTS == log.read_text().count("alerts open"), 60, "both runs have ended")
            assert "Traceback" not in log.read_text()
        finally:
            beat.terminate()
    # And people see it
    shown = json.loads(fenliu("quality", "show", "--json").stdout)
    assert [("routing", "starter", 50), ("sentiment", "starter", 50)] == [
        (each["task"], each["data"], each["items"]) for each in shown
    ]
    # And its answers are those the model gives on the command line
    texts = [item.text for item in starter.read_starter().of(Task.SENTIMENT)]
    predicted = fenliu("predict", "--json", input="\n".join(texts)).stdout.splitlines()
    assert [(each["label"], round(each["score"], 6)) for each in map(json.loads, predicted)] == [
        (each["predicted"], round(each["score"], 6)) for each in shown[1]["metrics"]["answers"]
    ]
    # And no item was stored
    assert 0 == place.one("SELECT count(*) FROM items")
