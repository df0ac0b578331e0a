"""The trained networks of the default recipe, broad, and from it large and small.

Each step keeps its result in the work folder, and its checkpoints while it runs: a run that was cut short goes on
where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from transformers.models.bert.modeling_bert import BertSelfAttention

from training import examples, network, pretrained, written
from training.batches import encode, outputs
from training.examples import Example
from training.joint import Joint, LabelledSet, Texts
from training.loop import Loop, groups
from training.network import Network
from training.recipe import Places, Recipe, Stage
from training.shrink import shrink

Say = Callable[[str], None]


def broad(places: Places, recipe: Recipe, start: pretrained.Pretrained, say: Say) -> Path:
    """Folder of the pretrained encoder fine-tuned on the corpora, its lower half as it was."""
    found = _fine_tuning(places, recipe, recipe.broad)
    return _trained(places, recipe.broad, start, start.network, found=found, say=say)


def large(places: Places, recipe: Recipe, start: pretrained.Pretrained, say: Say) -> Path:
    """Folder of the large model: the broad one, all of it tuned further with the written texts."""
    before = broad(places, recipe, start, say)
    found = _fine_tuning(places, recipe, recipe.large)
    return _trained(places, recipe.large, start, before, found=found, say=say)


def small(places: Places, recipe: Recipe, start: pretrained.Pretrained, say: Say) -> Path:
    """Folder of the small model: layers of the broad one, taught by it and by the written texts, then polished with
    the label sets shown more often."""
    teacher = broad(places, recipe, start, say)
    cut = places.work / f"{recipe.small.name}-start"
    network.save(shrink(network.load(teacher), recipe.layers, recipe.ffn), cut)
    found = examples.distillation(places.cache, recipe.more, recipe.seed)
    taught = _trained(places, recipe.small, start, cut, found=found, say=say, teacher=teacher)
    fewer = _fewer(found, recipe.polished.review_share)
    return _trained(places, recipe.polished, start, taught, found=fewer, say=say, teacher=teacher)


def _fine_tuning(places: Places, recipe: Recipe, stage: Stage) -> list[Example]:
    found = examples.fine_tuning(places.cache, recipe.amounts, recipe.seed)
    if stage.weights.routing == 0.0:
        return [example for example in found if not example.is_written]
    return _fewer(found, stage.review_share)


def _fewer(found: Sequence[Example], share: float) -> list[Example]:
    return [example if example.is_written else replace(example, repeats=example.repeats * share) for example in found]


def _trained(
    places: Places,
    stage: Stage,
    start: pretrained.Pretrained,
    source: Path,
    *,
    found: Sequence[Example],
    say: Say,
    teacher: Path | None = None,
) -> Path:
    target = places.work / stage.name
    if (target / network.CONFIG_FILE).exists():
        return target
    tokenizer = pretrained.tokenizer_of(start)
    labels = np.array([example.label for example in found])
    say(f"{stage.name}: {len(found)} texts, {int((labels >= 0).sum())} of them with a label")
    answers = "small" if teacher else stage.name  # both steps of the small model ask the same
    teacher_rows = encode(tokenizer, [example.teacher for example in found], stage.max_tokens)
    targets, logits = _answers(places.work / f"{answers}-teacher.npz", teacher or start.network, teacher_rows, say)
    texts = Texts(
        rows=encode(tokenizer, [example.student for example in found], stage.max_tokens),
        labels=labels,
        targets=targets,
        repeats=np.array([example.repeats for example in found]),
        logits=_asked(logits, found) if teacher else None,
    )
    sets = _label_sets(tokenizer, stage.max_tokens) if stage.weights.routing else []
    student = network.load(source)
    _fix(student, stage.fixed_layers)
    joint = Joint(
        student,
        texts,
        sets,
        weights=stage.weights,
        batch_texts=stage.schedule.batch_texts,
        seed=stage.schedule.seed,
        routing_repeats=stage.routing_repeats,
    )
    checkpoint = places.work / f"{stage.name}.pt"
    loop = Loop(
        student,
        groups(student, stage.schedule),
        joint.batches,
        joint.loss,
        schedule=stage.schedule,
        checkpoint=checkpoint,
        say=lambda line: say(f"{stage.name}: {line}"),
    )
    outcome = loop.run(_report(places, student, tokenizer, lambda line: say(f"{stage.name}: {line}")))
    (places.work / f"{stage.name}.json").write_text(json.dumps({"losses": outcome.losses}) + "\n", "utf-8")
    network.save(student, target)
    return target


def _answers(
    kept: Path, teacher: Path, rows: Sequence[Sequence[int]], say: Say
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    if kept.exists():
        with np.load(kept, allow_pickle=False) as found:
            if len(found["embedding"]) == len(rows):
                return found["embedding"], found["logits"]
    embedding, logits = outputs(network.load(teacher), rows)
    np.savez(kept, embedding=embedding, logits=logits)
    say(f"the embeddings of {len(rows)} texts to copy are ready")
    return embedding, logits


def _asked(logits: npt.NDArray[np.float32], found: Sequence[Example]) -> npt.NDArray[np.float32]:
    """A teacher's logits, without those of written comments: it never saw their like, their labels are certain."""
    written_ones = np.array([example.is_written for example in found])
    return np.where(written_ones[:, None], np.float32(np.nan), logits)


def _label_sets(tokenizer: Tokenizer, max_tokens: int) -> list[LabelledSet]:
    return [
        LabelledSet(
            wordings=[encode(tokenizer, wording, max_tokens) for wording in examples.wordings(one)],
            rows=encode(tokenizer, one.texts, max_tokens),
            labels=np.array(one.right),
        )
        for one in written.routing_sets()
    ]


def _fix(student: Network, layers: int) -> None:
    """Word embeddings, and with `layers` the whole lower part, stay as they are; no dropout of attention weights,
    which would double a step's time on a CPU."""
    student.trunk.embeddings.requires_grad_(False)
    for layer in student.trunk.encoder.layer[:layers]:
        layer.requires_grad_(False)
    for module in student.trunk.modules():
        if isinstance(module, BertSelfAttention):
            module.dropout.p = 0.0


def _report(places: Places, student: Network, tokenizer: Tokenizer, say: Say) -> Callable[[int], None]:
    dev = examples.labelled_reviews(places.cache, "dev")
    rows = encode(tokenizer, [review.text for review in dev], 256)
    right = np.array([review.label for review in dev])

    def after_epoch(epoch: int) -> None:
        _, logits = outputs(student, rows)
        say(f"epoch {epoch}: dev accuracy {(logits.argmax(axis=1) == right).mean():.4f}")

    return after_epoch
