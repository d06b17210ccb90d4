"""The plots of ``report.html``, as SVG that takes its colours from the page.

Owns scales, ticks and shapes. Every bar has a ``<title>``, which a browser shows under a
resting pointer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.calibrate.report_page import escape

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["HistogramPlot", "LayerPoint", "histogram_svg", "layers_svg"]

_WIDE, _TALL, _STRIP = 1040, 220, 50
_LEFT, _TOP, _BOTTOM = 56, 16, 22
_SMALL_WH = (340, 170)
_BARS = 96
_NAMED = 5


@dataclass(frozen=True)
class LayerPoint:
    """One bar: a layer's error (None: not measured), its share of the multiply-adds, its precision."""

    name: str
    error: float | None
    macs: float
    int8: bool


@dataclass(frozen=True, kw_only=True)
class HistogramPlot:
    """One tensor's values.

    Args:
        tensor: Its name.
        counts: Counts of ``|value|`` in bins from 0, shape ``(N,)``.
        width: Width of a bin.
        amax: What was chosen.
        largest: Largest value seen.
        method: What chose it.
    """

    tensor: str
    counts: npt.NDArray[np.int64]
    width: float
    amax: float
    largest: float
    method: str


def layers_svg(layers: Sequence[LayerPoint], unit: str) -> str:
    """Plot every layer in graph order: its error above, its share of the multiply-adds below."""
    errors = [layer.error for layer in layers if layer.error is not None and math.isfinite(layer.error)]
    top = max(errors, default=0.0) or 1.0
    step = (_WIDE - _LEFT) / max(1, len(layers))
    base = _TOP + _TALL
    parts = list(_error_axis(top, base))
    heaviest = max((layer.macs for layer in layers), default=0.0)
    for index, layer in enumerate(layers):
        parts.append(_layer_bars(layer, _LEFT + index * step, step, top=top, base=base, heaviest=heaviest))
    parts += _names(layers, step, top)
    legend = (
        f'<rect class="int8" x="{_LEFT}" y="{base + _STRIP + 30}" width="10" height="10"/>'
        f'<text x="{_LEFT + 15}" y="{base + _STRIP + 39}">INT8</text>'
        f'<rect class="float" x="{_LEFT + 60}" y="{base + _STRIP + 30}" width="10" height="10"/>'
        f'<text x="{_LEFT + 75}" y="{base + _STRIP + 39}">left in float</text>'
        f'<text x="{_WIDE}" y="{base + _STRIP + 39}" text-anchor="end">'
        f"above: {escape(unit or 'error')}; below: share of the multiply-adds; graph order</text>"
    )
    height = base + _STRIP + 46
    told = f"Error and share of the multiply-adds of {len(layers)} layers; the table below has the numbers"
    return f"{_svg(_WIDE, height, told)}{''.join(parts)}{legend}</svg>\n"


def _error_axis(top: float, base: float) -> Iterator[str]:
    for value in _ticks(top):
        y = base - _TALL * value / top
        yield f'<line class="axis" x1="{_LEFT}" x2="{_WIDE}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'


def _layer_bars(layer: LayerPoint, x: float, step: float, *, top: float, base: float, heaviest: float) -> str:
    kind = "int8" if layer.int8 else "float"
    known = layer.error is not None and math.isfinite(layer.error)
    error = layer.error if known and layer.error is not None else 0.0
    tall = _TALL * min(1.0, error / top)
    told = f"error {error:.3g}" if known else "error not measured"
    title = escape(f"{layer.name}: {told}, {layer.macs:.2%} of multiply-adds, {kind}")
    share = _STRIP * layer.macs / (heaviest or 1.0)
    wide = max(step - 1, step * 0.7)
    return (
        f"<g><title>{title}</title>"
        f'<rect fill="transparent" x="{x:.1f}" y="{_TOP}" width="{step:.1f}" height="{_TALL + _STRIP}"/>'
        f'<rect class="{kind}" x="{x:.1f}" y="{base - max(tall, 1):.1f}" width="{wide:.1f}" '
        f'height="{max(tall, 1):.1f}"/>'
        f'<rect class="macs" x="{x:.1f}" y="{base + 18}" width="{wide:.1f}" height="{share:.1f}"/></g>'
    )


