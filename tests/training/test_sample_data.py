"""`fenliu train sample-data`: corpora of packages as CSV files."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training import sample_data
from training.cli import app
from training.corpora import Article, Review

ARTICLES = [
    Article("涨了", "股市今日\n上涨。" * 100, 2, "train"),
    Article("跌了", "", 0, "dev"),
    Article("开会", "今日开会。", 1, "test"),
]


def _rows(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("form", "first"),
    [("title", "涨了"), ("beginning", "涨了\n" + ARTICLES[0].body[:300]), ("whole", "涨了\n" + ARTICLES[0].body)],
)
def test_articles_become_a_file_for_each_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, first: str
) -> None:
    # Given three articles, one of each split
    monkeypatch.setattr(sample_data, "articles", lambda cache: ARTICLES)
    # When they are written in one of the forms
    done = CliRunner().invoke(app, ["sample-data", "inews", "--out", str(tmp_path / "inews"), "--text", form])
    # Then each file has its own, line breaks and all
    assert 0 == done.exit_code, done.output
    assert [(first, "positive")] == _rows(tmp_path / "inews" / "train.csv")
    assert [("跌了", "negative")] == _rows(tmp_path / "inews" / "dev.csv")
    assert 1 == len(_rows(tmp_path / "inews" / "test.csv"))
    assert f"{tmp_path / 'inews' / 'train.csv'}: 1 texts" in done.output


def test_reviews_keep_their_fixed_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [Review("很好", 1, "train"), Review("差", 0, "test")]
    monkeypatch.setattr(sample_data, "reviews", lambda cache: given)
    CliRunner().invoke(app, ["sample-data", "reviews", "--out", str(tmp_path)], catch_exceptions=False)
    assert [[("很好", "positive")], [], [("差", "negative")]] == [
        _rows(tmp_path / f"{split}.csv") for split in ("train", "dev", "test")
    ]
