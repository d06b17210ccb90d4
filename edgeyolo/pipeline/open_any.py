"""An engine to look at pictures with: the file that was built, or one made of an ONNX file for this once.

Owns that choice. Refuses to keep what it makes, and to make it for TensorRT: that takes minutes; who wants
it builds an engine.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from edgeyolo.errors import EdgeYoloError
from edgeyolo.graph.onnx_file import read_onnx
from edgeyolo.pipeline.build import BuildConfig, build_engine
from edgeyolo.runtime import Engine, open_engine
from edgeyolo.sidecar import sidecar_path
from edgeyolo.spec import Precision

__all__ = ["open_any"]


def open_any(path: Path | str, *, max_batch: int = 1, trust: bool = False) -> Engine:
    """Open an engine, or an ONNX model of any origin on ONNX Runtime; what it was taken for goes to stderr.

    Args:
        path: An engine with its sidecar, or an ONNX file.
        max_batch: As for `open_engine`.
        trust: As for `open_engine`.

    Raises:
        EdgeYoloError: As `open_engine` and `build_engine`.
    """
    path = Path(path)
    if path.suffix != ".onnx" or sidecar_path(path).is_file() or not path.is_file():
        return open_engine(path, max_batch=max_batch, trust=trust)
    quantised = any(node.op_type == "QuantizeLinear" for node in read_onnx(path).graph.node)
    precision: Precision = "int8" if quantised else "fp32"
    _say(
        f"{path} is no engine: {precision.upper()} on ONNX Runtime for this once; "
        "edgeyolo build makes one that stays"
    )
    with tempfile.TemporaryDirectory(prefix="edgeyolo-") as folder:
        engine = Path(folder, f"{path.stem}.engine")
        try:
            config = BuildConfig(model=path, output=engine, backend="onnxruntime", precision=precision)
            build_engine(config, report=_say)
        except EdgeYoloError as exc:
            if exc.hint and exc.hint.startswith(
                "--"
            ):  # an option that build has, and whoever asks here has not
                exc.hint = f"edgeyolo build {path} -o {path.with_suffix('.engine')}, with {exc.hint}"
            raise
        return open_engine(engine, max_batch=max_batch)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
