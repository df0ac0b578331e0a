"""The tokenizer of a checkpoint, held against its embedding table.

ModelScope reads vocab.txt, so in its folders that comes first; transformers prefers tokenizer.json.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer

from schemas.errors import ModelError
from schemas.manifest import TOKENIZER_FILE
from training.importing.folder import CheckpointFolder
from training.importing.wordpiece import VOCABULARY, form_of, read_vocabulary, wordpiece

MOST_TOKENS = 512
_NO_LIMIT = 1_000_000


def tokenizer_of(folder: CheckpointFolder, embeddings: int) -> tuple[Tokenizer, str]:
    """The tokenizer, and the name of the file it is from.

    Raises ModelError if there is no file for one, or its tokens are not as many as the `embeddings`.
    """
    names = [VOCABULARY, TOKENIZER_FILE] if folder.is_modelscope else [TOKENIZER_FILE, VOCABULARY]
    name = next((name for name in names if (folder.path / name).is_file()), None)
    if name is None:
        raise ModelError(
            f"{folder.path}: has neither {VOCABULARY} nor {TOKENIZER_FILE}; get it from where the weights are"
        )
    path = folder.path / name
    if name == VOCABULARY:
        vocabulary = read_vocabulary(path)
        size = max(vocabulary.values(), default=-1) + 1
        _same_size(path, size, embeddings)
        return wordpiece(vocabulary, form_of(folder)), name
    tokenizer = _read(path)
    _same_size(path, max(tokenizer.get_vocab().values(), default=-1) + 1, embeddings)
    return tokenizer, name


def max_tokens_of(folder: CheckpointFolder, positions: int) -> int:
    """The length that the checkpoint's own programs cut at: never more than there are `positions`.

    ModelScope: max_length of its preprocessor, else 512. transformers: model_max_length, else 512.
    """
    found = folder.preprocessor.get("max_length") if folder.is_modelscope else None
    if found is None and not folder.is_modelscope:
        found = folder.tokenizer_config.get("model_max_length")
    usable = isinstance(found, int) and not isinstance(found, bool) and 0 < found < _NO_LIMIT
    return min(int(found) if usable and found is not None else MOST_TOKENS, positions)


def _read(path: Path) -> Tokenizer:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the tokenizers library has no error of its own
        raise ModelError(f"{path}: is no tokenizer: {error}; get the file again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _same_size(path: Path, tokens: int, embeddings: int) -> None:
    if tokens != embeddings:
        raise ModelError(
            f"{path}: has {tokens} tokens, but the embedding table has {embeddings} rows; get the vocabulary and the "
            "weights from the same place"
        )
