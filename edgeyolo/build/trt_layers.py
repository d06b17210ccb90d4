"""What a plan computes in, layer by layer: read back from the plan itself, so that it is what was delivered.

Owns loading a new plan once, which also proves that it loads, and reading TensorRT's inspector.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeyolo.build.trt_log import BuildLog
from edgeyolo.errors import BuildError
from edgeyolo.tensorrt_api import layers_json

if TYPE_CHECKING:
    import tensorrt

__all__ = ["counted", "precision_by_layer"]

# "Row major linear FP32", "Thirty-two wide channel vectorized row major Int8 format"
_KIND = re.compile(r"\b(Int8|INT8|FP8|FP16|Half|BF16|FP32|Float|Int32|Int64|Bool)\b")
_NAMES = {"Int8": "int8", "INT8": "int8", "Half": "fp16", "FP16": "fp16", "FP32": "fp32", "Float": "fp32"}


def precision_by_layer(
    trt: Any, plan: tensorrt.IHostMemory, log: BuildLog, *, version_compatible: bool
) -> dict[str, str]:
    """Load a plan and tell what each layer reads and writes.

    Args:
        trt: The module ``tensorrt``.
        plan: TensorRT's ``IHostMemory``.
        log: Gets what is said.
        version_compatible: The plan brings code of its own, which must be allowed.

    Returns:
        Layer name to its types, such as ``int8`` or ``int8>fp32``; empty where TensorRT tells nothing.

    Raises:
        BuildError: The plan does not load.
    """
    runtime = trt.Runtime(log.logger(trt))
    if version_compatible:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BuildError(f"the plan was built and does not load:\n{log.last()}")
    text = layers_json(trt, engine)
    try:
        layers = json.loads(text or "")["Layers"]
    except (ValueError, KeyError, TypeError):  # not all releases write JSON that can be read
        return {}
    return {layer["Name"]: _types(layer) for layer in layers if isinstance(layer, dict) and "Name" in layer}


def counted(precisions: Mapping[str, str]) -> str:
    """Give how many layers compute in what, for a user.

    Examples:
        >>> counted({"a": "int8", "b": "int8", "c": "fp16"})
        'int8 2, fp16 1'
    """
    return ", ".join(f"{kind} {count}" for kind, count in Counter(precisions.values()).most_common())


def _types(layer: Mapping[str, Any]) -> str:
    sides = [_kinds(layer.get(side, ())) for side in ("Inputs", "Outputs")]
    return sides[0] if sides[0] == sides[1] or not sides[1] else f"{sides[0]}>{sides[1]}".strip(">")


def _kinds(tensors: Any) -> str:
    described = [str(tensor.get("Format/Datatype", "")) for tensor in tensors if isinstance(tensor, dict)]
    found = map(_KIND.search, described)
    kinds = {_NAMES.get(match[1], match[1].lower()) for match in found if match}
    return "+".join(sorted(kinds))
