"""Synthetic scenes as files: pictures and a COCO "instances" file, as ``edgeyolo evaluate`` reads them.

Owns the file names and the JSON. The scenes are ``edgeyolo.camera.scene``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeyolo.camera.scene import render_scene
from edgeyolo.camera.synthetic import NAMES
from edgeyolo.detections import Detections
from edgeyolo.files import write_bytes, write_text
from edgeyolo.optional import require

__all__ = ["write_scenes"]

_JPEG_QUALITY = 95


def write_scenes(
    folder: Path | str, annotations: Path | str, *, seeds: Sequence[int], wh: tuple[int, int] = (640, 480)
) -> None:
    """Draw one picture a seed and write all of them with their truth.

    Args:
        folder: Gets ``SEED.jpg``; other files in it stay.
        annotations: The COCO file; written last, so that it never names a picture that is not there.
        seeds: Of the scenes, none twice.
        wh: Size of the pictures, pixels.

    Raises:
        OutputError: A file cannot be written.
    """
    cv2 = require("cv2", why="to write pictures")
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for image_id, seed in enumerate(seeds, start=1):
        picture, truth = render_scene(seed, wh)
        name = f"{seed}.jpg"
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        write_bytes(Path(folder) / name, data.tobytes())
        images.append({"id": image_id, "file_name": name, "width": wh[0], "height": wh[1]})
        boxes += _annotations(image_id, truth, first_id=len(boxes) + 1)
    categories = [{"id": class_id, "name": name} for class_id, name in enumerate(NAMES, start=1)]
    write_text(annotations, json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def _annotations(image_id: int, truth: Detections, first_id: int) -> list[dict[str, Any]]:
    rows = zip(truth.xyxy.round(3).tolist(), truth.class_ids.tolist(), strict=True)
    return [
        {
            "id": box_id,
            "image_id": image_id,
            "category_id": class_id + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "iscrowd": 0,
        }
        for box_id, ((x0, y0, x1, y1), class_id) in enumerate(rows, start=first_id)
    ]
