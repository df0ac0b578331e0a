"""From what a user names to a folder with a checkpoint's files: a path, or the id of a model that others publish.

ModelScope's own download is used where it is installed, and transformers' (cache first). Neither is needed for a path.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ModelError, SetupError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_FILES = ["*.json", "*.txt", "*.safetensors", "pytorch_model*.bin"]


@dataclass(frozen=True)
class Found:
    """A folder, and what to call its origin in a manifest: an id, or the folder's own name."""

    folder: Path
    origin: str


def find(path_or_id: str, say: Callable[[str], None]) -> Found:
    """The folder of a path, or of an id that does not exist as a path and looks like one.

    Raises ModelError for a path that is not there, SetupError (it says how to get the files by hand) for an id that
    cannot be downloaded.
    """
    path = Path(path_or_id).expanduser()
    if path.exists():
        return Found(path, path.resolve().name)
    if not _ID.fullmatch(path_or_id):
        raise ModelError(f"{path_or_id}: there is no such folder, and it is no id such as damo/name; check the path")
    tried = []
    for library, download in (("modelscope", _modelscope), ("huggingface_hub", _transformers)):
        if importlib.util.find_spec(library) is None:
            tried.append(f"{library} is not installed")
            continue
        say(f"getting {path_or_id} with {library}")
        try:
            return Found(_got(library, download, path_or_id), path_or_id)
        except SetupError as error:
            tried.append(str(error))
    raise SetupError(
        f"{path_or_id}: there is no such folder, and as an id it could not be downloaded ({'; '.join(tried)}). "
        "Where the hub can be reached, open the model's page, download config.json, configuration.json and "
        "label_mapping.json (where there), vocab.txt or tokenizer.json, and pytorch_model.bin or model.safetensors "
        "into one folder (or run `pip install modelscope` and `modelscope download --model "
        f"{path_or_id} --local_dir FOLDER`), bring the folder here, and import its path"
    )


def _got(library: str, download: Callable[[str], str], model_id: str) -> Path:
    try:
        return Path(download(model_id))
    except Exception as error:  # network, hub and cache errors, which share no base
        first_line = re.sub(r"https?://\S+", "the hub", str(error).strip().partition("\n")[0])
        raise SetupError(f"{library}: {type(error).__name__}: {first_line:.160}") from error


def _modelscope(model_id: str) -> str:
    # In no extra of ours: people have it, or take their folder from a machine that does.
    modelscope = importlib.import_module("modelscope")
    return str(modelscope.snapshot_download(model_id, allow_patterns=_FILES))


def _transformers(model_id: str) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return snapshot_download(model_id, allow_patterns=_FILES, local_files_only=True)
    except LocalEntryNotFoundError:
        return snapshot_download(model_id, allow_patterns=_FILES)
