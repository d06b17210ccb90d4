"""``report.html``: what a calibration saw, chose and costs, on one page that a person can judge by.

Owns what the page says and in which order. Refuses to compute a figure: `ReportData` comes with all of them.
The look is `report_page`'s, plots are `report_plots`'. The page is one file: no script, no font, no picture
from anywhere, and its own content security policy forbids them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgeyolo.calibrate.gather import Finding
from edgeyolo.calibrate.report_page import (
    commands,
    details,
    escape,
    figures,
    note,
    page,
    pictures,
    scrolling,
    section,
    table,
)
from edgeyolo.calibrate.report_plots import HistogramPlot, LayerPoint, histogram_svg, layers_svg

__all__ = ["LayerRow", "ReportData", "Thumbnail", "report_html"]

_KIND_WORDS = {
    "missing": ("not found", "left out"),
    "unreadable": ("unreadable", "left out"),
    "duplicate": ("exact copies", "left out"),
    "near_duplicate": ("near copies", "kept"),
    "dark": ("dark", "kept"),
    "flat": ("of one tone", "kept"),
    "blurred": ("blurred", "kept"),
}
_MAX_LISTED = 200


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer of the table.

    Args:
        name: Its name in the graph.
        op: ``Conv`` and the like.
        macs: Its share of all multiply-adds, 0..1.
        int8: Whether it computes in INT8.
        amax: Largest magnitude kept of its input; None where it has no scale.
        method: What chose the scale.
        error: Its own effect on the outputs, in the unit of `ReportData.error_unit`; None where not measured.
        reason: Why it stays float; empty for INT8.
    """

    name: str
    op: str
    macs: float
    int8: bool
    amax: float | None
    method: str
    error: float | None
    reason: str = ""


@dataclass(frozen=True)
class Thumbnail:
    """A picture with a caption; `jpeg` is the encoded file."""

    caption: str
    jpeg: bytes


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """All that the page shows.

    Args:
        model: Name of the model.
        verdict: One sentence: was the target met, and what to do if not.
        passed: Whether it was; None where nothing was asked for and it is no good news either.
        headline: Label to value, the figures that matter most.
        inputs: Label to value: the pictures.
        findings: What the check found.
        movement: Sentences on whether more pictures would change anything.
        choices: Label to value: method, what was tried, what was applied.
        log: What the search did, one line a step.
        accuracy: Rows of figure, FP32, INT8.
        layers: In graph order.
        error_unit: What `LayerRow.error` counts.
        histograms: Of the layers that matter.
        histogram_note: What must be known to read them, such as which form of the network they are of.
        worst: Worst pictures.
        commands: What to run next: comment and command.
        fingerprints: Label to hash or version.
        warnings: What a user should not miss.
    """

    model: str
    verdict: str
    passed: bool | None
    headline: Mapping[str, str]
    inputs: Mapping[str, str]
    findings: Sequence[Finding] = ()
    movement: Sequence[str] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    log: Sequence[str] = ()
    accuracy: Sequence[tuple[str, str, str]] = ()
    layers: Sequence[LayerRow] = ()
    error_unit: str = ""
    histograms: Sequence[HistogramPlot] = ()
    histogram_note: str = ""
    worst: Sequence[Thumbnail] = ()
    commands: Sequence[tuple[str, str]] = ()
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def report_html(data: ReportData) -> str:
    """Give the page.

    Args:
        data: All that it shows; any text in it may hold any character.

    Returns:
        A complete HTML 5 document, UTF-8 when encoded.

    Examples:
        >>> html = report_html(ReportData(model="<m>", verdict="Met.", passed=True, headline={}, inputs={}))
        >>> html.startswith("<!DOCTYPE html>"), "<m>" in html, "&lt;m&gt;" in html
        (True, False, True)
    """
    return page(f"INT8 calibration of {data.model}", "".join(_sections(data)))


def _sections(data: ReportData) -> Iterator[str]:
    yield note(data.verdict, good=data.passed)
    yield from (note(text, good=None) for text in data.warnings)
    yield figures(data.headline)
    if data.accuracy:
        yield section("Accuracy", table(("", "FP32", "INT8"), data.accuracy, numeric=(1, 2)))
    yield section("Pictures", "".join(_inputs(data)))
    yield section("What was chosen", "".join(_choices(data)))
    if data.layers:
        yield section("Layers", "".join(_layers(data)))
    if data.histograms:
        plots = "".join(map(histogram_svg, data.histograms))
        text = (
            "Counts of |value| on a logarithmic scale. The solid line is the amax that was chosen: what lies "
            "to its right is clipped. The dashed line is the largest value seen."
        )
        text = f"{text} {data.histogram_note}".strip()
        yield section("Tensors that matter", f"<p>{escape(text)}</p><div class=grid>{plots}</div>")
    if data.worst:
        shown = [(picture.caption, picture.jpeg) for picture in data.worst]
        yield section("Where FP32 and INT8 differ most", f"<div class=pairs>{pictures(shown)}</div>")
    if data.commands:
        yield section("Next", commands(data.commands))
    yield section("Made from", table(("", ""), tuple(data.fingerprints.items()), head=False, mono=(1,)))


def _inputs(data: ReportData) -> Iterator[str]:
    yield table(("", ""), tuple(data.inputs.items()), head=False)
    for kind, (words, fate) in _KIND_WORDS.items():
        found = [finding for finding in data.findings if finding.kind == kind]
        if found:
            rows = [(finding.name, finding.text) for finding in found[:_MAX_LISTED]]
            if len(found) > _MAX_LISTED:
                rows.append((f"and {len(found) - _MAX_LISTED} more", ""))
            yield details(f"{len(found)} {words}, {fate}", table(("picture", "found"), rows))
    yield from (f"<p>{escape(text)}</p>" for text in data.movement)


def _choices(data: ReportData) -> Iterator[str]:
    yield table(("", ""), tuple(data.choices.items()), head=False)
    if data.log:
        items = "".join(f"<li>{escape(line)}</li>" for line in data.log)
        yield details(f"Step by step ({len(data.log)})", f"<ol>{items}</ol>")


def _layers(data: ReportData) -> Iterator[str]:
    points = [LayerPoint(row.name, row.error, row.macs, row.int8) for row in data.layers]
    yield scrolling(layers_svg(points, data.error_unit))
    rows = [
        (
            row.name,
            row.op,
            f"{row.macs:.2%}",
            "int8" if row.int8 else "float",
            "" if row.amax is None else f"{row.amax:.4g}",
            row.method,
            "" if row.error is None else f"{row.error:.3g}",
            row.reason,
        )
        for row in data.layers
    ]
    columns = ("layer", "op", "multiply-adds", "computes in", "amax of input", "chosen by", "error", "why")
    every = table(columns, rows, numeric=(2, 4, 6), prose=(7,))
    yield details(f"All {len(rows)} layers", every, opened=len(rows) <= 12)
    kept = [(row[0], row[1], row[2], row[6], row[7]) for row in rows if row[3] == "float"]
    if kept and len(rows) > 12:
        titles = ("layer", "op", "multiply-adds", "error", "why")
        yield f"<h3>Left in float</h3>{table(titles, kept, numeric=(2, 3), prose=(4,))}"
