"""What TensorRT's ONNX parser takes and refuses, by generation.

Owns the rules, each a finding with its node and the words of NVIDIA's parser. Refuses to say anything of
numbers. Source: the table of what each parser accepts in the project's research notes (onnx-tensorrt's
``onnxOpImporters.cpp`` of 8.6 and 10.x; the parser of tensorrt_rtx 1.7.1, which is that of 11). A uint8 zero
point of 0 on 8.6 and 10.x is refused here on less than that: nobody tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

__all__ = ["SUPPORTED", "Finding", "Graph", "Rules", "findings", "layer_type", "static_shape"]

SUPPORTED = frozenset(
    """Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant
    ConstantOfShape Conv ConvTranspose Cos Cosh DepthToSpace DequantizeLinear Div Dropout Einsum Elu
    Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool
    GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid HardSwish Identity If
    InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax Loop MatMul Max MaxPool Mean Min Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or
    PRelu Pad ParametricSoftplus Pow QuantizeLinear RandomUniform Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    Relu Reshape Resize ReverseSequence RoiAlign Round ScatterElements ScatterND Selu Shape Sigmoid Sign
    Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh TopK
    Transpose Trilu Unsqueeze Upsample Where Xor""".split()  # noqa: SIM905
)

_LAYER_TYPES = {
    "Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "MaxPool": "POOLING", "AveragePool": "POOLING",
    "GlobalAveragePool": "REDUCE", "ReduceSum": "REDUCE", "ReduceMean": "REDUCE", "Softmax": "SOFTMAX",
    "Concat": "CONCATENATION", "Add": "ELEMENTWISE", "Mul": "ELEMENTWISE", "Sub": "ELEMENTWISE",
    "Div": "ELEMENTWISE", "Pow": "ELEMENTWISE", "Max": "ELEMENTWISE", "Min": "ELEMENTWISE", "Exp": "UNARY",
    "Reshape": "SHUFFLE", "Transpose": "SHUFFLE", "Flatten": "SHUFFLE", "Slice": "SLICE", "Split": "SLICE",
    "Gather": "GATHER", "Resize": "RESIZE", "QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE",
    "MatMul": "MATRIX_MULTIPLY", "Gemm": "MATRIX_MULTIPLY", "NonMaxSuppression": "NMS", "Cast": "CAST",
    "Constant": "CONSTANT", "Shape": "SHAPE", "TopK": "TOPK", "Pad": "PADDING", "Identity": "IDENTITY",
    "Relu": "ACTIVATION", "LeakyRelu": "ACTIVATION", "Sigmoid": "ACTIVATION", "Tanh": "ACTIVATION",
}  # fmt: skip


def layer_type(operator: str) -> str:
    """Give the `LayerType` an ONNX operator's main layer has; what is not listed is a constant's."""
    return _LAYER_TYPES.get(operator, "SHUFFLE")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What differs between the parsers.

    Args:
        int8_weights: Whether an int8 initializer may go into DequantizeLinear.
        half_scales: Whether Q/DQ scales may be float16.
        unsigned: Whether uint8 with zero point 0 passes.
        int64: Whether there is a native int64; else it becomes int32, inputs and outputs too.
        all_errors: Whether every refused node is reported, not the first alone.
    """

    int8_weights: bool
    half_scales: bool
    unsigned: bool
    int64: bool
    all_errors: bool

    @classmethod
    def of(cls, version: tuple[int, ...]) -> Rules:
        """Give a release's."""
        ten = version >= (10,)
        return cls(int8_weights=ten, half_scales=ten, int64=ten, all_errors=ten, unsigned=version >= (11,))


@dataclass(frozen=True)
class Finding:
    """A node the parser refuses.

    Args:
        index: Of the node; -1 is the model itself.
        code: A member of `ErrorCode`, of the oldest generation too.
        text: What the parser says.
        function: The parser's function that says it.
    """

    index: int
    code: str
    text: str
    function: str = "parseNode"


