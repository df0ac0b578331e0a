"""What a Parquet file's footer says of its column chunks (parquet.thrift: FileMetaData).

Read here because pyarrow 26 ends the process when it is asked for a chunk whose description contradicts itself
(`metadata.row_group(…).column(…)`), although it refuses the same chunk with an error when it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from producers.sources.thrift import Struct, inner, struct_at, whole
from schemas.errors import SourceError

_BYTE_ARRAY = 6
_TAIL_BYTES = 8
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column chunk: where its pages begin, and what they come to. `path`: the column, levels with dots between."""

    path: str
    is_text: bool
    values: int
    unpacked_bytes: int
    packed_bytes: int
    data_page_at: int
    dictionary_page_at: int


def chunks_of(file: Any) -> list[list[Chunk]]:
    """The column chunks of each row group of a file that pyarrow has opened. Leaves the file's place as it was.

    Raises SourceError where the footer is none.
    """
    before = file.tell()
    try:
        end = file.seek(-_TAIL_BYTES, 2)
        size_bytes = int.from_bytes(file.read(4), "little")
        file.seek(max(0, end - size_bytes))
        footer, _ = struct_at(file.read(size_bytes), 0)
    except (IndexError, OSError) as error:
        raise SourceError(f"its footer cannot be read: {error}") from None
    finally:
        file.seek(before)
    return [
        [_chunk(inner(each, _META_DATA)) for each in _structs(group, _COLUMNS)]
        for group in _structs(footer, _ROW_GROUPS)
    ]


def _structs(struct: Struct, number: int) -> list[Struct]:
    values = struct.get(number)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _chunk(meta: Struct) -> Chunk:
    path = meta.get(3)
    levels = [level for level in path if isinstance(level, bytes)] if isinstance(path, list) else []
    return Chunk(
        path=b".".join(levels).decode("utf-8", "replace"),
        is_text=whole(meta, 1, -1) == _BYTE_ARRAY,
        values=whole(meta, 5),
        unpacked_bytes=whole(meta, 6),
        packed_bytes=whole(meta, 7),
        data_page_at=whole(meta, 9),
        dictionary_page_at=whole(meta, 11),
    )
