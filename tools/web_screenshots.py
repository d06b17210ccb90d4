"""Take the pictures of the web page that the documents show.

    python tools/web_screenshots.py [--seconds 70] [FOLDER]

Builds the engine of the demo, runs it on synthetic cameras and one that is not there, with a zone and lines,
and looks at the page in Chromium: ``web-light.png`` (desktop), ``web-dark.png`` (phone), ``web-zones.png``.
The longer it waits, the more the charts show.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # for the browser, which tests own

from edgeyolo.build import build  # noqa: E402
from edgeyolo.darknet.convert import ConvertOptions, convert  # noqa: E402
from edgeyolo.rules import Line, Rules, Zone, toml_from_rules  # noqa: E402
from edgeyolo.show.palette_png import write_palette_png  # noqa: E402
from tests.browser import Page, open_browser  # noqa: E402

ASSETS = PROJECT / "edgeyolo" / "assets"
EDGEYOLO = [sys.executable, "-c", "from edgeyolo.cli.start import start; start()"]
SCENE = "test://?width=960&height=540&fps=8&frames=0&live=1&cut=240&objects=9"
CAMERAS = [
    f"yard={SCENE}&seed=31",
    f"door={SCENE}&seed=52",
    f"hall={SCENE}&seed=8",
    "gate=rtsp://127.0.0.1:9/gate",
]
RULES = Rules(
    zones=(
        Zone(name="parking", camera="yard", points=((0.08, 0.55), (0.45, 0.5), (0.55, 0.95), (0.1, 0.9))),
    ),
    lines=(
        Line(name="entrance", camera="yard", a=(0.72, 0.95), b=(0.62, 0.1)),
        Line(name="till", camera="door", a=(0.5, 0.95), b=(0.5, 0.05)),
    ),
)  # fmt: skip


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    names = ConvertOptions(names=ASSETS / "demo.names")
    convert(ASSETS / "demo.cfg", ASSETS / "demo.weights", folder / "demo.onnx", names)
    build(folder / "demo.onnx", folder / "demo.engine", backend="onnxruntime")
    rules = folder / "events.toml"
    rules.write_text(toml_from_rules(RULES), encoding="utf-8")
    process = subprocess.Popen(
        [
            *EDGEYOLO, "run", str(folder / "demo.engine"), *CAMERAS, "--web", "127.0.0.1:0", "--web-fps", "6",
            "--conf", "0.4", "--events", str(rules), "--events-editable",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            print(line, end="", file=sys.stderr)
            if found := re.search(r"web page: (\S+)", line):
                yield found[1]
                break
    finally:
        process.terminate()
        process.communicate()


def save(page: Page, path: Path) -> None:
    import cv2
    import numpy as np

    picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    write_palette_png(path, picture)
    print(f"{path}: {path.stat().st_size >> 10} KiB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=PROJECT / "docs" / "images")
    parser.add_argument("--seconds", type=float, default=70.0)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as made,
        running(Path(made)) as url,
        open_browser("--hide-scrollbars") as browser,
    ):
        page = browser.page(url, wh=(1440, 900))
        page.wait_for("document.querySelectorAll('[data-pictured]').length >= 3")
        time.sleep(options.seconds)
        save(page, options.folder / "web-light.png")
        page.click("[data-camera=yard] .pen")
        page.wait_for("document.querySelector('#stage canvas').width > 16")
        page.wait_for("document.querySelectorAll('#stage .shape').length === 2")
        time.sleep(1)
        save(page, options.folder / "web-zones.png")
        page.close()
        page = browser.page(url, wh=(390, 844), dark=True, scale=2)
        page.wait_for("document.querySelector('.card')?.hasAttribute('data-pictured')")
        time.sleep(3)
        save(page, options.folder / "web-dark.png")


if __name__ == "__main__":
    main()
