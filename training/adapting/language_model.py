"""A trunk that guesses masked tokens: BERT's transform, and output weights that are the word embeddings themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import BertModel

from training.adapting.masking import IGNORED


class Transform(nn.Module):
    """From states [N, H] to what is compared with the word embeddings. `bias` [V]: how common each token is."""

    def __init__(self, hidden: int, vocabulary: int, epsilon: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden, eps=epsilon)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states: Tensor, words: Tensor) -> Tensor:
        """Logits [N, V] with the word embeddings [V, H]."""
        transformed = self.norm(nn.functional.gelu(self.dense(states)))
        return nn.functional.linear(transformed, words, self.bias)


class LanguageModel(nn.Module):
    """Trunk and transform."""

    def __init__(self, trunk: BertModel) -> None:
        super().__init__()
        config = trunk.config
        self.trunk = trunk
        self.head = Transform(int(config.hidden_size), int(config.vocab_size), float(config.layer_norm_eps))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, wanted: Tensor) -> Tensor:
        """The mean cross-entropy of the tokens to guess; ids, mask and `wanted` [B, T], IGNORED where none is asked."""
        states: Tensor = self.trunk.embeddings(input_ids=input_ids)
        visible = attention_mask[:, None, None, :].bool()
        for layer in self.trunk.encoder.layer:
            states = layer(states, visible)
        asked = wanted != IGNORED
        logits = self.head(states[asked], self.trunk.embeddings.word_embeddings.weight)
        return nn.functional.cross_entropy(logits.float(), wanted[asked])
