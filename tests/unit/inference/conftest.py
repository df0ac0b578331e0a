"""A tiny model in a temporary home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.models import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "models")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Home(tmp_path_factory.mktemp("models")).add()


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Callable[[Tokenizer], Path]:
    def save(tokenizer: Tokenizer) -> Path:
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        return tmp_path / "tokenizer.json"

    return save
