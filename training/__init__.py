"""Everything that makes models: data, pruning, fine-tuning, export, quantization, evaluation.

Nothing here is imported by a producer or a worker; torch, transformers and onnx are needed only by these modules.
"""
