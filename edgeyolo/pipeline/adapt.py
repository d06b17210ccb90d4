"""``adapt`` on files: read a foreign ONNX file, bring it to the graph contract, write one file."""

from __future__ import annotations

from pathlib import Path

from edgeyolo.adapt.adapt import Adapted, adapt_model
from edgeyolo.adapt.options import AdaptOptions, options_from_text
from edgeyolo.errors import EdgeYoloError
from edgeyolo.files import sha256_of
from edgeyolo.graph.onnx_file import read_onnx, write_onnx

__all__ = ["Adapted", "adapt", "options_from_text"]


def adapt(source: Path | str, output: Path | str, options: AdaptOptions) -> Adapted:
    """Adapt an ONNX file.

    Args:
        source: Any ONNX file, also with external data.
        output: Where the result goes, as one file.
        options: What the user says of it.

    Raises:
        ConfigError: An option does not fit.
        GraphError: No ONNX file, or no YOLO that is known; nothing is written.
        UnsupportedOpError: A kind that is refused by name.
        OutputError: `output` cannot be written.
    """
    model = read_onnx(source)
    try:
        adapted = adapt_model(model, options, {"adapted_from_sha256": sha256_of(Path(source))})
    except EdgeYoloError as exc:
        exc.message = f"{source}: {exc.message}"
        raise
    write_onnx(adapted.model, output)
    return adapted
