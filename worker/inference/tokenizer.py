"""Text to token ids, without the model's special tokens: what a user types is text and never a command.

`[SEP]`, `</s>` or `<mask>` in a text must not become the tokens that bound a sequence. Cutting long id lists into
windows and putting the special tokens around them is `worker.inference.windows`'.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from schemas.errors import InferenceError, ModelError, PermanentError

IdArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class PairForm:
    """The special tokens around two texts in one sequence: `head` first `middle` second `tail`.

    `typed`: whether the second text and what follows it are of token type 1, as in BERT.
    """

    head: IdArray
    middle: IdArray
    tail: IdArray
    typed: bool

    @property
    def special_tokens(self) -> int:
        """How many tokens of a sequence are not text."""
        return len(self.head) + len(self.middle) + len(self.tail)


class TextTokenizer:
    """Read-only after it is made; threads share it.

    `head` and `tail` are the special tokens that stand before and after every sequence; `pair_form` those of two texts
    in one sequence, None where nothing would keep them apart.
    """

    def __init__(self, tokenizer: Tokenizer, unknown_id: int | None) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True  # named so, yet True means: do not match special tokens in text
        self._tokenizer = tokenizer
        self.head, self.tail = _around(tokenizer)
        self.pair_form = _pair_form(tokenizer)
        special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        special |= {*self.head.tolist(), *self.tail.tolist()}
        self._special = frozenset(special - {unknown_id})
        self._spelled = {number: self._spell(number) for number in self._special}
        self.pad_id = _pad_id(tokenizer)

    @classmethod
    def load(cls, path: Path) -> TextTokenizer:
        """From a `tokenizer.json`. Raises ModelError.

        Switches the library's own thread pool off for this process unless TOKENIZERS_PARALLELISM says otherwise: slots
        are threads already, and a pool of one thread per CPU beside them would take the CPUs from ONNX Runtime.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}") from error
        with _raised_as(ModelError, f"{path}: is no tokenizer"):
            model = json.loads(content)["model"]
            tokenizer = Tokenizer.from_str(content.decode())
            unknown_id = model.get("unk_id")
            if unknown_id is None and model.get("unk_token") is not None:
                unknown_id = tokenizer.token_to_id(model["unk_token"])
            return cls(tokenizer, unknown_id)

    def encode(self, texts: Sequence[str]) -> list[IdArray]:
        """Token ids of each text, without special tokens, [tokens] int32; may be empty.

        One call into the library, which runs without the GIL. Raises InferenceError.
        """
        with _raised_as(InferenceError, "the tokenizer failed"):
            encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._harmless(encoding.ids) for encoding in encodings]

    def places(self, text: str) -> list[tuple[int, int]]:
        """For each token that `encode` gives of a text, where its characters start and end. Raises InferenceError."""
        with _raised_as(InferenceError, "the tokenizer failed"):
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [
            place
            for number, place in zip(encoding.ids, encoding.offsets, strict=True)
            for _ in self._spelled.get(number, (number,))
        ]

    def _harmless(self, ids: list[int]) -> IdArray:
        # A vocabulary may hold `</s>` as an ordinary piece too (XLM-R's does), and then text can still match it.
        if not self._special.isdisjoint(ids):
            ids = [part for number in ids for part in self._spelled.get(number, (number,))]
        return np.array(ids, dtype=np.int32)

    def _spell(self, number: int) -> tuple[int, ...]:
        """Ids of a special token's characters, one by one."""
        characters: Iterable[str] = self._tokenizer.id_to_token(number) or ""
        spelled = self._tokenizer.encode_batch(list(characters), add_special_tokens=False)
        return tuple(part for encoding in spelled for part in encoding.ids if part not in self._special)


@contextmanager
def _raised_as(kind: type[PermanentError], what: str) -> Iterator[None]:
    """Whatever the library raises, as one of ours.

    A panic in its Rust is no Exception, yet ends no more than the call: uncaught it would end the thread.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise kind(f"{what}: {error}") from error
        raise


def _around(tokenizer: Tokenizer) -> tuple[IdArray, IdArray]:
    """The special ids that the post-processor puts before and after a sequence."""
    encoding = tokenizer.encode("a")
    mask = encoding.special_tokens_mask
    text_at = mask.index(0) if 0 in mask else (len(mask) + 1) // 2
    text_end = len(mask) - mask[::-1].index(0) if 0 in mask else text_at
    return np.array(encoding.ids[:text_at], dtype=np.int32), np.array(encoding.ids[text_end:], dtype=np.int32)


def _pair_form(tokenizer: Tokenizer) -> PairForm | None:
    """What the post-processor puts around two texts, seen on one pair of single tokens or more."""
    encoding = tokenizer.encode("a", "a")
    ids, mask = np.array(encoding.ids, dtype=np.int32), encoding.special_tokens_mask
    text = [number for number, special in enumerate(mask) if not special]
    gaps = [number for number in range(len(text) - 1) if text[number + 1] > text[number] + 1]
    if len(gaps) != 1:
        return None
    end, start = text[gaps[0]] + 1, text[gaps[0] + 1]
    types = encoding.type_ids
    return PairForm(ids[: text[0]], ids[end:start], ids[text[-1] + 1 :], typed=types[start] == 1 and types[end] == 0)


def _pad_id(tokenizer: Tokenizer) -> int:
    """Any id will do where the attention mask is 0; the model's own is the least surprising."""
    for token in ("[PAD]", "<pad>"):
        number = tokenizer.token_to_id(token)
        if number is not None:
            return int(number)
    return 0
