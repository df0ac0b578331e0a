"""How well two forms of one model agree: torch against ONNX, FP32 against INT8, a text alone against a batch.

Figures only; what is made of them is the caller's. Shapes: N rows, L labels, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

from schemas.errors import ModelError
from training.network import Network
from worker.inference.scores import softmax
from worker.inference.tokenizer import IdArray, TextTokenizer

Values = npt.NDArray[np.float32]
_BATCH_ROWS = 16
_HYPOTHESIS_TOKENS = 16


@dataclass(frozen=True)
class Row:
    """One sequence for the model: token ids and token types, [tokens] each."""

    ids: IdArray
    types: IdArray


def rows(tokenizer_json: Path, texts: Sequence[str], max_tokens: int, *, pairs: bool) -> list[Row]:
    """Texts as the model reads them, cut at `max_tokens`; with `pairs` each beside the next one's first words."""
    tokenizer = TextTokenizer.load(tokenizer_json)
    encoded = tokenizer.encode(texts)
    if not pairs:
        room = max_tokens - len(tokenizer.head) - len(tokenizer.tail)
        single = [np.concatenate((tokenizer.head, ids[:room], tokenizer.tail)) for ids in encoded]
        return [Row(ids, np.zeros_like(ids)) for ids in single]
    form = tokenizer.pair_form
    if form is None:
        raise ModelError(f"{tokenizer_json}: its post-processor has no form for two texts, which an nli model needs")
    found = []
    for number, ids in enumerate(encoded):
        second = encoded[(number + 1) % len(encoded)][:_HYPOTHESIS_TOKENS]
        first = ids[: max_tokens - form.special_tokens - len(second)]
        before, after = (form.head, first, form.middle), (second, form.tail)
        lengths = [sum(map(len, before)), sum(map(len, after))]
        types = np.repeat(np.array([0, int(form.typed)], np.int32), lengths)
        found.append(Row(np.concatenate(before + after), types))
    return found


def torch_outputs(network: Network, found: Sequence[Row]) -> dict[str, Values]:
    """`embedding` [N, H] and `logits` [N, L], each row run alone."""
    network = network.float().eval()
    embeddings, logits = [], []
    with torch.inference_mode():
        for row in found:
            ids = torch.from_numpy(row.ids.astype(np.int64))[None]
            types = torch.from_numpy(row.types.astype(np.int64))[None]
            output = network(ids, torch.ones_like(ids), types)
            embeddings.append(output.embedding[0].numpy())
            logits.append(output.logits[0].numpy())
    return {"embedding": np.stack(embeddings), "logits": np.stack(logits)}


def graph_outputs(graph: onnx.ModelProto, found: Sequence[Row], *, batch_rows: int = 1) -> dict[str, Values]:
    """The graph's outputs by name, [N, ...] in the order of the rows; `batch_rows` of like length run together."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {node.name for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]
    order = sorted(range(len(found)), key=lambda number: -len(found[number].ids))
    parts = []
    for start in range(0, len(order), batch_rows):
        feed = _padded([found[number] for number in order[start : start + batch_rows]])
        parts.append(session.run(names, {name: values for name, values in feed.items() if name in inputs}))
    back = np.argsort(np.array(order))
    return {name: np.concatenate([part[at] for part in parts])[back] for at, name in enumerate(names)}


def batched_outputs(graph: onnx.ModelProto, found: Sequence[Row]) -> dict[str, Values]:
    """`graph_outputs` with rows in batches, the shorter ones padded."""
    return graph_outputs(graph, found, batch_rows=_BATCH_ROWS)


def compared(expected: Mapping[str, Values], actual: Mapping[str, Values]) -> dict[str, float]:
    """Figures on the outputs that both have.

    From logits `label_agreement` (share of rows with the same largest logit) and `largest_score_difference` (of
    softmax scores); from embeddings `smallest_cosine`.
    """
    figures: dict[str, float] = {}
    if "logits" in expected and "logits" in actual:
        wanted, found = expected["logits"].astype(np.float64), actual["logits"].astype(np.float64)
        figures["label_agreement"] = round(float((wanted.argmax(-1) == found.argmax(-1)).mean()), 4)
        figures["largest_score_difference"] = _short(np.abs(softmax(wanted) - softmax(found)).max())
    if "embedding" in expected and "embedding" in actual:
        cosine = (expected["embedding"].astype(np.float64) * actual["embedding"].astype(np.float64)).sum(-1)
        figures["smallest_cosine"] = round(float(cosine.min()), 6)
    return figures


def _padded(found: Sequence[Row]) -> dict[str, npt.NDArray[np.int64]]:
    longest = max(len(row.ids) for row in found)
    feed = {
        name: np.zeros((len(found), longest), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    for number, row in enumerate(found):
        feed["input_ids"][number, : len(row.ids)] = row.ids
        feed["attention_mask"][number, : len(row.ids)] = 1
        feed["token_type_ids"][number, : len(row.types)] = row.types
    return feed


def _short(value: float) -> float:
    """Two significant digits: the size of a difference is what tells."""
    return float(f"{float(value):.1e}")
