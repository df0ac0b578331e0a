"""One distillation: from a teacher and prepared texts to a published, matched, measured model folder.

A run that was killed goes on from its checkpoint when it is started again with the same data, teacher and recipe; the
teacher's answers are kept too, for other recipes as well.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from schemas.manifest import TOKENIZER_FILE, Source
from training.bases import token_limit
from training.batches import encode
from training.distilling.answers import Answers, Rows, ask
from training.distilling.data import Data
from training.distilling.judgement import Judge
from training.distilling.learning import HEAD_PREFIX, NO_LABEL, Copying, Student
from training.distilling.recipe import Recipe
from training.distilling.start import begin, with_pieces
from training.distilling.teacher import Teacher, served
from training.distilling.vocabulary import pruned
from training.history import History
from training.loop import Loop, OnStep, Say, groups
from training.narrow import Start, shape_of
from training.network import Network
from training.publish import Draft, publish
from training.shrink import even_layers

MOST_CHECK_TEXTS = 200
_START_TEXTS = 2000


@dataclass(frozen=True)
class Places:
    """`models`: where `<name>/<version>/` goes; `work`: checkpoints and the teacher's answers, deleted at the end."""

    name: str
    models: Path
    work: Path


@dataclass(frozen=True)
class _Question:
    """What teacher and student read: `rows` and the teacher's network with its whole vocabulary, and the student's."""

    tokenizer: Tokenizer
    network: Network
    teacher_rows: Rows
    rows: Rows
    aligned: list[bool]
    max_tokens: int


