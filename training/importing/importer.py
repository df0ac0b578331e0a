"""From a checkpoint to a model folder: read, check against transformers, publish."""

from __future__ import annotations

import csv
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from schemas.manifest import TOKENIZER_FILE, LongText, ModelKind, Source
from schemas.names import Task
from training import agreement
from training.importing import download, parity
from training.importing.reader import Checkpoint, read_checkpoint
from training.publish import Draft, Precision, publish

UNKNOWN_LICENCE = "not stated; see where the checkpoint comes from"
SAMPLE = Path(__file__).resolve().parents[2] / "producers" / "sample" / "comments.csv"
CHECK_TEXTS, TRANSFORMERS_TEXTS = 256, 48


def import_model(
    path_or_id: str,
    name: str,
    *,
    models: Path,
    precision: Precision,
    say: Callable[[str], None],
    task: Task | None = None,
    licence: str = "",
    long_text: LongText | None = None,
    max_tokens: int | None = None,
    check_texts: Sequence[str] | None = None,
) -> Path:
    """The folder of the new model, `<models>/<name>/<version>/`.

    `long_text` None: cut off for ModelScope's folders, as its pipelines do, else windows. `max_tokens` None: as the
    checkpoint says. `check_texts` None: of the sample comments. Raises ModelError or SetupError, each with the fix.
    """
    found = download.find(path_or_id, say)
    checkpoint = read_checkpoint(found.folder, task)
    for note in checkpoint.notes:
        say(note)
    say(f"{found.origin}: {_said(checkpoint)}")
    texts = list(check_texts or sample_texts())
    draft = _draft(
        checkpoint,
        origin=found.origin,
        name=name,
        licence=licence or UNKNOWN_LICENCE,
        long_text=long_text,
        max_tokens=max_tokens,
    )
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = Path(scratch) / TOKENIZER_FILE
        checkpoint.tokenizer.save(str(tokenizer))
        figures = _checked(checkpoint, tokenizer, texts, draft.max_tokens, say)
        return publish(
            checkpoint.network,
            tokenizer,
            dataclasses.replace(draft, metrics=figures),
            precision=precision,
            models=models,
            check_texts=texts,
            say=say,
        )


def sample_texts() -> list[str]:
    """The first of the sample comments: real text to check on; nothing is chosen or fitted by them."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row, _ in zip(csv.DictReader(file), range(CHECK_TEXTS), strict=False)]


def _draft(
    checkpoint: Checkpoint,
    *,
    origin: str,
    name: str,
    licence: str,
    long_text: LongText | None,
    max_tokens: int | None,
) -> Draft:
    program = "ModelScope" if checkpoint.folder.is_modelscope else "transformers"
    digests = ", ".join(f"{file} sha256 {digest}" for file, digest in checkpoint.digests.items())
    usual = LongText.TRUNCATE if checkpoint.folder.is_modelscope else LongText.WINDOWS
    return Draft(
        name=name,
        kind=(checkpoint.kind,),
        tasks=(checkpoint.task,),
        labels=checkpoint.labels,
        max_tokens=min(max_tokens or checkpoint.max_tokens, checkpoint.config.max_position_embeddings),
        source=Source(description=f"Imported from the {program} checkpoint {origin} ({digests})", licence=licence),
        licence=licence,
        entailment_index=checkpoint.entailment_index,
        contradiction_index=checkpoint.contradiction_index,
        long_text=long_text or usual,
    )


def _checked(
    checkpoint: Checkpoint, tokenizer: Path, texts: Sequence[str], max_tokens: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """What is measured before publishing, by the keys it has in the manifest."""
    pairs = checkpoint.kind is ModelKind.NLI
    rows = agreement.rows(tokenizer, texts[:TRANSFORMERS_TEXTS], max_tokens, pairs=pairs)
    figures: dict[str, Any] = {"transformers": parity.against_transformers(checkpoint, rows)}
    say(f"largest difference from transformers: {figures['transformers']['largest_score_difference']:g}")
    tokens = parity.equal_tokens(checkpoint, texts)
    if tokens is not None:
        figures["tokens"] = tokens
        say(f"texts with the token ids of BERT's tokenizer in Python: {tokens['equal']:.2%}")
    return figures


def _said(checkpoint: Checkpoint) -> str:
    config = checkpoint.config
    labels = f", labels {', '.join(checkpoint.labels)}" if checkpoint.labels else ""
    return (
        f"{config.num_hidden_layers} layers x {config.hidden_size}, {config.vocab_size} tokens, "
        f"{checkpoint.kind.value} for {checkpoint.task.value}{labels}"
    )
