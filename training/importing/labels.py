"""The labels of a checkpoint's logits, from where ModelScope looks for them and in its order.

label_mapping.json; then configuration.json, its `model` before its `preprocessor`; then config.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.errors import ModelError
from training.importing.folder import CONFIG, CONFIGURATION, LABEL_MAPPING, CheckpointFolder

ENTAILMENT, CONTRADICTION = "entailment", "contradiction"
MODELSCOPE_ENTAILMENT, MODELSCOPE_CONTRADICTION = 0, 2


def labels_of(folder: CheckpointFolder, n_labels: int) -> tuple[str, ...]:
    """Names in logit order; empty if no file names any. Raises ModelError that names the file if they do not fit."""
    for where, mapping in _sources(folder):
        try:
            indexes = {str(label): int(index) for label, index in mapping.items()}
        except (TypeError, ValueError) as error:
            raise ModelError(f"{folder.path}: {where} maps a label to no number: {error}") from error
        if sorted(indexes.values()) != list(range(n_labels)) or not all(label.strip() for label in indexes):
            raise ModelError(
                f"{folder.path}: {where} gives the labels {indexes}, but the classifier has {n_labels} logits; "
                f"each of 0 to {n_labels - 1} must have one name"
            )
        return tuple(sorted(indexes, key=lambda label: indexes[label]))
    return ()


def required(folder: CheckpointFolder, labels: tuple[str, ...], n_labels: int) -> tuple[str, ...]:
    """`labels`, unless there are none. Raises ModelError that says how to give them."""
    if labels:
        return labels
    example = ", ".join(f'"name {number}": {number}' for number in range(n_labels))
    raise ModelError(
        f"{folder.path}: no file names the {n_labels} labels ({LABEL_MAPPING}, {CONFIGURATION} and {CONFIG} were "
        f"looked at); write {LABEL_MAPPING} into the folder: {{{example}}}"
    )


def looks_like_nli(labels: tuple[str, ...]) -> bool:
    """Whether the labels are those of natural language inference."""
    lower = [label.lower() for label in labels]
    return ENTAILMENT in lower and CONTRADICTION in lower


def nli_indexes(labels: tuple[str, ...]) -> tuple[int, int]:
    """Logits of entailment and contradiction: by their names, else where ModelScope has them."""
    lower = [label.lower() for label in labels]
    if looks_like_nli(labels):
        return lower.index(ENTAILMENT), lower.index(CONTRADICTION)
    return MODELSCOPE_ENTAILMENT, MODELSCOPE_CONTRADICTION


def _sources(folder: CheckpointFolder) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping of label to index that is there, first the one that counts, with where it stands."""
    if folder.label_mapping is not None:
        yield LABEL_MAPPING, folder.label_mapping
    for where, fields in (
        (f"model of {CONFIGURATION}", folder.model),
        (f"preprocessor of {CONFIGURATION}", folder.preprocessor),
        (CONFIG, folder.config),
    ):
        for name in ("label2id", "id2label"):
            value = fields.get(name)
            if isinstance(value, Mapping) and value:
                turned = value if name == "label2id" else {label: index for index, label in value.items()}
                yield f"{name} in {where}", turned
                break
