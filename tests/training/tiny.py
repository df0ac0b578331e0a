"""A tiny random network for tests of training: 3 layers of 32, 64 tokens, 40 positions."""

from transformers import BertConfig, BertModel

from training.network import HeadKind, Network, new_head


def tiny_network(kind: HeadKind = HeadKind.MEAN, n_labels: int = 2, seed: int = 0) -> Network:
    """The same weights each time for the same arguments. Padding is id 0."""
    import torch

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        initializer_range=0.3,
        pad_token_id=0,
    )
    return Network(BertModel(config, add_pooling_layer=False), new_head(kind, 32, n_labels))
