"""What an engine tells of its layers."""

from __future__ import annotations

import json
from typing import Any

from tests.sim.tensorrt.onnx_graph import layer_type
from tests.sim.tensorrt.pybind import kept

__all__ = ["EngineInspector"]


class EngineInspector:
    """`EngineInspector`: names alone, or everything with `ProfilingVerbosity.DETAILED`."""

    _simulation: Any
    _engine: Any

    def _made(self) -> None:
        self._context: Any = None

    execution_context = kept("_context")

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        layers = self._layers()
        if not 0 <= layer_index < len(layers):
            self._engine._refuse("getLayerInformation", f"layer {layer_index} is out of range")
            return ""
        layer = layers[layer_index]
        return json.dumps(layer) if format.name == "JSON" or isinstance(layer, dict) else str(layer)

    def get_engine_information(self, format: Any) -> str:
        layers = self._layers()
        if format.name == "JSON":
            return json.dumps({"Layers": layers, "Bindings": list(self._engine._tensors)})
        return "Layers:\n" + "\n".join(str(layer) for layer in layers)

    def _layers(self) -> list[Any]:
        facts = self._engine._plan.facts
        if facts["profiling_verbosity"] == "NONE":
            return []
        if facts["profiling_verbosity"] != "DETAILED":
            return [layer["name"] for layer in facts["layers"]]
        return [self._detailed(layer) for layer in facts["layers"]]

    def _detailed(self, layer: dict[str, Any]) -> dict[str, Any]:
        kind = {"FLOAT": "FP32", "HALF": "FP16", "INT8": "Int8"}[layer["precision"]]
        shaped = {
            "Location": "Device",
            "Dimensions": [],
            "Format/Datatype": f"Row major linear {kind} format",
        }
        return {
            "Name": layer["name"], "LayerType": layer_type(layer["operator"]).title(),
            "Inputs": [{"Name": name, **shaped} for name in layer["inputs"]],
            "Outputs": [{"Name": name, **shaped} for name in layer["outputs"]],
            "TacticName": "simulated", "StreamId": 0, "Metadata": f"[ONNX Layer: {layer['name']}]",
        }  # fmt: skip
