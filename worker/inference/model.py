"""One model folder, loaded: its manifest, tokenizer and session, and texts through them, cut to its length.

What its rows mean is said elsewhere: `sentiment`, `encoder`, `pair`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.errors import ModelError
from schemas.manifest import MODEL_FILE, TOKENIZER_FILE, LongText, Manifest, ModelKind
from worker.inference.engine import EMBEDDING, LOGITS, Engine, Rows
from worker.inference.providers import CPU
from worker.inference.run_tally import RunTally
from worker.inference.scores import Array, joined, normalized
from worker.inference.tokenizer import IdArray, TextTokenizer
from worker.inference.windows import weights, windows

_ENCODE_CHARS = 65_536
"""Characters tokenized or embedded at once: what the tokenizer keeps of each is far larger than the text."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the windows of one text lie among all windows of a pass: rows `start` to `end`, and their weights."""

    start: int
    end: int
    weights: list[int]

    def joined(self, values: Array) -> Array:
        """This text's share of the windows' values [windows, …] as one."""
        return joined(values[self.start : self.end], self.weights)


@dataclass(frozen=True, slots=True)
class Pass:
    """Texts after one forward pass: output rows of all windows by output name, and each text's cut of them."""

    rows: dict[str, Rows]
    cuts: list[Cut]


class Model:
    """Threads may share one: nothing in it changes after it is made."""

    def __init__(self, manifest: Manifest, tokenizer: TextTokenizer, engine: Engine) -> None:
        """Raises ModelError if the parts do not fit the manifest; `load` is the usual way in."""
        needed = {ModelKind.CLASSIFIER: LOGITS, ModelKind.NLI: LOGITS, ModelKind.ENCODER: EMBEDDING}
        for kind in manifest.kind:
            if needed.get(kind, LOGITS) not in engine.outputs:
                raise ModelError(f"{manifest.id} is a {kind.value}, yet its graph has no output {needed[kind]!r}")
        self.manifest = manifest
        self.tokenizer = tokenizer
        self.engine = engine
        self._text_head = self.head(manifest.prefixes.text)
        self._check_shapes()

    @classmethod
    def load(
        cls,
        folder: Path,
        manifest: Manifest,
        *,
        run_tokens: int,
        threads: int,
        tally: RunTally | None = None,
        provider: str = CPU,
    ) -> Model:
        """The model of a folder whose `manifest` has passed `folder.check`. Raises ModelError with the reason."""
        tokenizer = TextTokenizer.load(folder / TOKENIZER_FILE)
        engine = Engine(
            folder / MODEL_FILE,
            run_tokens=run_tokens,
            threads=threads,
            pad_id=tokenizer.pad_id,
            tally=tally,
            provider=provider,
        )
        return cls(manifest, tokenizer, engine)

    def encode(self, texts: Sequence[str]) -> list[IdArray]:
        """Token ids of each text, as far as they are read. Raises InferenceError."""
        found: list[IdArray] = []
        for part in _by_chars(texts, _ENCODE_CHARS):
            for text, ids in zip(part, self.tokenizer.encode(part), strict=True):
                # Normalization unfolds a few characters into many (U+FDFA into 18); what a text may cost stays bounded.
                found.append(ids[: max(self.manifest.max_tokens, len(text))])
        return found

    def forward(self, ids: Sequence[IdArray], head: IdArray | None = None) -> Pass:
        """Texts, as `encode` gives them, through the graph, each behind `head` (the manifest's for texts)."""
        head = self._text_head if head is None else head
        tail = self.tokenizer.tail
        sequences: list[IdArray] = []
        cuts: list[Cut] = []
        for tokens in ids:
            start = len(sequences)
            sequences.extend(windows(self.shortened(tokens, head, tail), head, tail, self.manifest.max_tokens))
            cuts.append(Cut(start, len(sequences), weights(sequences[start:], len(head) + len(tail))))
        return Pass(self.engine.run(sequences), cuts)

    def embed(self, texts: Sequence[str], prefix: str) -> Array:
        """Embeddings [texts, H] of length 1; of a long text the weighted mean of its windows."""
        head = self.head(prefix)
        found: list[Array] = []
        for part in _by_chars(texts, _ENCODE_CHARS):
            done = self.forward(self.encode(part), head)
            values = done.rows[EMBEDDING].astype(np.float64)
            found.extend(cut.joined(values) for cut in done.cuts)
        return normalized(np.stack(found))

    def head(self, prefix: str) -> IdArray:
        """Special tokens and prefix that stand before every window. Raises ModelError if they leave no room."""
        head = self.tokenizer.head
        if prefix:
            head = np.concatenate((head, self.tokenizer.encode([prefix])[0]))
        if len(head) + len(self.tokenizer.tail) >= self.manifest.max_tokens:
            raise ModelError(f"{self.manifest.id}: the prefix {prefix!r} leaves no room in {self.manifest.max_tokens}")
        return head

    def shortened(self, ids: IdArray, head: IdArray, tail: IdArray) -> IdArray:
        """What the manifest wants read of a text that may be too long."""
        if self.manifest.long_text is LongText.WINDOWS:
            return ids
        return ids[: self.manifest.max_tokens - len(head) - len(tail)]

    def _check_shapes(self) -> None:
        """One run over a single token: a graph whose outputs have other shapes is refused now and not at work."""
        rows = self.engine.run([np.concatenate((self._text_head, self.tokenizer.tail))])
        manifest = self.manifest
        expected = {}
        if ModelKind.CLASSIFIER in manifest.kind or (ModelKind.NLI in manifest.kind and manifest.labels):
            expected[LOGITS] = len(manifest.labels)
        if ModelKind.ENCODER in manifest.kind:
            expected[EMBEDDING] = manifest.embedding_width or 0
        for name, width in expected.items():
            if rows[name].shape != (1, width):
                raise ModelError(
                    f"{manifest.id}: {name} of one text has the shape {rows[name].shape}, not (1, {width})"
                )


def _by_chars(texts: Sequence[str], most_chars: int) -> Iterator[Sequence[str]]:
    """Parts of `texts` of at most `most_chars` characters together; a longer text is a part by itself."""
    start = chars = 0
    for number, text in enumerate(texts):
        if number > start and chars + len(text) > most_chars:
            yield texts[start:number]
            start, chars = number, 0
        chars += len(text)
    if start < len(texts):
        yield texts[start:]
