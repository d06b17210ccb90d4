"""Small networks with every kind of head, converted by the command line with parameters made up."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from tests.command import edgeyolo

__all__ = ["BACKBONE", "HEADS", "converted"]

BACKBONE = """[net]
width=64
height=64
channels=3
[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation={activation}
[convolutional]
batch_normalize=1
filters=16
size=3
pad=1
activation={activation}
[shortcut]
from=-2
activation=linear
[maxpool]
size=2
stride=2
[convolutional]
filters={filters}
size=1
activation=linear
"""
YOLO = "[yolo]\nmask=0,1,2\nanchors=10,13, 16,30, 33,23\nclasses=2\nnum=3\n"
HEADS = {
    "yolo": (21, YOLO),
    "yolo-scaled": (21, YOLO + "scale_x_y=1.05\n"),
    "yolo-new-coords": (21, YOLO + "new_coords=1\nscale_x_y=2\n"),
    "gaussian": (33, YOLO.replace("[yolo]", "[Gaussian_yolo]")),
    "region": (21, "[region]\nanchors=1,1, 2,2, 3,3\nclasses=2\ncoords=4\nnum=3\nsoftmax=1\nbias_match=1\n"),
    "classifier": (2, "[avgpool]\n[softmax]\ngroups=1\n"),
}  # fmt: skip


def converted(folder: Path, head: str, *words: str, activation: str = "leaky") -> Path:
    """Convert a small network with that head, parameters made up."""
    path = folder / "m.onnx"
    path.write_bytes(_converted(head, words, activation))
    return path


@functools.cache
def _converted(head: str, words: tuple[str, ...], activation: str) -> bytes:
    filters, section = HEADS[head]
    with tempfile.TemporaryDirectory() as folder:
        cfg, path = Path(folder, f"{head}.cfg"), Path(folder, "m.onnx")
        cfg.write_text(BACKBONE.format(filters=filters, activation=activation) + section)
        done = edgeyolo("convert", cfg, "--random-weights", "1", *words, "-o", path)
        assert done.returncode == 0, done.stderr
        return path.read_bytes()
