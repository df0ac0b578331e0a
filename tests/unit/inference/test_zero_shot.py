"""What stands for a label when a model reads it."""

import pytest

from schemas.labels import Label
from schemas.manifest import Manifest
from worker.inference.zero_shot import label_text

FILES = {"model.onnx": "0" * 64, "tokenizer.json": "0" * 64}


def manifest(**changes: object) -> Manifest:
    return Manifest.model_validate(
        {
            "name": "m", "version": "1", "kind": ["encoder"], "tasks": ["routing"], "max_tokens": 16,
            "embedding_width": 2, "files": FILES, "licence": "MIT", "source": {"description": "", "licence": "MIT"},
        } | changes
    )  # fmt: skip


@pytest.mark.parametrize(
    ("label", "template", "expected"),
    [
        (Label("退款"), None, "主题：退款"),
        (Label("退款"), "这是{}问题", "这是退款问题"),
        (Label("退款", "要求退钱"), None, "退款 (要求退钱)"),
        (Label("退款", "要求退钱"), "这是{}问题", "这是退款 (要求退钱)问题"),
        (Label("{0.__class__}"), "is {}", "is {0.__class__}"),
        (Label("{label}", "{label} {description} {}"), None, "{label} ({label} {description} {})"),
        (Label("100%{}"), None, "主题：100%{}"),
    ],
)
def test_what_stands_for_a_label(label, template, expected):
    forms = manifest(template="主题：{}", description_template="{label} ({description})")
    assert expected == label_text(label, forms, template)
