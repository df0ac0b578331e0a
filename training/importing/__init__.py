"""Checkpoints of ModelScope and transformers, read into a `training.network.Network` and made into model folders."""
