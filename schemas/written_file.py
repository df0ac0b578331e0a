"""Files that people write: YAML or JSON, in which no key may stand twice. What they mean is not here."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

from schemas.errors import LabelsError

MAX_WRITTEN_BYTES = 8 * 1024 * 1024
_MAX_ALIASES = 1_000
_MAX_MERGED_KEYS = 5_000
"""A few lines of aliases that hold aliases stand for any number of keys."""


def read_written(path: Path) -> Any:
    """What a file holds: JSON if its name ends so, else YAML. Raises LabelsError with the reason."""
    import yaml  # only files need it, and workers read none

    try:
        with path.open("rb") as file:
            content = file.read(MAX_WRITTEN_BYTES + 1)
        if len(content) > MAX_WRITTEN_BYTES:
            raise LabelsError(f"{path}: has over {MAX_WRITTEN_BYTES:,} bytes; is it the right file?")
        text = content.decode("utf-8-sig")
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
    twice = _first_twice(key for key, _ in pairs)
    if twice is not None:
        raise ValueError(f"{twice!r:.60} stands twice")
    return dict(pairs)


def _first_twice(keys: Iterable[Any]) -> Any:
    """The first of `keys` that has stood before; None if there is none. What cannot be a key counts for nothing."""
    seen: set[Hashable] = set()
    for key in keys:
        if isinstance(key, Hashable):
            if key in seen:
                return key
            seen.add(key)
    return None


def _loader() -> Any:
    """PyYAML's safe loader, but a key that stands twice is an error instead of the last one winning, and there is an
    end to what aliases may multiply."""
    import yaml

    class Loader(yaml.SafeLoader):
        aliases = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                self.aliases += 1
                if self.aliases > _MAX_ALIASES:
                    raise yaml.YAMLError(f"has over {_MAX_ALIASES} aliases (*name); write them out")
            return super().compose_node(parent, index)

        def flatten_mapping(self, node: Any) -> None:
            super().flatten_mapping(node)
            if len(node.value) > _MAX_MERGED_KEYS:
                raise yaml.YAMLError(f"has a mapping of over {_MAX_MERGED_KEYS} keys; is it the right file?")

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (LookupError, AttributeError, TypeError, ArithmeticError, ValueError):
                # What PyYAML's own readers of numbers and times raise for what is none.
                shown = f"{node.value:.60}" if isinstance(node.value, str) else "this"
                problem = f"{shown} is no {str(node.tag).rpartition(':')[2]}; put it in quotes if it is text"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        # What `<<` merges in is a default: the mapping's own keys may say otherwise.
        own = (key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge")
        twice = _first_twice(loader.construct_object(key) for key in own)
        if twice is not None:
            raise yaml.YAMLError(f"{twice!r:.60} stands twice")
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    return Loader
