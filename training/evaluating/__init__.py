"""Evaluation: a model and a file of labelled texts in; figures, pictures and the items it got wrong out.

Everything is found by `worker.inference`, as in production. Needs no torch.
"""
