"""What config.json says of the architecture, as a BertConfig; whatever is not BERT is refused by name.

At inference StructBERT is BERT: ModelScope's SbertModel computes what transformers' BertModel computes.
"""

from __future__ import annotations

from typing import Any

from transformers import BertConfig

from schemas.errors import ModelError
from training.export import ACTIVATIONS
from training.importing.folder import CONFIG, CONFIGURATION, CheckpointFolder

KNOWN = ("bert", "structbert", "sbert")
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)
_HEADS_OF_TOKENS = ("ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice", "LMHeadModel")
"""Architectures whose classifier reads tokens or choices: the same tensors, another meaning."""
_TASK_TYPES = ("text-classification", "sequence-classification")


def bert_config(folder: CheckpointFolder) -> BertConfig:
    """The configuration that ModelScope would run: config.json, and over it model.backbone of configuration.json.

    Raises ModelError that names the field and what is known instead.
    """
    _refuse_other_architectures(folder)
    fields = {**folder.config, **folder.backbone}
    sizes = {name: _size(fields, name, folder) for name in _SIZES}
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise ModelError(
            f"{folder.path}: hidden_size {sizes['hidden_size']} is no multiple of num_attention_heads "
            f"{sizes['num_attention_heads']}"
        )
    activation = fields.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise ModelError(f"{folder.path}: hidden_act is {activation!r}; known: {', '.join(ACTIVATIONS)}")
    dropout = fields.get("classifier_dropout")
    return BertConfig(
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["hidden_size"],
        num_hidden_layers=sizes["num_hidden_layers"],
        num_attention_heads=sizes["num_attention_heads"],
        intermediate_size=sizes["intermediate_size"],
        max_position_embeddings=sizes["max_position_embeddings"],
        hidden_act=activation,
        type_vocab_size=int(fields.get("type_vocab_size", 2)),
        layer_norm_eps=float(fields.get("layer_norm_eps", 1e-12)),
        initializer_range=float(fields.get("initializer_range", 0.02)),
        hidden_dropout_prob=float(fields.get("hidden_dropout_prob", 0.1)),
        attention_probs_dropout_prob=float(fields.get("attention_probs_dropout_prob", 0.1)),
        classifier_dropout=None if dropout is None else float(dropout),
        pad_token_id=int(fields.get("pad_token_id") or 0),
    )


def _refuse_other_architectures(folder: CheckpointFolder) -> None:
    fields = {**folder.config, **folder.backbone}
    named = [
        (f"model_type of {CONFIG}", folder.config.get("model_type")),
        (f"model.backbone.type of {CONFIGURATION}", folder.backbone.get("type")),
    ]
    if not folder.backbone and folder.model.get("type") not in _TASK_TYPES:
        named.append((f"model.type of {CONFIGURATION}", folder.model.get("type")))
    for where, value in named:
        if value is not None and value not in KNOWN:
            raise ModelError(
                f"{folder.path}: {where} is {value!r}; only BERT and StructBERT can be imported ({', '.join(KNOWN)})"
            )
    for name in folder.config.get("architectures") or ():
        if str(name).endswith(_HEADS_OF_TOKENS):
            raise ModelError(
                f"{folder.path}: architectures of {CONFIG} has {name!r}, whose head does not classify texts; "
                "import a model for sequence classification, or one without a head"
            )
    unusual = {
        "position_embedding_type": ("absolute", None),
        "problem_type": ("single_label_classification", None),
        "is_decoder": (False, None),
        "add_cross_attention": (False, None),
    }
    for name, usual in unusual.items():
        if fields.get(name) not in usual:
            raise ModelError(f"{folder.path}: {name} is {fields[name]!r}; only {usual[0]!r} can be imported")


def _size(fields: dict[str, Any], name: str, folder: CheckpointFolder) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(f"{folder.path}: {name} of {CONFIG} must be a number from 1, not {value!r}")
    return value
