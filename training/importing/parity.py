"""An imported network against the programs it was made for: transformers' model class and BERT's tokenizer in Python.

Independent of `training.network` and `training.importing.wordpiece`, which is the point. The ONNX graph is held
against the network in `training.publish`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from schemas.errors import ModelError
from training import agreement
from training.importing.reader import Checkpoint
from training.importing.wordpiece import VOCABULARY, form_of
from worker.inference.scores import softmax

MOST_DIFFERENCE = 1e-4


def against_transformers(checkpoint: Checkpoint, rows: Sequence[agreement.Row]) -> dict[str, Any]:
    """Largest difference of scores (of the states' mean, without a classifier) on some rows.

    Raises ModelError if it is more than rounding.
    """
    has_head = any(name.startswith("classifier.") for name in checkpoint.tensors)
    ours = agreement.torch_outputs(checkpoint.network, rows)
    if has_head:
        named = {number: str(number) for number in range(checkpoint.network.n_labels)}
        config = BertConfig.from_dict({**checkpoint.config.to_dict(), "id2label": named})
        model = BertForSequenceClassification(config)
        model.load_state_dict(dict(checkpoint.tensors))
        theirs = softmax(_run(model, rows, "logits").astype(np.float64))
        difference = np.abs(softmax(ours["logits"].astype(np.float64)) - theirs).max()
    else:
        trunk = BertModel(checkpoint.config, add_pooling_layer=False)
        names = {name.removeprefix("bert."): tensor for name, tensor in checkpoint.tensors.items()}
        trunk.load_state_dict({name: tensor for name, tensor in names.items() if not name.startswith("pooler.")})
        mean = _run(trunk, rows, "last_hidden_state")
        difference = np.abs(ours["embedding"] - mean / np.linalg.norm(mean, axis=-1, keepdims=True)).max()
    if difference > MOST_DIFFERENCE:
        raise ModelError(
            f"{checkpoint.folder.path}: scores are off by {difference:.1e} from transformers' own; "
            f"rounding makes {MOST_DIFFERENCE} at most"
        )
    return {
        "against": type(model if has_head else trunk).__name__ + " of transformers, FP32",
        "texts": len(rows),
        "largest_score_difference": float(f"{difference:.1e}"),
    }


def equal_tokens(checkpoint: Checkpoint, texts: Sequence[str]) -> dict[str, Any] | None:
    """Share of texts that get the ids of BertTokenizer in Python; None if the tokenizer is not from vocab.txt."""
    if checkpoint.tokenizer_file != VOCABULARY:
        return None
    form = form_of(checkpoint.folder)
    theirs = BertTokenizerLegacy(  # type: ignore[no-untyped-call]
        str(checkpoint.folder.path / VOCABULARY),
        do_lower_case=form.lowercase,
        strip_accents=form.strip_accents,
        tokenize_chinese_chars=form.split_cjk,
        unk_token=form.unknown,
        sep_token=form.separator,
        pad_token=form.padding,
        cls_token=form.first,
        mask_token=form.mask,
    )
    expected = [theirs.convert_tokens_to_ids(theirs.tokenize(text)) for text in texts]
    found = [checkpoint.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    equal = sum(one == other for one, other in zip(expected, found, strict=True))
    return {"against": "BertTokenizer in Python", "texts": len(texts), "equal": round(equal / len(texts), 4)}


def _run(model: torch.nn.Module, rows: Sequence[agreement.Row], output: str) -> agreement.Values:
    """One output of transformers' model per row, [N, ...]; of states the mean over the row's tokens."""
    model = model.float().eval()
    found = []
    with torch.inference_mode():
        for row in rows:
            ids = torch.from_numpy(row.ids.astype(np.int64))[None]
            types = torch.from_numpy(row.types.astype(np.int64))[None]
            value = getattr(model(ids, attention_mask=torch.ones_like(ids), token_type_ids=types), output)[0]
            found.append(value.mean(0).numpy() if output == "last_hidden_state" else value.numpy())
    return np.stack(found)
