"""What runs a graph: ONNX Runtime's execution providers that Fenliu knows, and how each is set up.

docs/quantization.md says what they are worth.
"""

from __future__ import annotations

import json
from typing import Any

import onnxruntime

from schemas.errors import ModelError

CPU, OPENVINO = "cpu", "openvino"
_PACKAGES = {OPENVINO: ("OpenVINOExecutionProvider", "onnxruntime-openvino")}

Provider = str | tuple[str, dict[str, Any]]


def execution_providers(name: str, threads: int) -> list[Provider]:
    """For a session of `threads` threads, the first preferred.

    Raises ModelError if the installed onnxruntime does not have the provider.
    """
    if name == CPU:
        return ["CPUExecutionProvider"]
    if name not in _PACKAGES:
        raise ModelError(f"FENLIU_PROVIDER is {name!r}; known: {', '.join((CPU, *_PACKAGES))}")
    full_name, package = _PACKAGES[name]
    if full_name not in onnxruntime.get_available_providers():
        raise ModelError(
            f"FENLIU_PROVIDER is {name!r}, yet the onnxruntime that is installed has no {full_name}: "
            f"set FENLIU_PROVIDER=cpu, or put {package} in the place of onnxruntime "
            f"(pip uninstall onnxruntime, then pip install {package})"
        )
    # Where the processor has bfloat16, OpenVINO would use it unasked; one stream, since slots bring their own threads.
    load = {"CPU": {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}}
    return [(full_name, {"device_type": "CPU", "load_config": json.dumps(load)}), "CPUExecutionProvider"]
