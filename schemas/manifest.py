"""The manifest of a model folder: what it says and what makes it valid.

Finding, checking and loading folders is `worker.inference.folder`'s; writing them is `training`'s.
"""

from __future__ import annotations

import enum
import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from schemas.errors import LabelsError, ModelError
from schemas.labels import MAX_LABEL_CHARS, label_text
from schemas.names import Task

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "MODEL_CARD.md"
NEUTRAL_FILE = "neutral.npy"
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[A-Za-z0-9][A-Za-z0-9._-]{0,49}$"


class ModelKind(enum.StrEnum):
    """How a model's outputs are read. One model may be several; an encoder scores labels as one, nli or not.

    classifier: logits of its own labels. nli: logits of a text and a hypothesis, so not a classifier as well.
    encoder: embeddings. cascade: no outputs of its own but two other models, see `Cascade`.
    """

    CLASSIFIER = "classifier"
    NLI = "nli"
    ENCODER = "encoder"
    CASCADE = "cascade"


class LongText(enum.StrEnum):
    """What becomes of a text that is longer than the model: read in windows, or cut off as ModelScope does."""

    WINDOWS = "windows"
    TRUNCATE = "truncate"


class Pooling(enum.StrEnum):
    """How token states become one embedding; done inside the graph."""

    NONE = "none"
    CLS = "cls"
    MEAN = "mean"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_enum_values=False, allow_inf_nan=False)


class Prefixes(_Strict):
    """What stands before every text and every label when they are encoded."""

    text: str = ""
    label: str = ""


class Calibration(_Strict):
    """Turns logits and similarities into scores that mean something.

    sentiment: softmax(logits / sentiment). routing: softmax over labels of s / routing. multi_label, per label:
    sigmoid((s - multi_label_bias) / multi_label). For an encoder, s is the cosine less the label's mean cosine to the
    neutral texts; for nli it is the entailment logit, in multi_label less the contradiction logit.
    """

    sentiment: Annotated[float, Field(gt=0)] = 1.0
    routing: Annotated[float, Field(gt=0)] = 1.0
    multi_label: Annotated[float, Field(gt=0)] = 1.0
    multi_label_bias: float = 0.0


class Source(_Strict):
    """Where a model comes from."""

    description: str
    licence: str
    url: str = ""


class Cascade(_Strict):
    """Two models in one: the encoder picks the `keep_labels` best labels, the nli model decides among them.

    Each is named `name/version`; a cascade of other versions is another version of the cascade.
    """

    encoder: str = Field(pattern=_ID)
    pair: str = Field(pattern=_ID)
    keep_labels: int = Field(default=5, ge=2)


class Manifest(_Strict):
    """`manifest.json` of a model folder. An unknown field is an error, not a surprise later."""

    format_version: int = FORMAT_VERSION
    name: str = Field(pattern=MODEL_NAME)
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$")
    kind: tuple[ModelKind, ...] = Field(min_length=1)
    tasks: tuple[Task, ...] = Field(min_length=1)
    labels: tuple[str, ...] = ()
    """Labels in logit order."""
    max_tokens: int = Field(ge=8, le=8192)
    """Special tokens included; of a cascade, the encoder's."""
    long_text: LongText = LongText.WINDOWS
    template: str = "{}"
    """What a bare label is put into before it is encoded or paired."""
    description_template: str = "{label}：{description}"
    """What a label with a description is put into, instead of `template`."""
    cascade: Cascade | None = None
    prefixes: Prefixes = Prefixes()
    entailment_index: int | None = Field(default=None, ge=0)
    contradiction_index: int | None = Field(default=None, ge=0)
    pooling: Pooling = Pooling.NONE
    embedding_width: int | None = Field(default=None, ge=1)
    temperature: Calibration = Calibration()
    quantization: str = "none"
    files: dict[str, str]
    """sha256 of each file beside the manifest, by name."""
    source: Source
    licence: str
    metrics: dict[str, Any] = {}
    """What was measured, each with the data it was measured on."""

    @field_validator("format_version")
    @classmethod
    def _known_format(cls, value: int) -> int:
        if value != FORMAT_VERSION:
            raise ValueError(f"this Fenliu reads format_version {FORMAT_VERSION}, the folder has {value}")
        return value

    @field_validator("labels")
    @classmethod
    def _labels_that_rows_can_hold(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        for label in labels:
            try:
                label_text(label, f"label {label!r:.60}", MAX_LABEL_CHARS)
            except LabelsError as error:
                raise ValueError(str(error)) from None
        if len(set(labels)) < len(labels):
            raise ValueError("names a label twice; labels must differ")
        return labels

    @field_validator("files")
    @classmethod
    def _inside_the_folder(cls, files: dict[str, str]) -> dict[str, str]:
        for name, digest in files.items():
            path = PurePosixPath(name)
            if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
                raise ValueError(f"{name!r} points outside the folder")
            if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
                raise ValueError(f"the sha256 of {name!r} is not 64 lower-case hexadecimal digits")
        return files

    @model_validator(mode="after")
    def _parts_fit(self) -> Manifest:
        if (ModelKind.CASCADE in self.kind) != (self.cascade is not None):
            raise ValueError("a cascade, and nothing else, has the field cascade")
        if self.cascade and (len(self.kind) > 1 or self.files):
            raise ValueError("a cascade has no other kind and no files: its two models have them")
        for required in () if self.cascade else (MODEL_FILE, TOKENIZER_FILE):
            if required not in self.files:
                raise ValueError(f"files has no sha256 of {required}")
        if ModelKind.NLI in self.kind and ModelKind.CLASSIFIER in self.kind:
            raise ValueError("a model's logits are a classifier's or nli's, not both")
        if Task.SENTIMENT in self.tasks and len(self.labels) < 2:
            raise ValueError("a model for sentiment needs at least two labels, in logit order")
        if Task.SENTIMENT in self.tasks and not {ModelKind.CLASSIFIER, ModelKind.CASCADE} & set(self.kind):
            raise ValueError("a model for sentiment is of the kind classifier or cascade")
        if Task.ROUTING in self.tasks and not {ModelKind.NLI, ModelKind.ENCODER, ModelKind.CASCADE} & set(self.kind):
            raise ValueError("a model for routing is of the kind nli, encoder or cascade")
        if ModelKind.NLI in self.kind and (self.entailment_index is None or self.contradiction_index is None):
            raise ValueError("an nli model needs entailment_index and contradiction_index")
        if ModelKind.ENCODER in self.kind and self.embedding_width is None:
            raise ValueError("an encoder needs embedding_width")
        return self

    @property
    def id(self) -> str:
        """`name/version`, as it is written in settings and entries."""
        return f"{self.name}/{self.version}"


def sha256_of(path: Path) -> str:
    """Lower-case hexadecimal sha256 of a file, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model folder. Raises ModelError that names the field at fault."""
    path = folder / MANIFEST_FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'manifest'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise ModelError(f"{path}: {problems}") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`; the sha256 of its files must already be in it."""
    text = manifest.model_dump_json(indent=2) + "\n"
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8")
