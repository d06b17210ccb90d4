"""The page, in the markup and in a real browser, in both colour schemes."""

import html
import html.parser
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.calibrate.gather import Finding
from edgeyolo.calibrate.report import LayerRow, ReportData, Thumbnail, report_html
from edgeyolo.calibrate.report_plots import HistogramPlot, LayerPoint, histogram_svg, layers_svg

INT8_RGB, INT8_DARK_RGB, FLOAT_RGB = (0x00, 0x72, 0xB2), (0x56, 0xB4, 0xE9), (0xD5, 0x5E, 0x00)
NASTY = '<script>alert("x")</script>&amp;\udce9'


def data(**changes: Any) -> ReportData:
    import cv2

    counts = np.array([1000, 300, 90, 20, 5, 1, 0, 1])
    jpeg = cv2.imencode(".jpg", np.full((90, 160, 3), (0, 200, 0), np.uint8))[1].tobytes()
    fields: dict[str, Any] = {
        "model": "tiny.onnx",
        "verdict": "Met: agreement 0.97, at least 0.95 asked for.",
        "passed": True,
        "headline": {"agreement": "0.97"},
        "inputs": {"source": "folder images"},
        "findings": [Finding("dark", "night.png", "mean brightness 9 of 255")],
        "movement": ["from 10 to 20 pictures ..."],
        "choices": {"method": "auto"},
        "log": ["step one", "step two"],
        "accuracy": [("AP", "0.1457", "0.1455")],
        "layers": [
            LayerRow(
                name=f"conv{n}", op="Conv", macs=0.05, int8=n != 7, amax=1.0 + n, method="mse", error=n / 100
            )
            for n in range(20)
        ],
        "histograms": [
            HistogramPlot(
                tensor="t", counts=counts, width=0.5, amax=2.2, largest=3.9, method="percentile 99.9"
            )
        ],
        "worst": [Thumbnail("a.png", jpeg)],
        "commands": [("here", "edgeyolo build a.onnx -o 'a b.engine' --calibration out")],
        "fingerprints": {"model": "00" * 32},
    }
    return ReportData(**{**fields, **changes})


