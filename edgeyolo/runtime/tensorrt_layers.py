"""What the layers of a plan are, and how long each takes on this device.

Owns the reading of TensorRT's inspector and profiler. TensorRT fuses: a layer here is often several of the
model's, and its name says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeyolo.errors import ConfigError, EngineError
from edgeyolo.runtime.engine import Engine
from edgeyolo.runtime.tensorrt_engine import TensorRTEngine

__all__ = ["LayerFacts", "layer_facts", "layer_facts_from_json", "layer_times"]


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """One layer, as far as the plan tells; a plan without detailed names tells its name only.

    Args:
        name: TensorRT's.
        kind: Such as ``Convolution``; empty where the plan does not tell.
        outputs: Format and type of each output, such as ``Row major linear FP16 format``.
        tactic: The kernel that was chosen.
    """

    name: str
    kind: str = ""
    outputs: tuple[str, ...] = ()
    tactic: str = ""


def layer_facts(engine: Engine) -> tuple[LayerFacts, ...]:
    """Tell what the layers of an open engine are, in the order in which they run.

    Raises:
        ConfigError: It is no TensorRT engine.
        EngineError: TensorRT does not tell.
    """
    return layer_facts_from_json(_tensorrt(engine).inspect())


def layer_facts_from_json(text: str) -> tuple[LayerFacts, ...]:
    """Read what TensorRT's inspector says.

    Args:
        text: ``EngineInspector.get_engine_information(LayerInformationFormat.JSON)``.

    Raises:
        EngineError: It is not that.

    Examples:
        >>> layer_facts_from_json('{"Layers": ["conv_0 + leaky_0"]}')[0].name
        'conv_0 + leaky_0'
    """
    try:
        layers = json.loads(text)["Layers"]
        return tuple(_facts(layer) for layer in layers)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EngineError(f"TensorRT's inspector: JSON with layers expected, {exc!r}") from exc


def layer_times(engine: Engine, *, runs: int = 20) -> dict[str, float]:
    """Measure each layer, one inference after the other and without a CUDA graph.

    Args:
        engine: An open TensorRT engine with nothing on its way.
        runs: Inferences to average.

    Returns:
        Layer name to mean milliseconds, in the order in which they run.

    Raises:
        ConfigError: It is no TensorRT engine, or `runs` is below 1.
        EngineError: An inference failed, or the profiler did not work.
    """
    if runs < 1:
        raise ConfigError(f"runs: 1 or more expected, {runs} found")
    total = _tensorrt(engine).profile(runs)
    return {name: ms / runs for name, ms in total.items()}


def _tensorrt(engine: Engine) -> TensorRTEngine:
    if not isinstance(engine, TensorRTEngine):
        raise ConfigError(
            f"layers are told of TensorRT engines; this one is for {engine.info.backend}",
            hint="edgeyolo build MODEL.onnx -o OUT.engine --backend tensorrt",
        )
    return engine


def _facts(layer: str | Mapping[str, Any]) -> LayerFacts:
    if isinstance(layer, str):
        return LayerFacts(name=layer)
    return LayerFacts(
        name=str(layer["Name"]),
        kind=str(layer.get("LayerType", "")),
        outputs=tuple(str(output.get("Format/Datatype", "")) for output in layer.get("Outputs", ())),
        tactic=str(layer.get("TacticName", "")),
    )
