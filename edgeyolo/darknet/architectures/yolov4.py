"""YOLOv4 on CSPDarknet-53, and YOLOv4-tiny.

Owns both backbones, the path aggregation neck and the heads. A cross-stage-partial stage sends half of its
channels past the residual blocks and joins both halves at its end.

Source: Bochkovskiy, Wang and Liao 2020, "YOLOv4: Optimal Speed and Accuracy of Object Detection";
cfg/yolov4.cfg, yolov4-tiny.cfg of AlexeyAB/darknet.
"""

from __future__ import annotations

from edgeyolo.darknet.architectures.writer import CfgWriter
from edgeyolo.darknet.architectures.yolov3 import pyramid_pool
from edgeyolo.darknet.cfg import Cfg

__all__ = ["yolov4", "yolov4_tiny"]

COCO_CLASSES = 80
STAGES = ((128, 2), (256, 8), (512, 8), (1024, 4))
"""Filters and residual blocks of each stage after the first, which has 64 and 1 and keeps its full width."""
ANCHORS = ((12, 16), (19, 36), (40, 28), (36, 75), (76, 55), (72, 146), (142, 110), (192, 243), (459, 401))
TINY_ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))


def yolov4() -> Cfg:
    """YOLOv4 for COCO at 608x608."""
    net = CfgWriter("yolov4", size=608)
    *_, stride8, stride16, _stride32 = _backbone(net)
    p5 = _pyramid_neck(net)
    p4 = _join_upsampled(net, 256, stride16)
    p3 = _join_upsampled(net, 128, stride8)
    _head(net, 256, (0, 1, 2), 1.2)
    _join_downsampled(net, p3, 256, p4)
    p4 = _five(net, 256)
    _head(net, 512, (3, 4, 5), 1.1)
    _join_downsampled(net, p4, 512, p5)
    _five(net, 512)
    _head(net, 1024, (6, 7, 8), 1.05)
    return net.cfg()


def yolov4_tiny() -> Cfg:
    """YOLOv4-tiny for COCO at 416x416."""
    net = CfgWriter("yolov4-tiny", size=416)
    net.convolutional(32, 3, stride=2)
    net.convolutional(64, 3, stride=2)
    for filters in (64, 128, 256):
        middle = _tiny_stage(net, filters)
    net.convolutional(512, 3)
    deep = net.convolutional(256, 1)
    net.convolutional(512, 3)
    _tiny_head(net, (3, 4, 5))
    net.route(deep)
    net.convolutional(128, 1)
    net.route(net.upsample(), middle)
    net.convolutional(256, 3)
    _tiny_head(net, (1, 2, 3))
    return net.cfg()


def _backbone(net: CfgWriter) -> list[int]:
    """Add CSPDarknet-53; give the last layer of each stage."""
    _mish(net, 32, 3)
    return [_csp_stage(net, 64, 64, 32, 1)] + [
        _csp_stage(net, filters, filters // 2, filters // 2, blocks) for filters, blocks in STAGES
    ]


def _csp_stage(net: CfgWriter, filters: int, half: int, squeezed: int, blocks: int) -> int:
    """Halve the picture; split; residual blocks on one part; join."""
    entry = _mish(net, filters, 3, stride=2)
    past = _mish(net, half, 1)
    net.route(entry)
    end = _mish(net, half, 1)
    for _ in range(blocks):
        _mish(net, squeezed, 1)
        _mish(net, half, 3)
        end = net.shortcut(end)
    net.route(_mish(net, half, 1), past)
    return _mish(net, filters, 1)


def _mish(net: CfgWriter, filters: int, size: int, *, stride: int = 1) -> int:
    return net.convolutional(filters, size, stride=stride, activation="mish")


def _pyramid_neck(net: CfgWriter) -> int:
    """Three convolutions, the pyramid of pools, three convolutions."""
    _three(net)
    pyramid_pool(net)
    return _three(net)


def _three(net: CfgWriter) -> int:
    net.convolutional(512, 1)
    net.convolutional(1024, 3)
    return net.convolutional(512, 1)


def _join_upsampled(net: CfgWriter, filters: int, shallow: int) -> int:
    """Narrow and upsample the previous layer, join it to `shallow`, five convolutions."""
    net.convolutional(filters, 1)
    upsampled = net.upsample()
    net.route(shallow)
    net.route(net.convolutional(filters, 1), upsampled)
    return _five(net, filters)


def _join_downsampled(net: CfgWriter, shallow: int, filters: int, deep: int) -> None:
    """Go on from `shallow` at half its size, together with `deep`."""
    net.route(shallow)
    net.route(net.convolutional(filters, 3, stride=2), deep)


def _five(net: CfgWriter, filters: int) -> int:
    """Five convolutions, 1x1 and 3x3 in turn."""
    for _ in range(2):
        net.convolutional(filters, 1)
        net.convolutional(2 * filters, 3)
    return net.convolutional(filters, 1)


def _head(net: CfgWriter, filters: int, mask: tuple[int, ...], scale_x_y: float) -> None:
    net.convolutional(filters, 3)
    net.prediction(len(mask) * (5 + COCO_CLASSES))
    net.yolo(ANCHORS, mask, COCO_CLASSES, scale_x_y=scale_x_y)


def _tiny_stage(net: CfgWriter, filters: int) -> int:
    """Work on the second half of the channels, join, halve the picture; give the layer before the joining."""
    entry = net.convolutional(filters, 3)
    net.second_half(entry)
    first = net.convolutional(filters // 2, 3)
    net.route(net.convolutional(filters // 2, 3), first)
    end = net.convolutional(filters, 1)
    net.route(entry, end)
    net.maxpool(2, 2)
    return end


def _tiny_head(net: CfgWriter, mask: tuple[int, ...]) -> None:
    net.prediction(len(mask) * (5 + COCO_CLASSES))
    net.yolo(TINY_ANCHORS, mask, COCO_CLASSES, scale_x_y=1.05)