def _names(layers: Sequence[LayerPoint], step: float, top: float) -> Iterator[str]:
    """Name the layers of the largest errors, but for those too near to one that is named already."""
    worst = sorted(range(len(layers)), key=lambda index: -(layers[index].error or 0.0))
    taken: list[tuple[float, float]] = []
    for index in worst[:_NAMED]:
        x, y = (
            _LEFT + (index + 0.5) * step,
            _TOP + _TALL * (1 - min(1.0, (layers[index].error or 0.0) / top)) - 4,
        )
        if layers[index].error and all(abs(x - a) > 150 or abs(y - b) > 14 for a, b in taken):
            taken.append((x, y))
            yield _label(layers[index].name, x, y)


def _label(name: str, x: float, y: float) -> str:
    anchor = "end" if x > _WIDE * 0.8 else "start" if x < _WIDE * 0.2 else "middle"
    return (
        f'<text class="t" x="{x:.1f}" y="{max(y, 11):.1f}" text-anchor="{anchor}">{escape(name[-40:])}</text>'
    )


def histogram_svg(plot: HistogramPlot) -> str:
    """Plot one tensor's values with the chosen amax and the largest value seen."""
    width, height = _SMALL_WH
    base, right = height - _BOTTOM, width - 8
    reach = max(plot.largest, plot.amax, 1e-30) * 1.02
    bars = _rebinned(plot, reach)
    tallest = math.log1p(float(bars.max(initial=0))) or 1.0
    room = base - 34
    step = (right - 8) / len(bars)
    parts = [
        f'<rect class="{"int8" if (i + 0.5) / len(bars) * reach <= plot.amax else "macs"}" '
        f'x="{8 + i * step:.1f}" y="{base - room * math.log1p(float(count)) / tallest:.1f}" '
        f'width="{step:.2f}" height="{room * math.log1p(float(count)) / tallest:.1f}"/>'
        for i, count in enumerate(bars)
        if count
    ]
    for value, kind in ((plot.largest, "most"), (plot.amax, "amax")):
        x = 8 + (right - 8) * value / reach
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="30" y2="{base}"/>')
    parts += [
        f'<line class="axis" x1="8" x2="{right}" y1="{base}" y2="{base}"/>',
        f'<text x="8" y="{height - 8}">0</text>',
        f'<text x="{right}" y="{height - 8}" text-anchor="end">{reach:.3g}</text>',
        f'<text class="t" x="8" y="12">{escape(plot.tensor[-46:])}</text>',
        f'<text x="8" y="26">amax {plot.amax:.4g} ({escape(plot.method)}), largest {plot.largest:.4g}</text>',
    ]
    told = f"Histogram of {plot.tensor}: amax {plot.amax:.4g}, largest value {plot.largest:.4g}"
    return f"{_svg(width, height, told)}{''.join(parts)}</svg>\n"


def _svg(width: float, height: float, told: str) -> str:
    """Begin a plot; `told` is what a screen reader says of it."""
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(told)}">'


def _rebinned(plot: HistogramPlot, reach: float) -> npt.NDArray[np.float64]:
    centres = (np.arange(len(plot.counts)) + 0.5) * plot.width
    index = np.minimum(centres / reach * _BARS, _BARS - 1).astype(np.intp)
    return np.bincount(index, weights=plot.counts, minlength=_BARS).astype(np.float64)


def _ticks(top: float) -> Iterator[float]:
    """Give about four round values from 0 to `top`."""
    step = 10.0 ** math.floor(math.log10(top / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if top / (step * factor) <= 5)
    yield from (step * k for k in range(int(top / step) + 1))
