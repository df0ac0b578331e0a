"""Fenliu beside what people would otherwise pick: the same model and texts, on the same machine, in one run.

`python -m benchmarks.peers`. What runs in a peer's own environment is in `apps`; the rest runs in Fenliu's.
"""
