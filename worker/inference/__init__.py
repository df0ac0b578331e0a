"""Model folder in, scores out: tokenizer, windows, runs on ONNX Runtime, sentiment, label scoring.

Knows no Redis, Celery or SQL, and needs neither transformers nor torch: tokenizers, onnxruntime and numpy are enough.
Nothing is loaded when the package is imported.
"""
