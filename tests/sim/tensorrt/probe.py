"""Questions that a module `tensorrt` answers without a GPU: NVIDIA's and the simulated one must agree."""

from __future__ import annotations

from typing import Any

__all__ = ["QUESTIONS", "answers"]

# Evaluated with the module as `trt`; an exception's type is an answer too.
QUESTIONS = (
    "trt.Dims([1, 2]) == (1, 2), trt.Dims([1, 2]) == [1, 2], trt.Dims((1, 2)) == (1, 3)",
    "trt.Dims([1, 2]) == trt.Dims([1, 2])",
    "trt.Dims([1, 2]) != (1, 2)",
    "trt.Dims([1, 2]) == 1",
    "trt.Dims([1, 2, 3])[1:], tuple(trt.Dims([1, 2])), list(trt.Dims([1, 2])), len(trt.Dims([1, 2]))",
    "repr(trt.Dims([1, 2])), str(trt.Dims([1, 2]))",
    "-1 in trt.Dims([1, -1])",
    "hash(trt.Dims([1]))",
    "trt.Dims([1])[5]",
    "trt.Dims([1, 2])[-1]",
    "trt.Dims([1.5])",
    "trt.Dims([1]) + (1,)",
    "isinstance(trt.Dims([1]), (tuple, list))",
    "int(trt.TensorIOMode.INPUT), str(trt.TensorIOMode.INPUT), repr(trt.TensorIOMode.INPUT)",
    "trt.TensorIOMode.INPUT.name, trt.TensorIOMode.INPUT.value, hash(trt.TensorIOMode.INPUT)",
    "trt.TensorIOMode.INPUT == 1, trt.TensorIOMode.INPUT != 1, trt.TensorIOMode(1) == trt.TensorIOMode.INPUT",
    "trt.TensorIOMode.INPUT == trt.DataType.HALF",
    "trt.TensorIOMode(9)",
    "trt.TensorIOMode.INPUT < trt.TensorIOMode.OUTPUT",
    "list(trt.TensorIOMode)",
    "list(trt.TensorIOMode.__members__)",
    "1 << trt.BuilderFlag.TF32",
    "1 << int(trt.BuilderFlag.TF32)",
    "trt.Logger.ERROR == trt.Logger.Severity.ERROR, trt.Logger.ERROR < trt.Logger.WARNING",
    "trt.Logger.INFO > trt.Logger.ERROR, trt.Logger.INFO >= trt.Logger.INFO",
    "trt.ILogger.ERROR == trt.Logger.ERROR, trt.ILogger.Severity is trt.Logger.Severity",
    "trt.Logger().min_severity, trt.Logger(min_severity=trt.Logger.INFO).min_severity",
    "trt.Logger('x')",
    "trt.Logger(1)",
    "setattr(trt.Logger(), 'colour', 1)",
    "trt.Logger().log(trt.Logger.VERBOSE, 'nothing')",
    "trt.Logger().log(4, 'nothing')",
    "trt.volume((2, 3)), trt.volume(()), trt.volume(trt.Dims([2, 3]))",
    "trt.nptype(trt.float32).__name__, trt.nptype(trt.int8).__name__, trt.nptype(trt.bool).__name__",
    "trt.nptype(trt.fp8)",
    "trt.float32.itemsize, trt.DataType.HALF.itemsize",
    "trt.ICudaEngine()",
    "trt.IHostMemory()",
    "trt.IBuilderConfig()",
    "trt.Builder()",
    "trt.Builder('x')",
    "trt.Builder(None)",
    "trt.Runtime(None)",
    "trt.Builder(trt.Logger(trt.Logger.INTERNAL_ERROR))",
    "trt.Runtime(trt.Logger(trt.Logger.INTERNAL_ERROR))",
    "type('L', (trt.ILogger,), {'__init__': lambda self: None})()",
    "type('P', (trt.IProfiler,), {})().report_layer_time('a', 1)",
    "type('C', (trt.IInt8EntropyCalibrator2,), {})().get_algorithm().name",
    "type('C', (trt.IInt8EntropyCalibrator2,), {})().get_batch(['x'])",
    "setattr(type('P', (trt.IProfiler,), {})(), 'mine', 1)",
    "type('C', (trt.IInt8EntropyCalibrator2,), {})().read_calibration_cache()",
    "type('C', (trt.IInt8EntropyCalibrator2,), {})().get_batch_size()",
    "trt.IProgressMonitor().step_complete('a', 1), trt.IProgressMonitor().phase_start('a', 'b', 1)",
    "trt.IProgressMonitor().phase_start('a', None, 1)",
    "trt.ILogger().log(trt.Logger.ERROR, 'x')",
    "trt.Logger.INFO <= 3",
    "trt.Logger.INFO == 3, trt.BuilderFlag.TF32 == int(trt.BuilderFlag.TF32)",
    "trt.BuilderFlag.TF32 | 1",
    "hasattr(trt, 'no_such_name')",
    "hasattr(trt.ICudaEngine, 'num_bindings'), hasattr(trt.ICudaEngine, '__len__')",
)  # fmt: skip


def answers(trt: Any) -> list[str]:
    """Ask a module every question."""
    found = []
    for question in QUESTIONS:
        try:
            found.append(repr(eval(question, {"trt": trt})))
        except Exception as exc:  # noqa: BLE001  (whatever it is, it is the answer)
            found.append(_said(exc))
    return found


def _said(exc: Exception) -> str:
    """Give an exception without what a name of a module or of pybind11's own type makes of it."""
    text = str(exc).splitlines()[0]
    for word in ("tensorrt_bindings.tensorrt.", "tensorrt.", "pybind11_", "_bindings"):
        text = text.replace(word, "")
    return f"{type(exc).__name__}: {text}"
