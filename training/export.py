"""torch to ONNX: the encoder's forward pass written out in operators whose result for a text does not depend on
its batch-mates, nor on how far it is padded.

Tokens are kept flat, [B*T, H], outside attention. Attention sums its weights inside the matrix product with the
values (a column of ones), because a product adds in the order of the positions whatever the padding, which a
reduction over the last axis does not.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from transformers import BertModel
from transformers.models.bert.modeling_bert import BertLayer, BertSelfAttention

from training.encoder import Encoder, SentimentHead

OPSET = 20
INPUTS = ("input_ids", "attention_mask")
OUTPUTS = ("embedding", "logits")
MASKED = -10_000.0


class ExportableTrunk(nn.Module):
    """A BertModel's layers without dropout, attention interfaces or token types: ids [B, T] to states [B*T, H]."""

    def __init__(self, trunk: BertModel) -> None:
        super().__init__()
        trunk = copy.deepcopy(trunk)
        nn.Module.train(nn.Module.float(trunk), mode=False)
        self.heads = int(trunk.config.num_attention_heads)
        self.width = int(trunk.config.hidden_size) // self.heads
        self.words = trunk.embeddings.word_embeddings
        positions = trunk.embeddings.position_embeddings.weight + trunk.embeddings.token_type_embeddings.weight[0]
        self.positions = nn.Parameter(positions.detach().clone())
        self.norm = trunk.embeddings.LayerNorm
        self.layers = nn.ModuleList(trunk.encoder.layer)
        for module in trunk.modules():
            if not isinstance(module, BertSelfAttention):
                continue
            query = module.query
            query.weight.data *= self.width**-0.5
            query.bias.data *= self.width**-0.5

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """States of every position, padded ones too."""
        texts, tokens = input_ids.shape[0], input_ids.shape[1]
        words = self.words(input_ids)
        normed: Tensor = self.norm(words + self.positions[:tokens].unsqueeze(0))
        states = normed.reshape(-1, self.heads * self.width)
        visible = attention_mask.to(torch.float32)
        bias = ((1.0 - visible) * MASKED).unsqueeze(1).unsqueeze(1)
        ones = torch.ones_like(visible).unsqueeze(1).unsqueeze(-1).expand(texts, self.heads, tokens, 1)
        for layer in self.layers:
            assert isinstance(layer, BertLayer)  # noqa: S101 - says what the list holds
            states = self._layer(layer, states, bias, ones)
        return states

    def _layer(self, layer: BertLayer, states: Tensor, bias: Tensor, ones: Tensor) -> Tensor:
        attention = layer.attention.self
        shape = (ones.shape[0], ones.shape[2], self.heads, self.width)
        query = attention.query(states).reshape(shape).permute(0, 2, 1, 3)
        key = attention.key(states).reshape(shape).permute(0, 2, 3, 1)
        value = attention.value(states).reshape(shape).permute(0, 2, 1, 3)
        similarity = torch.matmul(query, key) + bias
        weights = torch.exp(similarity - similarity.amax(-1, keepdim=True))
        summed = torch.matmul(weights, torch.cat([value, ones], dim=-1))
        context = summed[..., : self.width] / summed[..., self.width :]
        context = context.permute(0, 2, 1, 3).reshape(-1, self.heads * self.width)
        output = layer.attention.output
        states = output.LayerNorm(output.dense(context) + states)
        inner = nn.functional.gelu(layer.intermediate.dense(states))
        result: Tensor = layer.output.LayerNorm(layer.output.dense(inner) + states)
        return result


class ExportableEncoder(nn.Module):
    """Ids and mask [B, T] to the normalized embedding [B, H] and the logits [B, 2]."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.trunk = ExportableTrunk(encoder.trunk)
        self.head: SentimentHead = copy.deepcopy(encoder.head).float().eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The two outputs of the graph."""
        texts, tokens = input_ids.shape[0], input_ids.shape[1]
        states = self.trunk(input_ids, attention_mask).reshape(texts, tokens, -1)
        visible = attention_mask.to(torch.float32).unsqueeze(1)
        count = visible.sum(-1)
        mean = torch.matmul(visible, states).squeeze(1) / count
        norm = torch.sqrt((mean * mean).sum(-1, keepdim=True)).clamp_min(1e-12)
        return mean / norm, self.head(states[:, 0], mean)


def to_onnx(encoder: Encoder) -> onnx.ModelProto:
    """The FP32 graph with dynamic batch and sequence axes."""
    sample = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])
    axes = {name: {0: "batch", 1: "tokens"} for name in INPUTS} | {name: {0: "batch"} for name in OUTPUTS}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        # The exporter that traces is called legacy; its graph is plain and keeps both axes dynamic.
        warnings.simplefilter("ignore", DeprecationWarning)
        path = Path(scratch) / "model.onnx"
        torch.onnx.export(
            ExportableEncoder(encoder).eval(),
            (sample, (sample != 1).long()),
            path,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(path)
    onnx.checker.check_model(model)
    return model
