"""The sample comments that `fenliu demo` classifies: the fixed test split, with its known labels.

`python -m training.sample CACHE` writes producers/sample/comments.csv again. The tickets beside it are written
by hand.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from training.corpora import POSITIVE, Review, reviews

SAMPLE = Path(__file__).resolve().parent.parent / "producers" / "sample" / "comments.csv"


def write_comments(found: Sequence[Review], path: Path) -> int:
    """Write the test texts, in an order that has nothing to do with their labels; returns how many."""
    test = [review for review in found if review.split == "test"]
    test.sort(key=lambda review: hashlib.sha256(review.text.encode("utf-8")).digest())
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "text", "label"])
        for number, review in enumerate(test, 1):
            writer.writerow([f"c{number:04}", review.text, "positive" if review.label == POSITIVE else "negative"])
    return len(test)


if __name__ == "__main__":
    sys.stdout.write(f"{write_comments(reviews(Path(sys.argv[1])), SAMPLE)} comments in {SAMPLE}\n")
