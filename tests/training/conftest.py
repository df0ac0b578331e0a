"""Settings for all tests of training."""

import importlib.util

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Networks this small are fastest on one thread, above all while other work goes on."""
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
