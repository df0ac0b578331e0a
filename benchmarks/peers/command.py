"""Fenliu and its peers on the same texts with the same model, in one run.

    python -m benchmarks.peers --prepare
    python -m benchmarks.peers [--texts 4000] [--rounds 1] [--single 200] [--only NAME,…] [--shape base] [--dry]

--prepare makes the peers' environments in .peers/; without one its peers are left out, and the result says so. All
texts are distinct and cut at 128 tokens before anybody gets them, so that all do the same work. All peers run all along
and wait while another works; between every two of them Fenliu and the session alone take their turn, and ratios are
taken against the two that stand before and after a peer. Slow peers get only a part of the texts.

With --shape the model has random weights of that shape, in INT8, and the result goes beside the other: only its speed
means anything. --texts 800 will do for base.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.machine import keep_result
from benchmarks.peers import environments, model_folder
from benchmarks.peers.contenders import TERMS
from benchmarks.peers.measure import Texts, measure
from benchmarks.pipeline import dealt
from benchmarks.random_model import SHAPES, write_random_model
from benchmarks.stack import scratch_stack
from benchmarks.texts import distinct_texts
from schemas.manifest import TOKENIZER_FILE
from worker.inference.folder import find, model_homes

MOST_TOKENS = 128
WARM_TEXTS = 256
_SPARE_TEXTS = 200


def main(arguments: Sequence[str] = ()) -> None:
    """Prepare, or measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", action="store_true", help="make the peers' environments, and do nothing else")
    parser.add_argument("--texts", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--single", type=int, default=200, help="texts that are sent one by one")
    parser.add_argument("--only", default="", help=f"of {', '.join(name for name in TERMS if name != 'fenliu')}")
    parser.add_argument("--shape", choices=SHAPES, help="a model with random weights instead of the shipped one")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    if options.prepare:
        environments.prepare()
        return
    names = options.only.split(",") if options.only else list(TERMS)
    unknown = [name for name in names if name not in TERMS]
    if unknown:
        parser.error(f"unknown peer {unknown[0]!r}; known: {', '.join(TERMS)}")
    with scratch_stack() as stack:
        settings = stack
        if options.shape:
            settings = stack.model_copy(update={"model": write_random_model(stack, options.shape)})
        source = find(settings.model, model_homes(settings.models_home))
        texts = take_texts(source / TOKENIZER_FILE, options.texts, options.single, settings.batch_entries)
        shape = model_folder.random_shape(source, SHAPES[options.shape]) if options.shape else None
        folder = model_folder.write(source, settings.home / "peer-model", shape)
        result = measure(settings, folder, texts, options.rounds, names)
    result = {"model": "/".join(source.parts[-2:]), "most_tokens": MOST_TOKENS} | result
    keep_result(f"peers_{options.shape}" if options.shape else "peers", result, dry=options.dry)


def take_texts(tokenizer_file: Path, count: int, single: int, batch_entries: int) -> Texts:
    """Distinct texts of at most MOST_TOKENS, in an order in which every batch has the same mix of lengths."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    wanted = WARM_TEXTS + count + single
    found = list(dict.fromkeys(cut(tokenizer, text, MOST_TOKENS) for text in distinct_texts(wanted + _SPARE_TEXTS)))
    if len(found) < wanted:
        raise ValueError(f"{len(found)} texts are distinct when cut at {MOST_TOKENS} tokens, not {wanted}")
    timed = dealt(found[:count], batch_entries)
    return Texts(found[count : count + WARM_TEXTS], timed, found[count + WARM_TEXTS : wanted])


def cut(tokenizer: Tokenizer, text: str, most_tokens: int) -> str:
    """As much of the text as makes `most_tokens` with the model's special tokens."""
    kept = most_tokens - tokenizer.num_special_tokens_to_add(is_pair=False)
    encoded = tokenizer.encode(text, add_special_tokens=False)
    if len(encoded.ids) <= kept:
        return text
    return text[: encoded.offsets[kept - 1][1]]
