"""Darknet-53: 53 convolutions with residual shortcuts, the backbone of YOLOv3.

Owns the backbone and its ImageNet classifier. One stem convolution; five stages, each one strided convolution
and then 1, 2, 8, 8, 4 residual blocks of two; and the classifier's own: ``1 + 5 + 2 * (1 + 2 + 8 + 8 + 4) + 1
= 53``.

Source: Redmon and Farhadi 2018, "YOLOv3: An Incremental Improvement", table 1; cfg/darknet53.cfg.
"""

from __future__ import annotations

from edgeyolo.darknet.architectures.writer import CfgWriter
from edgeyolo.darknet.cfg import Cfg

__all__ = ["STAGES", "backbone", "darknet53", "darknet53_448", "residual_block"]

STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
"""Filters and residual blocks of each stage."""


def backbone(net: CfgWriter) -> list[int]:
    """Add the 52 convolutions before the classifier.

    Returns:
        The last layer of each stage; their strides are 2, 4, 8, 16, 32.
    """
    net.convolutional(32, 3)
    ends = []
    for filters, blocks in STAGES:
        end = net.convolutional(filters, 3, stride=2)
        for _ in range(blocks):
            end = residual_block(net, end, filters)
        ends.append(end)
    return ends


def residual_block(net: CfgWriter, entry: int, filters: int) -> int:
    """Squeeze to half the filters, expand again, add what came in."""
    net.convolutional(filters // 2, 1)
    net.convolutional(filters, 3)
    return net.shortcut(entry)


def darknet53() -> Cfg:
    """The ImageNet classifier at 256x256: 41.6 million parameters, 18.57 BFLOPs."""
    return _classifier("darknet53", size=256)


def darknet53_448() -> Cfg:
    """The same classifier at 448x448."""
    return _classifier("darknet53_448", size=448)


def _classifier(name: str, *, size: int) -> Cfg:
    net = CfgWriter(name, size=size)
    backbone(net)
    net.avgpool()
    net.prediction(1000)
    net.softmax()
    return net.cfg()
