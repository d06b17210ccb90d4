"""INT8 in the graph: which layers and tensors, which of them share a scale, where the Q/DQ pairs go.

Calibration searches on the very graph that is shipped, and a build writes that graph for its own backend; so
this is BASE, like `edgeyolo.vision`, and neither stage imports the other. Owns topology, placement and the
rewriting of a float model with a `edgeyolo.scales.Scales`. Refuses to find a scale (`edgeyolo.calibrate`).
"""

from __future__ import annotations

from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.insert import int8_model
from edgeyolo.qdq.plan import Layer, QuantPlan, quant_plan

__all__ = ["GraphView", "Layer", "QuantPlan", "int8_model", "quant_plan"]