@dataclass
class Graph:
    """A model with what is known of its tensors.

    Args:
        model: With every initializer's bytes inside.
        constants: Initializers and Constant nodes by name.
        types: Tensor to element type, as far as shape inference goes.
    """

    model: onnx.ModelProto
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.model.graph
        for tensor in graph.initializer:
            self.constants[tensor.name] = numpy_helper.to_array(tensor)
            self.types[tensor.name] = tensor.data_type
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        try:
            inferred = onnx.shape_inference.infer_shapes(self.model).graph
        except Exception:  # noqa: BLE001  (an operator nobody knows: types stay unknown)
            inferred = graph
        for value in (*inferred.value_info, *inferred.input, *inferred.output):
            self.types[value.name] = value.type.tensor_type.elem_type

    @classmethod
    def load(cls, data: bytes, folder: Path | None) -> Graph:
        """Read a model and its external data.

        Raises:
            ValueError: It is no ONNX, or a file is missing.
        """
        try:
            model = onnx.load_model_from_string(data)
        except Exception as exc:
            raise ValueError("Failed to parse the ONNX model.") from exc
        if not model.graph.node:
            raise ValueError("Failed to parse the ONNX model.")
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                entries = {entry.key: entry.value for entry in tensor.external_data}
                where = (folder or Path()) / entries["location"]
                if not where.is_file():
                    raise ValueError(f"Failed to open file: {where}")
        if folder is not None:
            onnx.load_external_data_for_model(model, str(folder))
        return cls(model)

    def name_of(self, index: int) -> str:
        """Give a node's name, and one of TensorRT's own where it has none."""
        node = self.model.graph.node[index]
        return node.name or f"(Unnamed Layer* {index}) [{node.op_type}]"

    @property
    def quantized(self) -> bool:
        """Whether there are Q/DQ nodes."""
        return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in self.model.graph.node)

    @property
    def half(self) -> bool:
        """Whether a tensor is float16."""
        return TensorProto.FLOAT16 in self.types.values()


def findings(graph: Graph, rules: Rules) -> Iterator[Finding]:
    """Look at every node in order."""
    opset = max((o.version for o in graph.model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    for index, node in enumerate(graph.model.graph.node):
        if node.op_type not in SUPPORTED or node.domain not in ("", "ai.onnx"):
            text = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
            yield Finding(index, "UNSUPPORTED_NODE", text, "importFallbackPluginImporter")
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            for text in _quantization(graph, node, rules, opset):
                yield Finding(index, "INVALID_NODE", text, "QuantDequantLinearHelper")
                break


def _quantization(graph: Graph, node: onnx.NodeProto, rules: Rules, opset: int) -> Iterator[str]:
    data, scale = graph.constants.get(node.input[0]), graph.constants.get(node.input[1])
    zero = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if node.op_type == "DequantizeLinear" and data is not None:
        if data.dtype == np.int32:
            yield (
                "(dataType == DataType::kINT8 || dataType == DataType::kFP8) && "
                '"TensorRT only allows FP8, INT8 and INT4 inputs to DequantizeLinear, found INT32"'
            )
        if data.dtype == np.int8 and not rules.int8_weights:
            yield 'inputs.at(0).is_tensor() && "invalid weights type of Int8"'
    if scale is None:
        yield 'inputs.at(1).is_weights() && "The scale input must be an initializer"'
        return
    if scale.dtype == np.float16 and not rules.half_scales:
        yield 'scale.type == DataType::kFLOAT && "TRT 8 takes FP32 scales"'
    if not (scale > 0).all():
        yield 'std::all_of(scale > 0) && "Scale coefficients must all be positive"'
    yield from _zero_point(zero, rules)
    if scale.size > 1:
        if opset < 13:
            yield "opset >= 13 && \"per-channel scales need the attribute 'axis'\""
        elif data is not None and scale.size != data.shape[axis]:
            channels = data.shape[axis]
            yield f'K == scale.count() && "{scale.size} scales for {channels} channels of axis {axis}"'


def _zero_point(zero: np.ndarray[Any, Any] | None, rules: Rules) -> Iterator[str]:
    if zero is None:
        if not rules.unsigned:
            yield 'zeroPoint && "without a zero point the type is uint8, which is not supported"'
    elif zero.dtype == np.uint8 and not rules.unsigned:
        yield 'zeroPoint.type == DataType::kINT8 && "UINT8 quantization is not supported"'
    elif zero.any():
        yield (
            'shiftIsAllZeros(zeroPoint) && "TRT only supports symmetric quantization: the zero point must be '
            'all zeros (DLA: set kENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA)"'
        )


def static_shape(value: Any) -> tuple[int, ...]:
    """Give a tensor's shape with -1 for what is not fixed."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