class Tags(html.parser.HTMLParser):
    """Counts tags and finds those that were never closed."""

    VOID = frozenset({"meta", "img", "rect", "line"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.needs("opencv")
def test_every_tag_is_closed_and_nothing_comes_from_elsewhere() -> None:
    page = report_html(data())
    tags = Tags(page)
    assert tags.open == []
    for tag, attributes in tags.seen:
        assert tag not in {"script", "link", "iframe", "object"}
        source = attributes.get("src") or attributes.get("href") or "data:"
        assert source.startswith("data:")
    assert "http" not in re.sub(r"http-equiv=", "", page)
    assert {"step two", "night.png", "0.1455", "conv7"} <= set(re.split(r"<[^>]+>", page))


@pytest.mark.needs("opencv")
def test_any_text_is_shown_and_never_run() -> None:
    page = report_html(
        data(
            model=NASTY,
            verdict=NASTY,
            findings=[Finding("unreadable", NASTY, NASTY)],
            commands=[(NASTY, NASTY)],
            headline={NASTY: NASTY},
            layers=[LayerRow(name=NASTY, op=NASTY, macs=1, int8=True, amax=None, method=NASTY, error=None)],
        )
    )
    page.encode("utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10
    assert "\\udce9" in page


def test_a_page_without_anything_is_whole() -> None:
    page = report_html(ReportData(model="m", verdict="v", passed=False, headline={}, inputs={}))
    assert Tags(page).open == []


def heights(svg: str, kind: str) -> list[float]:
    """Give the heights of the bars of one kind; the legend's squares are 10 wide."""
    return [
        float(h)
        for w, h in re.findall(rf'<rect class="{kind}".*?width="(.*?)" height="(.*?)"', svg)
        if w != "10"
    ]


def test_bars_are_as_tall_as_the_errors_and_say_so() -> None:
    svg = layers_svg(
        [LayerPoint("a", 0.1, 0.5, True), LayerPoint("b", 0.4, 0.5, False), LayerPoint("c", None, 0, True)],
        "e",
    )
    int8, kept = heights(svg, "int8"), heights(svg, "float")
    assert kept[0] == pytest.approx(4 * int8[0], rel=0.01)
    assert "<title>b: error 0.4, 50.00% of multiply-adds, float</title>" in svg
    assert "<title>c: error not measured" in svg


@pytest.mark.parametrize("error", [0.0, 1e-30, 1e9, float("nan"), float("inf")])
def test_plots_take_any_number(error: float) -> None:
    for svg in (
        layers_svg([LayerPoint("a", error, 0.0, True)], "e"),
        layers_svg([], ""),
        histogram_svg(
            HistogramPlot(
                tensor="t", counts=np.zeros(4, np.int64), width=0.0, amax=0.0, largest=0.0, method=""
            )
        ),
    ):
        assert Tags(svg).open == []
        assert not re.search(r'"(nan|inf)', svg)


def test_the_chosen_range_stands_where_it_is() -> None:
    svg = histogram_svg(
        HistogramPlot(
            tensor="t", counts=np.array([8, 4, 2, 1]), width=1.0, amax=2.0, largest=4.0, method="mse"
        )
    )
    lines = dict(re.findall(r'<line class="(most|amax)" x1="([\d.]+)"', svg))
    assert (float(lines["amax"]) - 8) / (float(lines["most"]) - 8) == pytest.approx(0.5, abs=0.01)


def screenshot(page: Path, *options: str) -> tuple[Any, list[str]]:
    """Give the picture that a browser shows, and what it says on its console."""
    import cv2

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    picture = page.with_suffix(".png")
    done = subprocess.run(
        [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--enable-logging=stderr", "--hide-scrollbars", f"--user-data-dir={page.parent / 'profile'}",
            "--window-size=1100,2000", f"--screenshot={picture}", *options, page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return cv2.imread(str(picture))[:, :, ::-1], console


def pixels(image: Any, rgb: tuple[int, int, int]) -> int:
    return int((np.abs(image.astype(int) - rgb).max(axis=2) <= 3).sum())


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "report.html"
    path.write_text(report_html(data()), encoding="utf-8")
    yield path
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)


@pytest.mark.needs("chromium", "opencv")
def test_a_browser_shows_it_and_has_nothing_to_complain_of(page: Path) -> None:
    light, console = screenshot(page)
    assert console == []
    assert pixels(light, (255, 255, 255)) > light.size // 3 // 2
    assert pixels(light, INT8_RGB) > 2000  # the bars
    assert pixels(light, FLOAT_RGB) > 100
    assert pixels(light, (0, 200, 0)) > 160 * 90 // 2  # the picture inside the page


@pytest.mark.needs("chromium", "opencv")
def test_in_the_dark_it_is_dark(page: Path) -> None:
    dark, console = screenshot(page, "--force-dark-mode")
    assert console == []
    assert dark.mean() < 64
    assert pixels(dark, INT8_DARK_RGB) > 2000


@pytest.mark.needs("chromium", "opencv")
def test_on_a_phone_nothing_is_wider_than_the_screen(page: Path) -> None:
    # A window is never as narrow as a phone; a frame can be.
    inside = html.escape(page.read_text(encoding="utf-8"))
    tell = "console.log('wide:' + this.contentDocument.documentElement.scrollWidth)"
    page.write_text(f'<iframe width=340 height=1500 onload="{tell}" srcdoc="{inside}"></iframe>')
    _, console = screenshot(page)
    assert any('"wide:340"' in line for line in console), console


@pytest.mark.needs("chromium", "opencv")
def test_the_browser_would_have_complained(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</main>", '<img src="http://127.0.0.1:9/a.png"></main>'), encoding="utf-8")
    _, console = screenshot(page)
    assert any("Content Security Policy" in line for line in console)
