"""Small pictures and a video for the tests of calibration input."""

from pathlib import Path
from typing import Any

import numpy as np


def scene(seed: int, wh: tuple[int, int] = (64, 48)) -> Any:
    """Rectangles on a textured ground: contrast, edges, and another picture for every seed."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (wh[1], wh[0], 3)).astype(np.uint8)
    for _ in range(5):
        x, y = (int(side * rng.uniform(0, 0.8)) for side in wh)
        w, h = (int(side * rng.uniform(0.1, 0.6)) for side in wh)
        image[y : y + h, x : x + w] = rng.integers(0, 255, 3)
    return image


def write(path: Path, image: Any) -> Path:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix.lower(), image)
    assert done
    path.write_bytes(data.tobytes())
    return path


def folder_of(root: Path, count: int, wh: tuple[int, int] = (64, 48)) -> Path:
    for seed in range(count):
        write(root / f"{seed:03d}.png", scene(seed, wh))
    return root


def video(path: Path, frames: int, fps: float = 10) -> Path:
    """A video whose frame k is black on the right and 8 k on the left, so that a frame can be told."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for k in range(frames):
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, :32] = 8 * k
        writer.write(image)
    writer.release()
    return path
