"""The mean of a distribution is decode: in a YOLOv8 no INT8 and no FP16 touches it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from edgeyolo.graph.half_plan import half_plan
from edgeyolo.qdq import GraphView, quant_plan
from tests.adapt.foreign import Net


def net(weights: Any) -> Any:
    """A head's convolution, softmax over 16 bins of four sides, and the layer in question."""
    graph = Net()
    bins = graph.reshape(graph.conv(64, 8), 1, 4, 16, 64)
    shares = graph.op("Softmax", graph.transpose(bins, 0, 2, 1, 3), axis=1)
    graph.op("Conv", shares, graph.const(weights), to="distances")
    return graph.model({"distances": [1, 1, 4, 64]})


@pytest.mark.parametrize("trained", [False, True])
def test_bins_are_told_from_trained_weights(trained: bool) -> None:
    weights = np.arange(16.0).reshape(1, 16, 1, 1)
    model = net(weights + (0.5 if trained else 0))
    assert len(quant_plan(GraphView(model)).layers) == (2 if trained else 1)
    plan = half_plan(model)
    softmax = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Softmax")
    assert (softmax in plan.half) == trained
    assert ("distances" in plan.decode) != trained
