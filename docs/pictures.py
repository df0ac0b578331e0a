"""Makes the pictures of the docs from what the program really prints: `python docs/pictures.py`.

The picture of the flow (flow.svg) is drawn by hand.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parent
WIDTH_COLUMNS = 118


def main() -> None:
    """Run the demo and draw its output."""
    environment = os.environ | {"COLUMNS": str(WIDTH_COLUMNS), "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
    command = [sys.executable, "-m", "fenliu", "demo"]
    done = subprocess.run(command, cwd=DOCS.parent, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    (DOCS / "demo.svg").write_text(draw("make demo", done.stdout), encoding="utf-8")


def draw(title: str, output: str) -> str:
    """Terminal output as SVG, without the web fonts that Rich would name."""
    home = str(DOCS.parent)
    lines = [line for line in output.replace(home, "fenliu").splitlines() if "items have their row" not in line]
    console = Console(record=True, width=WIDTH_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join(lines)))
    svg = console.export_svg(title=title)
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code", "ui-monospace, Menlo, Consolas, 'Noto Sans Mono CJK SC'")


if __name__ == "__main__":
    main()
