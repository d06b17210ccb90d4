"""All families in the order in which they are asked, and the refusal where none answers.

Owns the order. What a family looks like is in its own module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeyolo.adapt.apart import Apart
from edgeyolo.adapt.distances import ClassesFirst, DistancePairs, DistancesFirst
from edgeyolo.adapt.end_to_end import EndToEnd, EndToEndApart
from edgeyolo.adapt.evidence import Evidence, Family, Wishes
from edgeyolo.adapt.fastest import FastestDet, YoloFastestV2
from edgeyolo.adapt.predictions import Columns, RowsDecoded
from edgeyolo.adapt.raw_heads import RawHeads
from edgeyolo.adapt.suppression import EfficientNms, OnnxNms
from edgeyolo.adapt.yolox import RowsUndecoded
from edgeyolo.errors import ConfigError, GraphError

if TYPE_CHECKING:
    from edgeyolo.adapt.view import GraphView

__all__ = ["FAMILIES", "recognise"]

FAMILIES: tuple[Family, ...] = (
    EfficientNms(),
    EndToEnd(),
    EndToEndApart(),
    OnnxNms(),
    ClassesFirst(),
    DistancesFirst(),
    DistancePairs(),
    FastestDet(),
    YoloFastestV2(),
    Apart(),
    RowsUndecoded(),
    RowsDecoded(),
    Columns(),
    RawHeads(),
)
"""The most telling structure first: a suppression by its operator, final boxes by their count, distributions
and small maps by how they are joined, pairs of outputs, one tensor of everything; last a mere shape."""


def recognise(view: GraphView, wishes: Wishes, family: str | None = None) -> tuple[Family, Evidence]:
    """Find the family of a graph.

    Args:
        view: The graph.
        wishes: What the user said of it.
        family: The only family to ask, or None.

    Raises:
        ConfigError: There is no such family.
        GraphError: It is of none, or of the asked one something is missing.
        UnsupportedOpError: It is of a kind that is refused by name.
    """
    names = [item.name for item in FAMILIES]
    if family is not None and family not in names:
        raise ConfigError(f"--family: one of {', '.join(names)} expected, {family!r} found")
    for item in FAMILIES:
        if family in (None, item.name) and (evidence := item.matches(view, wishes)) is not None:
            return item, evidence
    raise _unknown(view, family)


def _unknown(view: GraphView, family: str | None) -> GraphError:
    outputs = ", ".join(
        f"{output.name!r} [{','.join('?' if size is None else str(size) for size in output.shape)}]"
        for output in view.outputs
    )
    if family is not None:
        wanted = next(item.layout for item in FAMILIES if item.name == family)
        return GraphError(f"--family {family}: outputs {wanted} expected, found {outputs}")
    if len(view.outputs) == 1 and len(view.outputs[0].shape) in (1, 2):
        return GraphError(
            f"no detector: its only output is {outputs}, one row of scores a picture, as a classifier's",
            hint="a detector gives boxes; `edgeyolo convert` takes Darknet's classifiers",
        )
    if any(len(output.shape) == 4 for output in view.outputs) and len(view.outputs) == 1:
        return GraphError(
            f"no detector that is known: its only output is a map, {outputs}, as of segmentation or depth",
            hint="--family names the layout where this is a detector's head",
        )
    known = "; ".join(f"{item.name} {item.layout}" for item in FAMILIES)
    return GraphError(
        f"no YOLO that is known: its outputs are {outputs}. Known: {known}",
        hint="--family says which one it is meant to be; see docs/models.md for how to export it",
    )
