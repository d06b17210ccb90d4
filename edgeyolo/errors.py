"""Every error EdgeYOLO raises on purpose.

    EdgeYoloError(message, *, hint)            exit 1
    ├── ConfigError(ValueError)                exit 2   an option or a recipe: unknown key, value out of range
    ├── MissingDependencyError(ImportError)    exit 3   a package or a device is absent or does not load
    ├── OutputError(OSError)                   exit 1   an output file cannot be written whole
    ├── FetchError(OSError)                    exit 1   a download failed or is not what was pinned
    ├── ModelError(ValueError)                 exit 2   a model file is not what it should be
    │   ├── CfgError                                    Darknet .cfg: path, line, section
    │   ├── WeightsError                                Darknet .weights: floats expected, floats found
    │   └── UnsupportedOpError                          a layer or an operator that we refuse by name
    ├── GraphError(ValueError)                 exit 2   an ONNX graph that a stage cannot take
    │   └── MismatchError                      exit 1   a rewritten graph no longer computes the same
    ├── CalibrationError(ValueError)           exit 2   images or activations that no scale can come from
    │   ├── EmptyManifestError
    │   ├── StaleScalesError                            scales made from another model, preprocess or manifest
    │   └── DeadTensorError                             a tensor that is 0 on every image
    ├── BuildError(RuntimeError)               exit 1   the builder failed
    │   ├── ParseError                     exit 2   with every message of the parser
    │   └── PrecisionError                     exit 2   asked for a precision that cannot be delivered
    ├── EngineError(RuntimeError)              exit 2   an engine file or its sidecar cannot be used
    │   ├── InferenceError                 exit 1   it failed while it ran, and loading it anew cannot help
    │   ├── StaleEngineError                            built for something else than what runs here
    │   └── TensorMismatchError                         a tensor of another name, shape or type than promised
    ├── SourceError(OSError)                   exit 2   a picture source
    │   ├── SourceOpenError
    │   ├── SourceRefusedError                          the other side answered, and does not let us in
    │   └── FrameTimeoutError
    └── EvaluationError(ValueError)            exit 2   annotations that do not fit the engine or the images

Owns the tree and nothing else. Foreign errors are translated once, where the foreign library is called,
with ``raise ... from exc``. A message says what failed, where, what was expected and what was found; the
hint is the next command to try.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "BuildError",
    "CalibrationError",
    "CfgError",
    "ConfigError",
    "DeadTensorError",
    "EdgeYoloError",
    "EmptyManifestError",
    "EngineError",
    "EvaluationError",
    "FetchError",
    "FrameTimeoutError",
    "GraphError",
    "InferenceError",
    "MismatchError",
    "MissingDependencyError",
    "ModelError",
    "OutputError",
    "ParseError",
    "PrecisionError",
    "SourceError",
    "SourceOpenError",
    "SourceRefusedError",
    "StaleEngineError",
    "StaleScalesError",
    "TensorMismatchError",
    "UnsupportedOpError",
    "WeightsError",
]


class EdgeYoloError(Exception):
    """Root of every error that EdgeYOLO raises on purpose.

    Args:
        message: What failed, where, what was expected, what was found.
        hint: The next command or step to try; shown on a line of its own.

    Examples:
        >>> error = EdgeYoloError("m.onnx has no outputs", hint="edgeyolo inspect m.onnx")
        >>> str(error), error.hint, error.exit_code
        ('m.onnx has no outputs', 'edgeyolo inspect m.onnx', 1)
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        # OSError formats its own arguments; the message must win for every leaf.
        return self.message


class ConfigError(EdgeYoloError, ValueError):
    """An option, a recipe key or its value is wrong."""

    exit_code = 2


class MissingDependencyError(EdgeYoloError, ImportError):
    """A package or a device is absent, or present and does not load."""

    exit_code = 3


class OutputError(EdgeYoloError, OSError):
    """An output file cannot be written whole."""


class FetchError(EdgeYoloError, OSError):
    """A download failed, or what came is not what was pinned."""


class ModelError(EdgeYoloError, ValueError):
    """A model file is not what it should be."""

    exit_code = 2


class CfgError(ModelError):
    """A Darknet ``.cfg`` is wrong.

    Args:
        message: What is wrong, expected and found.
        path: The file, or the name of the built-in architecture.
        line: One-based line number, where one is to blame.
        hint: The next step.

    Examples:
        >>> print(CfgError("[route] layers=-9 points before the first layer", path="a.cfg", line=7))
        a.cfg:7: [route] layers=-9 points before the first layer
    """

    def __init__(
        self, message: str, *, path: Path | str, line: int | None = None, hint: str | None = None
    ) -> None:
        where = str(path) if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {message}", hint=hint)
        self.path = path
        self.line = line


class WeightsError(ModelError):
    """A Darknet ``.weights`` file does not fit its cfg or is no weights file."""


class UnsupportedOpError(ModelError):
    """A layer or an operator that EdgeYOLO refuses by name."""


class GraphError(EdgeYoloError, ValueError):
    """An ONNX graph that a stage cannot take."""

    exit_code = 2


class MismatchError(GraphError):
    """A rewritten graph no longer computes what the original did."""

    exit_code = 1


class CalibrationError(EdgeYoloError, ValueError):
    """Images or activations that no scale can come from."""

    exit_code = 2


class EmptyManifestError(CalibrationError):
    """No usable calibration image."""


class StaleScalesError(CalibrationError):
    """Scales that were made from another model, preprocess spec or manifest."""


class DeadTensorError(CalibrationError):
    """A tensor that is zero on every calibration image."""


class BuildError(EdgeYoloError, RuntimeError):
    """The builder failed."""


class ParseError(BuildError):
    """The builder's parser refused the graph; the message has all it said."""

    exit_code = 2


class PrecisionError(BuildError):
    """A precision was asked for that cannot be delivered."""

    exit_code = 2


class EngineError(EdgeYoloError, RuntimeError):
    """An engine file or its sidecar cannot be used."""

    exit_code = 2


class InferenceError(EngineError):
    """The engine failed while it ran, and loading it anew did not help, or cannot."""

    exit_code = 1


class StaleEngineError(EngineError):
    """An engine built for something else than what runs here."""


class TensorMismatchError(EngineError):
    """A tensor of another name, shape or type than the sidecar promises."""


class SourceError(EdgeYoloError, OSError):
    """A picture source failed."""

    exit_code = 2


class SourceOpenError(SourceError):
    """A picture source cannot be opened."""


class SourceRefusedError(SourceError):
    """A picture source answered and refused: credentials, or no such stream."""


class FrameTimeoutError(SourceError, TimeoutError):
    """A picture source gave no frame in time."""


class EvaluationError(EdgeYoloError, ValueError):
    """Annotations that do not fit the engine or the images."""

    exit_code = 2
