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
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning
from transformers import BertModel
from transformers.models.bert.modeling_bert import BertLayer, BertSelfAttention

from schemas.errors import ModelError
from training.network import Head, Network

OPSET = 20
INPUTS = ("input_ids", "attention_mask")
TOKEN_TYPES = "token_type_ids"  # noqa: S105 - no password
OUTPUTS = ("embedding", "logits")
ACTIVATIONS = ("gelu",)
MASKED = -10_000.0


class ExportableTrunk(nn.Module):
    """A BertModel's layers without dropout or attention interfaces: ids [B, T] to states [B*T, H].

    With `pairs` token types are an input; else every token is of type 0, which is added to the positions beforehand.
    """

    def __init__(self, trunk: BertModel, *, pairs: bool) -> None:
        super().__init__()
        if trunk.config.hidden_act not in ACTIVATIONS:
            raise ModelError(f"hidden_act: is {trunk.config.hidden_act!r}; the export knows {', '.join(ACTIVATIONS)}")
        trunk = copy.deepcopy(trunk)
        nn.Module.train(nn.Module.float(trunk), mode=False)
        self.heads = int(trunk.config.num_attention_heads)
        self.width = int(trunk.config.hidden_size) // self.heads
        self.words = trunk.embeddings.word_embeddings
        types = trunk.embeddings.token_type_embeddings.weight.detach().clone()
        positions = trunk.embeddings.position_embeddings.weight.detach().clone()
        self.types = nn.Parameter(types) if pairs else None
        self.positions = nn.Parameter(positions if pairs else positions + types[0])
        self.norm = trunk.embeddings.LayerNorm
        self.layers = nn.ModuleList(trunk.encoder.layer)
        for module in trunk.modules():
            if not isinstance(module, BertSelfAttention):
                continue
            query = module.query
            query.weight.data *= self.width**-0.5
            query.bias.data *= self.width**-0.5

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """States of every position, padded ones too."""
        texts, tokens = input_ids.shape[0], input_ids.shape[1]
        embedded = self.words(input_ids) + self.positions[:tokens].unsqueeze(0)
        if self.types is not None and token_type_ids is not None:
            embedded = embedded + nn.functional.embedding(token_type_ids, self.types)
        normed: Tensor = self.norm(embedded)
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


class ExportableNetwork(nn.Module):
    """Ids and mask (and token types) [B, T] to the normalized embedding [B, H] and the logits [B, L]."""

    def __init__(self, network: Network, outputs: Sequence[str], *, pairs: bool) -> None:
        super().__init__()
        self.trunk = ExportableTrunk(network.trunk, pairs=pairs)
        self.head: Head = copy.deepcopy(network.head).float().eval()
        self.outputs = tuple(outputs)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The outputs of the graph, in the order asked for."""
        texts, tokens = input_ids.shape[0], input_ids.shape[1]
        states = self.trunk(input_ids, attention_mask, token_type_ids).reshape(texts, tokens, -1)
        visible = attention_mask.to(torch.float32).unsqueeze(1)
        mean = torch.matmul(visible, states).squeeze(1) / visible.sum(-1)
        norm = torch.sqrt((mean * mean).sum(-1, keepdim=True)).clamp_min(1e-12)
        made = {"embedding": mean / norm, "logits": self.head(states[:, 0], mean)}
        return tuple(made[name] for name in self.outputs)


def to_onnx(network: Network, *, pairs: bool = False, outputs: Sequence[str] = OUTPUTS) -> onnx.ModelProto:
    """The FP32 graph with dynamic batch and sequence axes.

    Raises ModelError if the network's activation has no batch-invariant form here.
    """
    sample = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])
    arguments = (sample, (sample != 1).long()) + ((torch.zeros_like(sample),) if pairs else ())
    inputs = [*INPUTS, *([TOKEN_TYPES] if pairs else [])]
    axes = {name: {0: "batch", 1: "tokens"} for name in inputs} | {name: {0: "batch"} for name in outputs}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        # The exporter that traces is called legacy; its graph is plain and keeps both axes dynamic.
        warnings.simplefilter("ignore", DeprecationWarning)
        # What the trace takes for a constant, the size of the vocabulary, is one.
        warnings.simplefilter("ignore", TracerWarning)
        path = Path(scratch) / "model.onnx"
        torch.onnx.export(
            ExportableNetwork(network, outputs, pairs=pairs).eval(),
            arguments,
            path,
            input_names=inputs,
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(path)
    onnx.checker.check_model(model)
    return model
