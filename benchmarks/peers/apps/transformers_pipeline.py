"""The articles' way: transformers' `pipeline("text-classification")` on PyTorch in FP32, called in the process itself.

Reads one JSON line per call from standard input, {"texts": [...], "batch_size": n}, and answers with the labels. As
transformers' documentation has it: a model and its tokenizer given to the pipeline, on the CPU, `batch_size` as asked,
no other setting; PyTorch takes as many threads as there are CPUs. Fenliu's head reads the first token's and the mean
state, for which transformers has no class: here is one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel, pipeline
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.bert.modeling_bert import BertPreTrainedModel


class Head(nn.Module):  # type: ignore[misc]  # torch is not in the environment that is type-checked
    """A perceptron of two layers on the first token's and the mean state."""

    def __init__(self, hidden: int, labels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(2 * hidden, hidden)
        self.out = nn.Linear(hidden, labels)


class MeanClassifier(BertPreTrainedModel):  # type: ignore[misc]  # transformers is not there either
    """A BERT with Fenliu's head."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.head = Head(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> SequenceClassifierOutput:
        """Logits [B, L] for ids and mask [B, T]."""
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1)
        inner = torch.tanh(self.head.dense(torch.cat([states[:, 0], mean], dim=-1)))
        return SequenceClassifierOutput(logits=self.head.out(inner))


def load(folder: Path) -> nn.Module:
    """The model of a folder; random weights where there is no `weights.npz`. RuntimeError if a tensor is missing."""
    config = BertConfig.from_pretrained(folder)
    file = folder / "weights.npz"
    if not file.exists():
        return BertForSequenceClassification(config).eval()
    model = MeanClassifier(config)
    with np.load(file, allow_pickle=False) as weights:
        model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
    return model.eval()


def main(folder: Path) -> None:
    """Answer calls until the input ends."""
    classify = pipeline(
        "text-classification", model=load(folder), tokenizer=AutoTokenizer.from_pretrained(folder), device="cpu"
    )
    print(json.dumps({"threads": torch.get_num_threads(), "torch": torch.__version__}), flush=True)  # noqa: T201
    for line in sys.stdin:
        call = json.loads(line)
        if call["batch_size"] == 1:
            answers = [classify(text, truncation=True)[0] for text in call["texts"]]
        else:
            answers = classify(call["texts"], batch_size=call["batch_size"], truncation=True)
        print(json.dumps([answer["label"] for answer in answers]), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main(Path(sys.argv[1]))
