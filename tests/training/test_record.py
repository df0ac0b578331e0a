"""What the default recipe leaves behind: its log and its curves."""

import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from training import record


def test_a_resumed_run_goes_on_in_the_same_log_and_its_losses_become_a_picture(tmp_path: Path) -> None:
    # Given a run of two stages that was started twice, the second stage unfinished
    said: list[str] = []
    record.logged(tmp_path, said.append)("broad: step 100")
    record.logged(tmp_path, said.append)("resumed")
    (tmp_path / "broad.json").write_text(json.dumps({"losses": [[20, 0.7], [40, 0.5]]}), "utf-8")
    # When its record is kept
    files = record.kept(tmp_path, ["broad", "small"])
    # Then both starts are in the log, and there is a picture of the stage that has losses
    assert ["broad: step 100", "resumed"] == said
    lines = files["training_log.txt"].splitlines()
    assert [b"broad: step 100", b"resumed"] == [line.split(b" ", 2)[2] for line in lines]
    assert files["learning_curves.png"].startswith(b"\x89PNG")


def test_without_losses_there_is_no_picture(tmp_path: Path) -> None:
    assert {} == record.kept(tmp_path, ["broad"])
