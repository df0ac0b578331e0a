"""The reader of the 4-bit weight file, on files made here."""

import struct

import numpy as np
import pytest

from training import e5

HIDDEN, FFN = 32, 64


def _blocks(values: np.ndarray) -> bytes:
    """Whole multiples of 0.5 from -4 to 3.5, as blocks with the scale 0.5."""
    out = b""
    for block in values.reshape(-1, 32):
        nibbles = (block / 0.5 + 8).astype(np.uint8)
        out += np.float16(0.5).tobytes() + (nibbles[:16] | nibbles[16:] << 4).tobytes()
    return out


def _file(tensors: dict[str, tuple[int, bytes]], pieces: list[str]) -> bytes:
    raw = [piece.encode() for piece in pieces]
    offsets = np.cumsum([0, *map(len, raw)]).astype("<u4")
    head = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, 1, 1, FFN, len(pieces), 8, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, sum(map(len, raw))) + offsets.tobytes()
    head += np.arange(len(pieces), dtype="<f4").tobytes() + b"".join(raw)
    head += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 65313, 1, 65)
    start = len(head) + 4 + sum(2 + len(name) + 21 for name in tensors)
    directory, body = struct.pack("<i", len(tensors)), b""
    for name, (count, data) in tensors.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", len(data) != 4 * count, count, start + len(body), len(data))
        body += data
    return head + directory + body


def test_pieces_and_tensors_come_out_as_they_went_in() -> None:
    # Given a file with a table of 4-bit blocks, a wide matrix and a float vector
    rng = np.random.default_rng(0)
    words = rng.integers(-8, 8, (5, HIDDEN)).astype(np.float32) / 2
    wide = rng.integers(-8, 8, (HIDDEN, FFN)).astype(np.float32) / 2
    norm = rng.normal(size=HIDDEN).astype("<f4")
    data = _file(
        {
            "emb.word": (words.size, _blocks(words)),
            "l0.fo.w": (wide.size, _blocks(wide)),
            "l0.oln.w": (HIDDEN, norm.tobytes()),
        },
        ["<s>", "<pad>", "</s>", "<unk>", "▁好"],
    )
    # When it is read
    weights = e5.read_weights(data)
    # Then every number is back, in its shape
    assert ("▁好", 4.0) == weights.pieces[4]
    assert (HIDDEN, FFN) == (weights.shape.hidden, weights.shape.ffn)
    np.testing.assert_array_equal(words, weights.tensors["emb.word"])
    np.testing.assert_array_equal(wide, weights.tensors["l0.fo.w"])
    np.testing.assert_array_equal(norm, weights.tensors["l0.oln.w"])


@pytest.mark.parametrize("length", [0, 20, 100, 200])
def test_a_file_that_is_cut_short_is_refused(length: int) -> None:
    data = _file({"l0.oln.w": (HIDDEN, bytes(4 * HIDDEN))}, ["<s>", "<pad>", "</s>", "<unk>"])
    with pytest.raises(e5.WeightFileError):
        e5.read_weights(data[:length])
