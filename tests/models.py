"""Tiny model folders: bag-of-tokens models whose every number a test can work out by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from schemas.manifest import sha256_of

WIDTH = 8
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
WORDS = ("▁", "物流", "退款", "太慢", "很好", "登录", "query")
CHARACTERS = "物流退款太慢很好登录账号了不abcdefghquery<>/s:S[EPCLM]"


def tiny_tokenizer() -> Tokenizer:
    """Unigram as XLM-R has it: the specials stand in the vocabulary and are added tokens as well."""
    pieces = [(piece, 0.0) for piece in SPECIALS]
    pieces += [(piece, -1.0 - 2.0 / len(piece)) for piece in dict.fromkeys([*WORDS, *CHARACTERS])]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def table(vocabulary: int) -> np.ndarray:
    """The model's embedding table [vocabulary, WIDTH]."""
    return np.random.default_rng(7).normal(size=(vocabulary, WIDTH)).astype(np.float32)


def head_weights(labels: int = 2) -> np.ndarray:
    """The model's head [WIDTH, labels]."""
    return np.random.default_rng(6 + labels).normal(size=(WIDTH, labels)).astype(np.float32)


def tiny_graph(
    vocabulary: int, *, inputs: tuple[str, ...] = ("input_ids", "attention_mask"), labels: int = 2
) -> onnx.ModelProto:
    """embedding = normalized mean of the tokens' rows, logits = that mean through the head.

    With token types, a token of type 1 has the row after its own.
    """
    integers = {name: helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"]) for name in inputs}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Mul", ["rows", "mask3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "middle"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("LpNormalization", ["mean"], ["embedding"], axis=-1, p=2),
        helper.make_node("MatMul", ["mean", "head"], ["logits"]),
    ]
    if "token_type_ids" in inputs:
        nodes[0] = helper.make_node("Add", ["input_ids", "token_type_ids"], ["ids"])
        nodes.insert(1, helper.make_node("Gather", ["table", "ids"], ["rows"]))
    if "attention_mask" not in inputs:
        nodes[1] = helper.make_node("Greater", ["input_ids", "minus"], ["all"])
        nodes.insert(2, helper.make_node("Cast", ["all"], ["mask"], to=TensorProto.FLOAT))
    graph = helper.make_graph(
        nodes,
        "tiny",
        list(integers.values()),
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", WIDTH]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", labels]),
        ],
        [
            numpy_helper.from_array(table(vocabulary), "table"),
            numpy_helper.from_array(head_weights(labels), "head"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "middle"),
            numpy_helper.from_array(np.array(-1, dtype=np.int64), "minus"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@dataclass(frozen=True)
class Home:
    """A models home that tests fill."""

    path: Path

    def add(self, name: str = "tiny", version: str = "1", **changes: Any) -> Path:
        """Write one model folder; `changes` replace manifest fields, None removes one."""
        folder = self.path / name / version
        folder.mkdir(parents=True)
        tokenizer = tiny_tokenizer()
        tokenizer.save(str(folder / "tokenizer.json"))
        onnx.save(tiny_graph(tokenizer.get_vocab_size()), folder / "model.onnx")
        neutral = np.random.default_rng(9).normal(size=(5, WIDTH)).astype(np.float32)
        np.save(folder / "neutral.npy", neutral / np.linalg.norm(neutral, axis=1, keepdims=True))
        (folder / "MODEL_CARD.md").write_text("# tiny\n")
        manifest = {
            "name": name,
            "version": version,
            "kind": ["encoder", "classifier"],
            "tasks": ["sentiment", "routing"],
            "labels": ["negative", "positive"],
            "max_tokens": 16,
            "prefixes": {"text": "query: ", "label": ""},
            "embedding_width": WIDTH,
            "temperature": {"sentiment": 0.5, "routing": 0.1, "multi_label": 0.2, "multi_label_bias": 0.05},
            "files": {},
            "source": {"description": "made by a test", "licence": "MIT"},
            "licence": "MIT",
        } | changes
        return self.sign(folder, manifest)

    def add_nli(self, name: str = "pairs", version: str = "1", **changes: Any) -> Path:
        """Write a folder of a model for pairs: entailment is logit 0, contradiction logit 2."""
        nli = {
            "kind": ["nli"],
            "tasks": ["routing"],
            "labels": ["entailment", "neutral", "contradiction"],
            "entailment_index": 0,
            "contradiction_index": 2,
            "max_tokens": 24,
            "prefixes": None,
            "embedding_width": None,
            "temperature": None,
        }
        folder = self.add(name, version, **(nli | changes))
        (folder / "neutral.npy").unlink()
        tokenizer = tiny_tokenizer()
        inputs = ("input_ids", "attention_mask", "token_type_ids")
        onnx.save(tiny_graph(tokenizer.get_vocab_size() + 1, inputs=inputs, labels=3), folder / "model.onnx")
        return self.sign(folder)

    def add_cascade(self, name: str = "both", version: str = "1", **changes: Any) -> Path:
        """Write a cascade of `tiny/1` and `pairs/1`, which keeps two labels."""
        folder = self.path / name / version
        folder.mkdir(parents=True)
        manifest = {
            "name": name,
            "version": version,
            "kind": ["cascade"],
            "tasks": ["sentiment", "routing"],
            "labels": ["negative", "positive"],
            "max_tokens": 16,
            "cascade": {"encoder": "tiny/1", "pair": "pairs/1", "keep_labels": 2},
            "files": {},
            "source": {"description": "made by a test", "licence": "MIT"},
            "licence": "MIT",
        } | changes
        return self.sign(folder, manifest)

    def sign(self, folder: Path, manifest: dict[str, Any] | None = None) -> Path:
        """Write the manifest with the sha256 of what lies in the folder now."""
        path = folder / "manifest.json"
        content = manifest or json.loads(path.read_text())
        names = [name for name in ("model.onnx", "tokenizer.json", "neutral.npy") if (folder / name).exists()]
        content["files"] = {name: sha256_of(folder / name) for name in names}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
        return folder
