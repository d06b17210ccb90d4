"""``adapt`` on files: by itself, and inside the commands that take an ONNX file of any origin.

Owns the reading, the writing, and the words that tell what was recognised. Refuses to look into a graph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.adapt.adapt import Adapted, adapt_model
from edgeyolo.adapt.options import AdaptOptions, options_from_text
from edgeyolo.errors import ConfigError, EdgeYoloError
from edgeyolo.files import sha256_of
from edgeyolo.graph.onnx_file import read_onnx, refuse_too_large, write_onnx
from edgeyolo.graph.simplify import FOREIGN_PROVENANCE_KEY
from edgeyolo.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

__all__ = [
    "AdaptOptions",
    "Adapted",
    "adapt",
    "contract_form",
    "is_contract_form",
    "options_from_text",
    "reasoning",
]


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
    return _adapt(read_onnx(source), Path(source), output, options)


@contextmanager
def contract_form(
    source: Path, options: AdaptOptions, say: Callable[[str], None], *, must: bool = True
) -> Iterator[Path]:
    """Give a file that keeps the graph contract: the model's own, or what `adapt` makes of it.

    The same source and options give the same bytes, so scales that were found for what is made here fit what
    is made of the same source later.

    Args:
        source: An ONNX file; one that is absent is given back, for who needs it to say so.
        options: What the user says of a foreign model.
        say: Is told what was recognised, and why.
        must: Raise where it is no detector that is known; else `source` is given, and that is told.

    Yields:
        `source`, or a file that is gone afterwards.

    Raises:
        ConfigError: Options for a foreign model, and it is none.
        GraphError: As `adapt`.
    """
    if not source.is_file() or not source.stat().st_size:
        yield source
        return
    model = read_onnx(source)
    if _is_ours(model, source, options):
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="edgeyolo-") as folder:
        output = Path(folder, source.name)
        try:
            adapted = _adapt(model, source, output, options)
        except EdgeYoloError as exc:
            if must:
                raise
            say(f"taken as it is: {exc.message}")
            yield source
            return
        del model
        for line in reasoning(source, adapted):
            say(line)
        try:
            yield output
        except EdgeYoloError as exc:
            # The user knows the file by its own name.
            exc.message = exc.message.replace(str(output), str(source))
            exc.hint = exc.hint and exc.hint.replace(str(output), str(source))
            raise


def reasoning(source: Path, adapted: Adapted) -> Iterator[str]:
    """Tell what a model was found to be: the rule that matched, what speaks for it, what was assumed."""
    evidence, spec = adapted.evidence, adapted.spec
    width, height = spec.input_wh
    what = f"{evidence.family}, {evidence.classes} classes, {adapted.boxes} boxes at {width}x{height}"
    yield f"{source}: {what}"
    for label, lines in (
        ("because", evidence.reasons),
        ("assumed", evidence.assumed),
        ("note", adapted.notes),
    ):
        for line in lines:
            yield f"  {label:8} {line}"


def is_contract_form(source: Path, options: AdaptOptions) -> bool:
    """Say whether a file keeps the graph contract, by its metadata.

    Raises:
        ConfigError: It does, and has no use for the options.
        GraphError: It is no ONNX file.
    """
    return _is_ours(read_onnx(source), source, options)


def _is_ours(model: onnx.ModelProto, source: Path, options: AdaptOptions) -> bool:
    ours = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props}) is not None
    if ours and (words := options.words()):
        raise ConfigError(
            f"{words[0]} is for a model of another origin; {source} has edgeyolo.* metadata",
            hint="leave it out, or adapt the original model again",
        )
    return ours


def _adapt(model: onnx.ModelProto, source: Path, output: Path | str, options: AdaptOptions) -> Adapted:
    refuse_too_large(model, source)
    provenance = {"adapted_from_sha256": sha256_of(source)}
    for entry in model.metadata_props:
        if entry.key == FOREIGN_PROVENANCE_KEY:
            provenance[entry.key] = entry.value
    try:
        adapted = adapt_model(model, options, provenance)
    except EdgeYoloError as exc:
        exc.message = f"{source}: {exc.message}"
        raise
    write_onnx(adapted.model, output)
    return adapted
