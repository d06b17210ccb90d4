"""Make docs/images/events.png: zones, lines, numbers and paths on a synthetic scene, from its truth.

python tools/draw_events.py [docs/images/events.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeyolo.camera import open_source
from edgeyolo.camera.outlines import NAMES
from edgeyolo.events import analyst_for
from edgeyolo.rules import Line, Rules, Zone
from edgeyolo.show.palette_png import write_palette_png
from edgeyolo.vision.draw import Painter

SOURCE = "test://?width=768&height=432&fps=15&frames=120&seed=11&objects=9"
RULES = Rules(
    zones=(
        Zone(name="table", points=((0.04, 0.38), (0.38, 0.34), (0.42, 0.9), (0.08, 0.95)), point="centre"),
    ),
    lines=(Line(name="door", a=(0.46, 0.95), b=(0.58, 0.08), point="centre"),),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path("docs/images/events.png"))
    path = parser.parse_args().path
    analyst = analyst_for("0", RULES, NAMES)
    for frame in open_source(SOURCE):
        boxes, events = analyst.update(frame, frame.truth)
        for event in events:
            way = event.direction or ""
            print(f"{event.time_s:5.1f} s  {event.kind:5} {event.where} {way:3} {dict(event.counts)}")
    picture = frame.image_bgr.copy()
    analyst.draw(picture)
    Painter(NAMES).draw(picture, boxes)
    write_palette_png(path, picture)


if __name__ == "__main__":
    main()
