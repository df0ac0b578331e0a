"""Files that people write: YAML or JSON, in which no key may stand twice. What they mean is not here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.errors import LabelsError


def read_written(path: Path) -> Any:
    """What a file holds: JSON if its name ends so, else YAML. Raises LabelsError with the reason."""
    import yaml  # only files need it, and workers read none

    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_unique)
        return _loader()(text).get_single_data()
    except OSError as error:
        raise LabelsError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise LabelsError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise LabelsError(f"{path}: cannot be read as YAML or JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{key!r} stands twice")
    return dict(pairs)


def _loader() -> Any:
    """PyYAML's safe loader, but a key that stands twice is an error instead of the last one winning."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        # What `<<` merges in is a default: the mapping's own keys may say otherwise.
        own = (key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge")
        keys = [loader.construct_object(key) for key in own]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key!r} stands twice")
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    return Loader
