"""The peers' own environments under `.peers/`: made once, by `python -m benchmarks.peers --prepare`.

Their packages collide with Fenliu's (celery-batches wants celery below 5.7, infinity-emb an older typer), and PyTorch
is no business of Fenliu's own environment. Each is pinned by `<name>.lock`, made by `make lock` from `<name>.in`.
PyTorch goes in first and by itself: which build is right differs by machine, so no lock can have its hash.

infinity-emb 0.0.78 with optimum's ONNX Runtime: optimum 1 imports names that PyTorch 2.13 no longer has. Optimum 2
works with it, but compares the ONNX file's bare name with the path that infinity-emb gives: the file has to lie in the
folder that the server is started in, with `.` as the model's id. Its warm-up sends texts longer than the model takes,
which `/classify` does not cut, so it is off; and its own optimization of the graph fails with optimum 2, of which it
says so and goes on without.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / ".peers"
TORCH = "torch==2.13.0"
ENVIRONMENTS = {"batches": (), "transformers": (TORCH,), "infinity": (TORCH,)}
"""What goes in before the lock, by name."""
_PREPARE = "`python -m benchmarks.peers --prepare` makes it"
_TAIL_LINES = 5


def prepare() -> None:
    """Make those that are not there; what one fails with is kept as the reason for which its peers are left out."""
    HERE.mkdir(exist_ok=True)
    for name, first in ENVIRONMENTS.items():
        lock = Path(__file__).parent / f"{name}.lock"
        command = [sys.executable, str(ROOT / "deploy" / "venv.py"), f".peers/{name}", str(lock.relative_to(ROOT))]
        done = subprocess.run([*command, *first], capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if done.returncode == 0:
            _failure(name).unlink(missing_ok=True)
            print(f"environment of {name}: ready")  # noqa: T201 - a command's output
            continue
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        _failure(name).write_text("\n".join(lines[-_TAIL_LINES:]), encoding="utf-8")
        print(f"environment of {name}: cannot be made\n{done.stdout}{done.stderr}")  # noqa: T201


def problem(name: str) -> str:
    """Why an environment cannot be used; empty if it can."""
    if _failure(name).exists():
        return f"its environment cannot be made: {_failure(name).read_text(encoding='utf-8')}"
    if not (HERE / name / "bin" / "python").exists() or (HERE / name / "unfinished").exists():
        return f"its environment is not there: {_PREPARE}"
    return ""


def python(name: str) -> str:
    """The interpreter of an environment; with an empty name Fenliu's own."""
    return str(HERE / name / "bin" / "python") if name else sys.executable


def versions(name: str, packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of packages in an environment."""
    script = "import sys; from importlib.metadata import version; print(*(version(name) for name in sys.argv[1:]))"
    done = subprocess.run([python(name), "-c", script, *packages], capture_output=True, text=True, check=True)  # noqa: S603
    return dict(zip(packages, done.stdout.split(), strict=True))


def _failure(name: str) -> Path:
    return HERE / f"{name}.failed"
