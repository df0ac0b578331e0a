"""The model that is distilled: its network, what its manifest says of it, and itself as the worker serves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ModelError
from schemas.manifest import MANIFEST_FILE, NEUTRAL_FILE, TOKENIZER_FILE, Manifest, ModelKind
from schemas.names import Task
from training.bases import TORCH_FOLDER, Base, load_base
from training.loop import Say
from training.model_folder import NEUTRAL_TEXTS_FILE
from training.publish import Draft, Precision, publish
from training.quantize import STATIC_QUANTIZATION
from worker.inference.folder import check, find

_CHECK_TEXTS = 32


@dataclass(frozen=True)
class Teacher:
    """`folder`, `manifest`: None for a checkpoint that is no model folder."""

    base: Base
    folder: Path | None
    manifest: Manifest | None

    @property
    def is_classifier(self) -> bool:
        """Whether its logits mean something."""
        return bool(self.base.labels)

    @property
    def is_encoder(self) -> bool:
        """Whether its embeddings do. A checkpoint without labels has nothing else to give."""
        return ModelKind.ENCODER in self.manifest.kind if self.manifest else not self.base.labels

    @property
    def text_prefix(self) -> str:
        """What stands before every text."""
        return self.manifest.prefixes.text if self.manifest else ""

    def neutral_texts(self) -> list[str]:
        """The texts that centre its similarities; none if it is not centred."""
        path = self.folder / NEUTRAL_TEXTS_FILE if self.folder else None
        return path.read_text(encoding="utf-8").split("\n")[:-1] if path and path.is_file() else []

    def draft(self, name: str) -> Draft:
        """What a model that answers as this one does says of itself; not calibrated."""
        base, manifest = self.base, self.manifest
        kind = tuple(
            kind
            for kind, has in ((ModelKind.CLASSIFIER, self.is_classifier), (ModelKind.ENCODER, self.is_encoder))
            if has
        )
        if manifest is None:
            tasks = (Task.SENTIMENT,) if self.is_classifier else (Task.ROUTING,)
            return Draft(name, kind, tasks, base.labels, base.max_tokens, base.source, base.source.licence)
        return Draft(
            name=name,
            kind=kind,
            tasks=manifest.tasks,
            labels=manifest.labels,
            max_tokens=manifest.max_tokens,
            source=manifest.source,
            licence=manifest.licence,
            template=manifest.template,
            description_template=manifest.description_template,
            prefixes=manifest.prefixes,
            long_text=manifest.long_text,
        )


def load_teacher(name: str, homes: Sequence[Path], bases_home: Path) -> Teacher:
    """The teacher that is meant by a path or a model's name, as for fine-tuning.

    Raises ModelError, also for a model that cannot be distilled this way.
    """
    folder = Path(name) if Path(name).is_dir() else None
    if folder is None and not (bases_home / name).is_dir():
        folder = find(name, homes)
    if folder and folder.name == TORCH_FOLDER and (folder.resolve().parent / MANIFEST_FILE).is_file():
        folder = folder.resolve().parent
    manifest = check(folder) if folder and (folder / MANIFEST_FILE).is_file() else None
    if manifest and ModelKind.NLI in manifest.kind:
        raise ModelError(
            f"{manifest.id} is an nli model: it reads a text beside each label, and distillation learns from texts "
            "alone. Distil a classifier or an encoder; a cascade makes an nli model cheaper without training"
        )
    if manifest and manifest.cascade:
        raise ModelError(
            f"{manifest.id} is a cascade; distil its encoder, {manifest.cascade.encoder}, or fine-tune its parts"
        )
    base = load_base(name, homes, bases_home)
    return Teacher(base, folder if manifest else None, manifest)


def served(teacher: Teacher, precision: Precision, work: Path, texts: Sequence[str], say: Say) -> Path:
    """A model folder with the teacher quantized as `publish` does it: its own, or one made of its network in `work`."""
    quantization = STATIC_QUANTIZATION if precision == "int8" else "none"
    if teacher.folder and teacher.manifest and teacher.manifest.quantization == quantization:
        return teacher.folder
    tokenizer = work / f"teacher-{TOKENIZER_FILE}"
    teacher.base.tokenizer.save(str(tokenizer))
    neutral = teacher.folder / NEUTRAL_FILE if teacher.folder else None
    extra = {NEUTRAL_FILE: neutral.read_bytes()} if neutral and neutral.is_file() else {}
    draft = teacher.draft("teacher")
    return publish(
        teacher.base.network, tokenizer, draft, precision=precision, models=work, check_texts=texts[:_CHECK_TEXTS],
        say=say, extra_files=extra,
    )  # fmt: skip