def distil(
    data: Data, teacher: Teacher, recipe: Recipe, places: Places, *, say: Say, on_step: OnStep | None = None
) -> Path:
    """Trains, keeps the epoch with the least loss on the eval part, publishes it, and returns its folder.

    Raises DivergedError if the loss becomes infinite, ModelError if the result is no valid model.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    places.work.mkdir(parents=True, exist_ok=True)
    question = _question(data, teacher, recipe)
    start = begin(question.network, recipe.shape, recipe.start, question.rows[:_START_TEXTS], recipe.seed)
    kept_layers = even_layers(shape_of(teacher.base.network).layers, recipe.shape.layers)
    answers = ask(
        teacher.base.network,
        question.teacher_rows,
        kept_layers,
        aligned=question.aligned,
        kept=places.work / "answers",
        device=device,
        say=say,
    )
    key = fingerprint(teacher, data, recipe)
    checkpoint, history = places.work / f"{key}.pt", History(places.work / f"{key}.json")
    copying, loop = _learning(
        question=question, data=data, teacher=teacher, recipe=recipe, start=start, answers=answers,
        checkpoint=checkpoint, device=device, say=say, on_step=on_step,
    )  # fmt: skip
    first = copying.judged()
    say(f"as it begins: {_listed(first)}")
    outcome = loop.run(lambda epoch: _judged(copying, epoch, history, say))
    say(f"epoch {outcome.best_epoch} is kept")
    settings = asdict(recipe) | {"max_tokens": question.max_tokens, "device": device, "kept_layers": kept_layers}
    made = {
        "teacher": {"name": teacher.base.name, "weights": teacher.base.way, **asdict(shape_of(teacher.base.network))},
        "student": {**asdict(recipe.shape), "pieces": question.tokenizer.get_vocab_size(), "begins": _listed(first)},
        "data": data.as_json(),
        "hyperparameters": settings | {"torch_threads": torch.get_num_threads()},
        "history": history.as_json(outcome, loop.ends),
    }
    student = copying.student.network.cpu()
    eval_texts = [row.text for row in data.eval_rows]
    beside = served(teacher, recipe.precision, places.work, eval_texts, say)
    judge = Judge(teacher, beside, data, made, seed=recipe.seed, say=say)
    tokenizer = places.work / TOKENIZER_FILE
    question.tokenizer.save(str(tokenizer))
    folder = publish(
        student,
        tokenizer,
        draft(teacher, places.name, data),
        precision=recipe.precision,
        models=places.models,
        check_texts=[teacher.text_prefix + text for text in eval_texts[:MOST_CHECK_TEXTS]],
        say=say,
        finish=judge.finish,
    )
    _clear(places.work, checkpoint, history.path)
    return folder


def draft(teacher: Teacher, name: str, data: Data) -> Draft:
    """What the student says of itself: what its teacher says, and where it comes from."""
    found = teacher.draft(name)
    source = Source(
        description=f"Distilled from {teacher.base.name} ({found.source.description}) on {data.n_train} texts",
        licence=found.source.licence,
        url=found.source.url,
    )
    return replace(found, source=source)


def fingerprint(teacher: Teacher, data: Data, recipe: Recipe) -> str:
    """What a checkpoint must match to be gone on from."""
    digest = hashlib.sha256(data.fingerprint().encode())
    digest.update(json.dumps(asdict(recipe), sort_keys=True).encode())
    digest.update(teacher.base.tokenizer.to_str().encode())
    for name, tensor in sorted(teacher.base.network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _question(data: Data, teacher: Teacher, recipe: Recipe) -> _Question:
    base = teacher.base
    max_tokens = token_limit(base, recipe.max_tokens)
    texts = [teacher.text_prefix + text for text in data.texts]
    teacher_rows = encode(base.tokenizer, texts, max_tokens)
    if recipe.vocabulary is None:
        return _Question(base.tokenizer, base.network, teacher_rows, teacher_rows, [True] * len(texts), max_tokens)
    wanted = [*texts[: data.n_train], *teacher.neutral_texts(), *teacher.base.labels]
    tokenizer, kept = pruned(base.tokenizer, wanted, recipe.vocabulary)
    rows = encode(tokenizer, texts, max_tokens)
    aligned = [[kept[i] for i in ours] == list(theirs) for ours, theirs in zip(rows, teacher_rows, strict=True)]
    return _Question(tokenizer, with_pieces(base.network, kept), teacher_rows, rows, aligned, max_tokens)


def _learning(
    *,
    question: _Question,
    data: Data,
    teacher: Teacher,
    recipe: Recipe,
    start: Start,
    answers: Answers,
    checkpoint: Path,
    device: str,
    say: Say,
    on_step: OnStep | None,
) -> tuple[Copying, Loop]:
    weights = recipe.weights
    if not teacher.is_classifier:
        weights = replace(weights, soft=0.0, hard=0.0)
    if not teacher.is_encoder:
        weights = replace(weights, embedding=0.0)
    student = Student(start, recipe.shape.layers, is_random=recipe.start == "random").to(device)
    copying = Copying(
        student,
        question.rows,
        data.numbers(NO_LABEL),
        answers,
        n_train=data.n_train,
        basis=start.basis,
        weights=weights,
        batch_texts=recipe.batch_texts,
        seed=recipe.seed,
        device=device,
    )

    def loss(run: list[int]) -> Tensor:
        return copying.loss(run)

    schedule = recipe.schedule()
    loop = Loop(
        student, groups(student, schedule, HEAD_PREFIX), copying.batches, loss, schedule=schedule,
        checkpoint=checkpoint, say=say, on_step=on_step,
    )  # fmt: skip
    return copying, loop


def _judged(copying: Copying, epoch: int, history: History, say: Say) -> float:
    scores = copying.judged()
    history.add(epoch, scores)
    say(f"epoch {epoch}: eval {_listed(scores)}")
    return -scores["loss"]


def _listed(scores: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())


def _clear(work: Path, *files: Path) -> None:
    for path in (*files, work / "answers.npz", work / "answers.npy", work / TOKENIZER_FILE):
        path.unlink(missing_ok=True)
    (work / f"teacher-{TOKENIZER_FILE}").unlink(missing_ok=True)
    shutil.rmtree(work / "teacher", ignore_errors=True)
