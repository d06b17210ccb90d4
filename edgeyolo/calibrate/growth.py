"""Collecting in two parts whose sum is the whole: half of the pictures for nothing.

Owns the sum of statistics, and the comparison of what half and all of the pictures say. Refuses to run the
model itself (`edgeyolo.calibrate.collect`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.calibrate.amax import amax_by
from edgeyolo.calibrate.check import Movement, movement
from edgeyolo.calibrate.choice import group_counts
from edgeyolo.calibrate.collect import Statistics
from edgeyolo.calibrate.histogram import Histogram
from edgeyolo.calibrate.manifest import Manifest
from edgeyolo.errors import DeadTensorError

if TYPE_CHECKING:
    from edgeyolo.qdq import QuantPlan

__all__ = ["collect_growing", "summed"]

_LEAST = 2


def collect_growing(
    manifest: Manifest, plan: QuantPlan, collect: Callable[[Manifest], Statistics]
) -> tuple[Statistics, Movement | None]:
    """Collect over a manifest in two parts.

    Args:
        manifest: The pictures.
        plan: Which tensors share a scale.
        collect: Runs the model over pictures and counts.

    Returns:
        The statistics of all pictures, and how much percentile amax moved from half of them to all; None for
        fewer than two pictures.
    """
    if len(manifest) < _LEAST:
        return collect(manifest), None
    first = manifest.subset(len(manifest) // 2)
    chosen = {*first.items}
    rest = Manifest.of(manifest.root, (item for item in manifest.items if item not in chosen))
    half = collect(first)
    whole = summed(half, collect(rest))
    samples = [(part.images, _amax(plan, part)) for part in (half, whole)]
    return whole, movement(samples)[0]


def summed(a: Statistics, b: Statistics) -> Statistics:
    """Give the statistics of two sets of pictures together, as if collected at once.

    Args:
        a: Statistics of some pictures.
        b: Statistics of others, of the same taps.
    """
    tensors = a.histograms.keys() | b.histograms.keys()
    return Statistics(
        histograms={name: _summed(a.histograms[name], b.histograms[name]) for name in sorted(tensors)},
        channel_amax={
            name: np.maximum(values, b.channel_amax.get(name, values))
            for name, values in a.channel_amax.items()
        },
        images=a.images + b.images,
    )


def _summed(a: Histogram, b: Histogram) -> Histogram:
    low, high = min(a.low, b.low), max(a.high, b.high)
    grown = [copy.deepcopy(part) for part in (a, b)]
    for part in grown:
        part.reach(low, high)  # both grids now span the same power of two
    grown[0].counts = grown[0].counts + grown[1].counts
    return grown[0]


def _amax(plan: QuantPlan, statistics: Statistics) -> dict[str, float]:
    found = {}
    for group in plan.groups:
        try:
            found[group[0]] = amax_by("percentile", *group_counts(plan, statistics, group[0]))
        except DeadTensorError:
            found[group[0]] = 0.0
    return found
