"""What a run of the default recipe leaves behind beside the model: its log, and the loss of each step as curves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from training.plots import curves_png

LOG_FILE, CURVES_FILE = "training_log.txt", "learning_curves.png"
Say = Callable[[str], None]


def logged(work: Path, say: Say) -> Say:
    """Says each line, and keeps it with the time in the work folder; a resumed run goes on in the same file."""
    path = work / LOG_FILE

    def both(line: str) -> None:
        say(line)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    return both


def kept(work: Path, stages: list[str]) -> dict[str, bytes]:
    """Files for the model folder, of those stages whose losses are in the work folder."""
    panels = {}
    for stage in stages:
        path = work / f"{stage}.json"
        if path.exists():
            losses = json.loads(path.read_text("utf-8"))["losses"]
            panels[stage] = {"training loss": [(float(step), loss) for step, loss in losses]}
    files = {}
    if panels:
        files[CURVES_FILE] = curves_png(panels, over="step")
    if (work / LOG_FILE).exists():
        files[LOG_FILE] = (work / LOG_FILE).read_bytes()
    return files
