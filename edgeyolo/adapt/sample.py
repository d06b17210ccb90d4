"""One run of a foreign graph on noise: shapes that inference does not find, values that tell what they are.

Owns the run. An exporter that was asked for open sizes computes its shapes from `Shape` operators, and no
inference follows those; running the graph once does. Refuses to judge what comes out (`box_format`, the
families), and to fail: a graph that does not run here, for a plugin of TensorRT say, has no sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["sample"]

_SEED = 0
_ERRORS_ONLY = 4


def sample(
    model: onnx.ModelProto, picture: onnx.ValueInfoProto, tensors: Sequence[str]
) -> dict[str, npt.NDArray[np.generic]]:
    """Run a graph on a picture of noise.

    Args:
        model: Its only open input is the picture; it is not changed.
        picture: That input; an open batch is 1.
        tensors: What to give beside the outputs.

    Returns:
        Tensor to value; empty where the graph does not run.
    """
    runtime = require("onnxruntime", why="to learn the shapes inside an ONNX model")
    onnx = require("onnx", why="to read an ONNX model")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {item.name for item in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in known)
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # What is folded or fused away has no value to give.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(
            copy.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [item.name for item in session.get_outputs()]
        values = session.run(names, {picture.name: _noise(picture)})
    except Exception:  # noqa: BLE001  an operator of another runtime, or more than 2 GB
        return {}
    return {name: value for name, value in zip(names, values, strict=True) if isinstance(value, np.ndarray)}


def _noise(picture: onnx.ValueInfoProto) -> npt.NDArray[np.generic]:
    tensor_type = picture.type.tensor_type
    sizes = [dim.dim_value or 1 for dim in tensor_type.shape.dim]
    dtype = require("onnx.helper", why="to read an ONNX model").tensor_dtype_to_np_dtype(
        tensor_type.elem_type
    )
    noise: npt.NDArray[np.generic] = np.random.default_rng(_SEED).random(sizes, np.float32).astype(dtype)
    return noise
