"""What TensorRT's ONNX parser takes and refuses, by generation.

Owns the rules, each a finding with its node and the words of NVIDIA's parser. Refuses to say anything of
numbers. The rules of 11 are held against the parser of tensorrt_rtx 1.7.1, which is that of 11
(``test_rtx.py``); those of 8.6 and 10.x are from onnx-tensorrt's sources and issue threads. That 8.6 and 10.x
refuse uint8 with zero point 0 is less than that: nobody tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

__all__ = ["Finding", "Graph", "Rules", "findings", "layer_type", "static_shape"]

_SUPPORTED = frozenset(
    """Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast
    CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
    DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU
    Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
    GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity If InstanceNormalization
    IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop
    LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg
    NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear RNN RandomNormal
    RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape
    Resize ReverseSequence RoiAlign Round Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign
    Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh
    ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor""".split()  # noqa: SIM905
)
# Known of 11 alone; some came with a 10.x.
_SUPPORTED_BY_11 = frozenset(
    """Attention BlackmanWindow CausalConvWithState Gelu HammingWindow HannWindow Hardmax LinearAttention
    Mish RMSNormalization RotaryEmbedding STFT Scatter Swish TensorScatter""".split()  # noqa: SIM905
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
        operators: What can be imported at all.
        checked_first: Whether all operators are looked up before any node is imported.
    """

    int8_weights: bool
    half_scales: bool
    unsigned: bool
    int64: bool
    operators: frozenset[str]
    checked_first: bool

    @classmethod
    def of(cls, version: tuple[int, ...]) -> Rules:
        """Give a release's."""
        ten, eleven = version >= (10,), version >= (11,)
        return cls(
            int8_weights=ten,
            half_scales=ten,
            int64=ten,
            checked_first=ten,
            unsigned=eleven,
            operators=_SUPPORTED | _SUPPORTED_BY_11 if eleven else _SUPPORTED,
        )


@dataclass(frozen=True)
class Finding:
    """What the parser refuses.

    Args:
        index: Of the node; -1 is the model itself.
        code: A member of `ErrorCode`.
        text: What the parser says.
        function: The parser's function that says it.
        file: The source file that is in.
    """

    index: int
    code: str
    text: str
    function: str
    file: str = "onnxOpImporters.cpp"


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
            ValueError: It is no ONNX.
            FileNotFoundError: An initializer's file is missing; its arguments are the tensor and the file.
        """
        try:
            model = onnx.load_model_from_string(data)
        except Exception as exc:
            raise ValueError("not an ONNX model") from exc
        if not model.graph.node:
            raise ValueError("an ONNX model of nothing")
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                entries = {entry.key: entry.value for entry in tensor.external_data}
                where = (folder or Path()) / entries["location"]
                if not where.is_file():
                    raise FileNotFoundError(tensor.name, str(where))
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


def findings(graph: Graph, rules: Rules) -> list[Finding]:
    """Give what a parser reports: from 10 on all unknown operators, else the first node it cannot import."""
    unknown, misfits = [], []
    for index, node in enumerate(graph.model.graph.node):
        if node.op_type not in rules.operators or node.domain not in ("", "ai.onnx"):
            unknown.append(_unknown(index, rules))
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            misfits += list(_quantization(graph, index, rules))[:1]
    if rules.checked_first and unknown:
        return unknown
    return sorted([*unknown, *misfits], key=lambda finding: finding.index)[:1]


def _unknown(index: int, rules: Rules) -> Finding:
    text = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
    if rules.checked_first:
        return Finding(index, "INVALID_NODE", text, "checkFallbackPluginImporter", "onnxOpCheckers.cpp")
    return Finding(index, "UNSUPPORTED_NODE", f"Assertion failed: {text}", "importFallbackPluginImporter")


def _quantization(graph: Graph, index: int, rules: Rules) -> Iterator[Finding]:
    node = graph.model.graph.node[index]

    def refuse(text: str, function: str) -> Finding:
        return Finding(index, "INVALID_NODE", f"Assertion failed: {text}", function)

    data, scale = graph.constants.get(node.input[0]), graph.constants.get(node.input[1])
    zero = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
    if node.op_type == "DequantizeLinear" and data is not None:
        if data.dtype == np.int32:
            yield _int32_data(index, graph.name_of(index))
        if data.dtype == np.int8 and not rules.int8_weights:
            yield refuse('"invalid weights type of Int8"', "QuantDequantLinearHelper")
    if scale is None:
        yield refuse(
            "inputs.at(1).is_weights(): The scale must be an initializer.", "QuantDequantLinearHelper"
        )
        return
    if scale.dtype == np.float16 and not rules.half_scales:
        yield refuse("scale.type == DataType::kFLOAT", "QuantDequantLinearHelper")
    unsigned = zero is None or zero.dtype == np.uint8
    if unsigned and not rules.unsigned:
        yield refuse("zeroPoint.type == DataType::kINT8: UINT8 is not supported.", "QuantDequantLinearHelper")
    if zero is not None and zero.any():
        yield refuse(
            "shiftIsAllZeros(zeroPoint): Non-zero zero point is not supported. Please set "
            "kENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA to enable asymmetric quantization if it is "
            "on DLA.",
            "buildZeroPointTensor",
        )
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if scale.size > 1 and data is not None and scale.size != (channels := data.shape[axis]):
        yield refuse(
            "K == scaleSize: The number of scales is not equal to the number of output channels. Number of "
            f"output channels = {channels}, number of scales = {scale.size}.",
            "validateScaleDimensions",
        )


def _int32_data(index: int, name: str) -> Finding:
    text = (
        f"Invalid Node - {name}\nITensor::getDimensions: Error Code 4: API Usage Error ({name}: input has "
        "type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8.)"
    )
    return Finding(index, "INVALID_NODE", text, "parseNode", "ModelImporter.cpp")


def static_shape(value: Any) -> tuple[int, ...]:
    """Give a tensor's shape with -1 for what is not fixed."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
