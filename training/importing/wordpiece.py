"""vocab.txt to a `tokenizer.json` with the token ids of transformers' BertTokenizer in Python, which ModelScope runs.

The tokenizers library's own BERT normalizer has older Unicode tables, so text is cleaned and split here by classes that
are made from the tables of the Python at hand, as Python's tokenizer does it: a code point that this Python does not
know is dropped. Special tokens typed in a text are text: see `worker.inference.tokenizer`.
"""

from __future__ import annotations

import functools
import itertools
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from schemas.errors import ModelError
from training.importing.folder import TOKENIZER_CONFIG, CheckpointFolder

VOCABULARY = "vocab.txt"
_LONGEST_WORD_CHARS = 100
_CONTINUING = "##"
_CJK = (
    r"\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}\x{2B820}-\x{2CEAF}"
    r"\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}"
)
_CASED = r"[\p{Lu}\p{Ll}\p{Lt}]"


@dataclass(frozen=True)
class WordPieceForm:
    """What tokenizer_config.json may change. `strip_accents` None: as `lowercase`."""

    lowercase: bool = True
    strip_accents: bool | None = None
    split_cjk: bool = True
    unknown: str = "[UNK]"
    separator: str = "[SEP]"
    padding: str = "[PAD]"
    first: str = "[CLS]"
    mask: str = "[MASK]"

    @property
    def specials(self) -> tuple[str, ...]:
        """Tokens with a meaning of their own."""
        return self.padding, self.unknown, self.first, self.separator, self.mask


def form_of(folder: CheckpointFolder) -> WordPieceForm:
    """The form that tokenizer_config.json asks for."""
    fields = folder.tokenizer_config
    usual = WordPieceForm()

    def token(name: str, default: str) -> str:
        value = fields.get(name)
        return str(value.get("content", default)) if isinstance(value, dict) else str(value or default)

    strip = fields.get("strip_accents")
    return WordPieceForm(
        lowercase=bool(fields.get("do_lower_case", usual.lowercase)),
        strip_accents=None if strip is None else bool(strip),
        split_cjk=bool(fields.get("tokenize_chinese_chars", usual.split_cjk)),
        unknown=token("unk_token", usual.unknown),
        separator=token("sep_token", usual.separator),
        padding=token("pad_token", usual.padding),
        first=token("cls_token", usual.first),
        mask=token("mask_token", usual.mask),
    )


def read_vocabulary(path: Path) -> dict[str, int]:
    """Token to line number, from 0; of a token that stands twice the last line counts, as in transformers."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read as UTF-8: {error}; get the file again") from error
    if lines and not lines[-1]:
        lines.pop()
    return {token: number for number, token in enumerate(lines)}


def wordpiece(vocabulary: dict[str, int], form: WordPieceForm) -> Tokenizer:
    """The tokenizer, with BERT's form for one text and for two. Raises ModelError for a special token not in there."""
    missing = [token for token in form.specials if token not in vocabulary]
    if missing:
        raise ModelError(
            f"the vocabulary has no {', '.join(missing)}; name the special tokens in {TOKENIZER_CONFIG}, or get the "
            "vocabulary that the model was trained with"
        )
    model = WordPiece(
        vocabulary,
        unk_token=form.unknown,
        max_input_chars_per_word=_LONGEST_WORD_CHARS,
        continuing_subword_prefix=_CONTINUING,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _normalizer(form)
    isolated = _class("P", _CJK if form.split_cjk else "")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(isolated), "isolated")]
    )
    first, separator = form.first, form.separator
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {separator}:0",
        pair=f"{first}:0 $A:0 {separator}:0 $B:1 {separator}:1",
        special_tokens=[(first, vocabulary[first]), (separator, vocabulary[separator])],
    )
    tokenizer.decoder = decoders.WordPiece(prefix=_CONTINUING)
    tokenizer.add_special_tokens(list(form.specials))
    return tokenizer


def _normalizer(form: WordPieceForm) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = [normalizers.Replace(Regex(_class("C")), "")]
    if form.lowercase:
        # Python's lower() knows the sigma at a word's end, the library's goes character by character.
        steps.append(normalizers.Replace(Regex(f"(?<={_CASED})Σ(?!{_CASED})"), "ς"))
        steps.append(normalizers.Lowercase())
    if form.strip_accents or (form.strip_accents is None and form.lowercase):
        steps += [normalizers.NFD(), normalizers.Replace(Regex(_class("Mn")), "")]
    else:
        steps.append(normalizers.NFC())
    return normalizers.Sequence(steps)


def _category(code: int) -> str:
    """The Unicode category of a code point as BERT sees it: tabs are blanks, U+FFFD is no text, `$` is punctuation."""
    char = chr(code)
    if char in "\t\n\r":
        return "Zs"
    if char == "\ufffd":
        return "Cc"
    return "Po" if "!" <= char <= "~" and not char.isalnum() else unicodedata.category(char)


@functools.cache
def _runs() -> tuple[tuple[int, int, str], ...]:
    """First and last code point of every run of one category."""
    runs = []
    for category, codes in itertools.groupby(range(sys.maxunicode + 1), _category):
        first, *more = codes
        runs.append((first, more[-1] if more else first, category))
    return tuple(runs)


def _class(categories: str, also: str = "") -> str:
    """A character class of every code point whose category begins so, surrogates apart."""
    wanted = (run for run in _runs() if run[2].startswith(categories) and run[2] != "Cs")
    return "[" + "".join(rf"\x{{{first:X}}}-\x{{{last:X}}}" for first, last, _ in wanted) + also + "]"
