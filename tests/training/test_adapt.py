"""Adapting: tokens are masked as in BERT, the loss falls, a stopped run goes on, and fine-tuning takes the result."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from typer.testing import CliRunner  # noqa: E402

from schemas.errors import ModelError, SourceError  # noqa: E402
from tests.training.toys import toy_base, toy_network, toy_rows, write_csv  # noqa: E402
from training.adapting.masking import IGNORED, Vocabulary, masked, token_rows, vocabulary_of  # noqa: E402
from training.adapting.run import Places, Recipe, adapt  # noqa: E402
from training.bases import load_base, save_base  # noqa: E402
from training.cleaning import Tally  # noqa: E402
from training.cli import app  # noqa: E402
from training.data_files import Row  # noqa: E402

VOCABULARY = Vocabulary(size=1000, mask_id=3, pad_id=1, head=(0,), tail=(2,))
RECIPE = Recipe(epochs=3, rate=3e-3, batch_texts=8, max_tokens=40, eval_share=0.1)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _texts(count: int = 160) -> list[Row]:
    return [Row(row.text, "", row.line) for row in toy_rows(count)]


def test_about_fifteen_in_a_hundred_tokens_are_asked_and_most_of_them_masked() -> None:
    # Given 200 rows of 100 tokens
    rows = [[0, *np.random.default_rng(number).integers(10, 1000, 100).tolist(), 2] for number in range(200)]
    seen: Counter[str] = Counter()
    for number, row in enumerate(rows):
        shown, wanted = masked(row, VOCABULARY, (7, number))
        # Then what is not asked is as it was, the special tokens too
        assert all(s == r for s, r, w in zip(shown, row, wanted, strict=True) if w == IGNORED)
        assert (IGNORED, IGNORED) == (wanted[0], wanted[-1])
        for s, r, w in zip(shown, row, wanted, strict=True):
            if w != IGNORED:
                assert r == w
                seen["masked" if s == VOCABULARY.mask_id else "left" if s == r else "random"] += 1
    # And the shares are BERT's
    assert 0.15 == pytest.approx(seen.total() / 20_000, abs=0.01)
    assert 0.8 == pytest.approx(seen["masked"] / seen.total(), abs=0.02)
    assert 0.1 == pytest.approx(seen["random"] / seen.total(), abs=0.02)


def test_a_short_row_has_one_token_asked_at_least_and_the_same_seed_asks_the_same() -> None:
    for number in range(50):
        _, wanted = masked([0, 10, 11, 12, 13, 2], VOCABULARY, (7, number))
        assert any(asked != IGNORED for asked in wanted)
        assert masked([0, 10, 11, 12, 13, 2], VOCABULARY, (7, number))[1] == wanted


def test_long_texts_are_read_in_pieces_and_scraps_left_out() -> None:
    tokenizer = toy_base().tokenizer
    vocabulary, text = vocabulary_of(tokenizer)
    rows = token_rows(text, ["abcdefgh" * 5 + "ab", "a"], 20)
    whole = tokenizer.encode("abcdefgh" * 5 + "ab", add_special_tokens=False).ids
    assert [20, 20] == [len(row) for row in rows[:2]]
    assert whole == [number for row in rows for number in row[1:-1]]
    assert all((0, 2) == (row[0], row[-1]) for row in rows)
    assert (3, 1) == (vocabulary.mask_id, vocabulary.pad_id)  # no mask token there: the unknown one


def test_the_loss_falls_and_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    # Given a run that is stopped in its second epoch
    def stop(step: int, steps: int) -> None:
        if step == 25:
            raise KeyboardInterrupt

    places = Places(tmp_path / "made", tmp_path / "work")
    with pytest.raises(KeyboardInterrupt):
        adapt(_texts(), Tally("a"), toy_base(), RECIPE, places, say=lambda line: None, on_step=stop)
    assert not places.folder.exists()
    # When it is started again, and another runs through
    adapt(_texts(), Tally("a"), toy_base(), RECIPE, places, say=lambda line: None, on_step=None)
    through = Places(tmp_path / "through", tmp_path / "other")
    adapt(_texts(), Tally("a"), toy_base(), RECIPE, through, say=lambda line: None, on_step=None)
    # Then both end the same, better than they began, the head of the base untouched
    folders = [load_base(str(made.folder), (), tmp_path) for made in (places, through)]
    for expected, actual in zip(*(base.network.state_dict().values() for base in folders), strict=True):
        assert torch.equal(expected, actual)
    report = json.loads((places.folder / "report.json").read_text("utf-8"))
    assert report["held_out"]["before"]["loss"] > report["held_out"]["after"]["loss"] + 0.5
    assert report["held_out"]["after"]["perplexity"] == pytest.approx(np.exp(report["held_out"]["after"]["loss"]), 0.01)
    assert torch.equal(toy_network().head.dense.weight, folders[0].network.head.dense.weight)
    assert not torch.equal(
        toy_network().trunk.encoder.layer[0].output.dense.weight,
        folders[0].network.trunk.encoder.layer[0].output.dense.weight,
    )
    assert b"\x89PNG" == (places.folder / "learning_curves.png").read_bytes()[:4]


def test_the_command_adapts_and_finetune_takes_the_result_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a base, texts without labels, and labelled ones
    monkeypatch.setenv("FENLIU_HOME", str(tmp_path / "home"))
    save_base(tmp_path / "base", toy_base(), toy_network())
    (tmp_path / "texts.txt").write_text("\n".join(row.text for row in _texts()) + "\n", "utf-8")
    write_csv(tmp_path / "train.csv", toy_rows(60))
    shared = ["--epochs", "1", "--batch", "8", "--threads", "1", "--eval-share", "0.2"]
    given = ["--data", str(tmp_path / "texts.txt"), "--base", str(tmp_path / "base"), "--name", "shop"]
    # When it is adapted, and fine-tuning names the result
    adapted = CliRunner().invoke(app, ["adapt", *given, *shared])
    assert 0 == adapted.exit_code, adapted.output
    given = ["--data", str(tmp_path / "train.csv"), "--base", "shop", "--name", "tuned", "--precision", "fp32"]
    tuned = CliRunner().invoke(app, ["finetune", *given, *shared])
    # Then the model says what it was made from
    assert 0 == tuned.exit_code, tuned.output
    manifest = json.loads((tmp_path / "home" / "models" / "tuned" / "1" / "manifest.json").read_text("utf-8"))
    assert "Fine-tuned from shop (made by a test, adapted to domain texts)" in manifest["source"]["description"]


def test_what_is_there_is_not_overwritten_and_too_few_texts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    places = Places(tmp_path / "made", tmp_path / "work")
    with pytest.raises(ModelError, match="exists; delete it or take another --name"):
        adapt(_texts(), Tally("a"), toy_base(), RECIPE, places, say=lambda line: None, on_step=None)
    places = Places(tmp_path / "other", tmp_path / "work")
    with pytest.raises(SourceError, match="are too few; give more texts"):
        adapt(_texts(10), Tally("a"), toy_base(), RECIPE, places, say=lambda line: None, on_step=None)
