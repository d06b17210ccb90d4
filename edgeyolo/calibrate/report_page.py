"""The look of ``report.html``: skeleton, style, and the few kinds of block it is made of.

Owns HTML and CSS. Every text is escaped here and nowhere else. Refuses to know what the blocks mean.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "commands", "details", "escape", "figures", "note", "page", "pictures", "scrolling", "section", "table",
]  # fmt: skip

# Colours: Okabe and Ito's palette (2008) for what must be told apart, greys of equal contrast for the rest.
_STYLE = """
:root { color-scheme: light dark; --bg: #fff; --ink: #1b1f24; --soft: #59636e; --line: #d5dae0;
  --panel: #f5f7f9; --int8: #0072b2; --float: #d55e00; --good: #00704f; --bad: #b3261e; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --bg: #14171b; --ink: #e6e9ed; --soft: #9aa5b1;
  --line: #333a43; --panel: #1d2228; --int8: #56b4e9; --float: #f0a04b; --good: #4cc38a; --bad: #ff8a80;
  --warn: #e6b450; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, -apple-system,
  "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 24px; margin: 0 0 16px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 10px; padding-bottom: 4px; border-bottom: 1px solid var(--line); }
h3 { font-size: 15px; margin: 20px 0 6px; }
p { margin: 8px 0; max-width: 80ch; }
.note { border-left: 4px solid var(--warn); background: var(--panel); padding: 10px 14px; margin: 10px 0; }
.note.good { border-color: var(--good); } .note.bad { border-color: var(--bad); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 16px 0; }
.figures div { background: var(--panel); padding: 12px 14px; border-radius: 6px; }
.figures b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.figures span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; margin: 6px 0; }
td, th { text-align: left; padding: 3px 18px 3px 0; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } th.k { font-weight: 400; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.m { overflow-wrap: anywhere; } td.p { min-width: 16em; }
code, td.m { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 12.5px; }
summary { cursor: pointer; margin: 8px 0; }
pre { background: var(--panel); padding: 12px 14px; border-radius: 6px; overflow-x: auto; margin: 8px 0; }
pre i { color: var(--soft); font-style: normal; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); gap: 16px; }
.pairs { display: grid; gap: 4px 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); }
figure { margin: 0 0 12px; } figure img { max-width: 100%; height: auto; display: block; border-radius: 4px; }
figcaption { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; margin: 4px 0; }
svg { display: block; width: 100%; height: auto; } .scroll > svg { min-width: 680px; }
svg text { fill: var(--soft); font: 11px system-ui, -apple-system, "Liberation Sans", sans-serif; }
svg text.t { fill: var(--ink); paint-order: stroke; stroke: var(--bg); stroke-width: 3px; }
svg .axis { stroke: var(--line); } svg .int8 { fill: var(--int8); }
svg .float { fill: var(--float); } svg .macs { fill: var(--soft); opacity: .45; }
svg .amax { stroke: var(--float); stroke-width: 1.5; }
svg .most { stroke: var(--soft); stroke-dasharray: 4 3; }
@media print { main { max-width: none; } details { display: block; } }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def escape(text: str) -> str:
    r"""Make any text safe inside HTML; bytes of names that are no UTF-8 become ``\xe9``.

    Examples:
        >>> escape('<a href="x">')
        '&lt;a href=&quot;x&quot;&gt;'
    """
    return html.escape(text.encode("utf-8", "backslashreplace").decode())


def page(title: str, body: str) -> str:
    """Give the whole document."""
    return (
        f"<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>\n<title>{escape(title)}</title>\n"
        f'<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}">\n'
        f"<style>{_STYLE}</style></head>\n<body><main>\n<h1>{escape(title)}</h1>\n{body}\n</main></body></html>\n"
    )


def section(title: str, body: str) -> str:
    """Give a titled part of the page."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n"


def note(text: str, *, good: bool | None) -> str:
    """Give a sentence that must not be missed: good, bad, or (None) a warning."""
    kind = {True: " good", False: " bad", None: ""}[good]
    return f'<div class="note{kind}">{escape(text)}</div>\n'


def figures(values: Mapping[str, str]) -> str:
    """Give large figures with their labels."""
    cells = "".join(f"<div><b>{escape(v)}</b><span>{escape(k)}</span></div>" for k, v in values.items())
    return f"<div class=figures>{cells}</div>\n" if cells else ""


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: Sequence[int] = (),
    head: bool = True,
    mono: Sequence[int] = (),
    prose: Sequence[int] = (),
) -> str:
    """Give a table; without `head` its first column is the label of each row.

    Args:
        columns: Titles.
        rows: One text a column.
        numeric: Columns that are aligned at the right.
        head: Whether the titles are shown.
        mono: Columns of hashes and the like, which may break anywhere.
        prose: Columns of sentences, which need some width to be read.
    """
    kinds = {**dict.fromkeys(prose, "p"), **dict.fromkeys(mono, "m"), **dict.fromkeys(numeric, "n")}

    def mark(column: int) -> str:
        return f' class="{kinds[column]}"' if column in kinds else ""

    def cell(column: int, text: str) -> str:
        if column == 0 and not head:
            return f'<th scope="row" class="k">{escape(text)}</th>'
        return f"<td{mark(column)}>{escape(text)}</td>"

    top = "".join(f'<th scope="col"{mark(i)}>{escape(name)}</th>' for i, name in enumerate(columns))
    body = "".join("<tr>" + "".join(cell(i, text) for i, text in enumerate(row)) + "</tr>" for row in rows)
    return f"<div class=scroll><table>{f'<tr>{top}</tr>' if head else ''}{body}</table></div>\n"


def details(summary: str, body: str, *, opened: bool = False) -> str:
    """Give a part that is folded until it is wanted."""
    return f"<details{' open' if opened else ''}><summary>{escape(summary)}</summary>{body}</details>\n"


def scrolling(plot: str) -> str:
    """Give a plot that keeps its letters readable on a phone, and is pushed aside there instead."""
    return f"<div class=scroll>{plot}</div>\n"


def pictures(items: Iterable[tuple[str, bytes]]) -> str:
    """Give captioned JPEG pictures, inside the page."""
    return "".join(
        f'<figure><img alt="{escape(caption)}" src="{_data_uri(jpeg)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
        for caption, jpeg in items
    )


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def commands(lines: Iterable[tuple[str, str]]) -> str:
    """Give commands to copy, each under a comment."""
    text = "\n".join(f"<i># {escape(comment)}</i>\n{escape(command)}" for comment, command in lines)
    return f"<pre><code>{text}</code></pre>\n"
