"""YOLOv3 on Darknet-53, with spatial pyramid pooling, for Open Images; and YOLOv3-tiny.

Owns the neck and the three heads. Each head looks at one of the backbone's last three stages, the deepest
first; what a head's neck has learnt is upsampled and joined to the next stage.

Source: Redmon and Farhadi 2018, section 2.3; cfg/yolov3.cfg, yolov3-spp.cfg, yolov3-openimages.cfg,
yolov3-tiny.cfg.
"""

from __future__ import annotations

from edgeyolo.darknet.architectures.darknet53 import backbone
from edgeyolo.darknet.architectures.writer import CfgWriter
from edgeyolo.darknet.cfg import Cfg

__all__ = ["pyramid_pool", "yolov3", "yolov3_openimages", "yolov3_spp", "yolov3_tiny"]

COCO_CLASSES = 80
OPEN_IMAGES_CLASSES = 601
ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
TINY_ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))


def yolov3() -> Cfg:
    """YOLOv3 for COCO at 416x416: 65.86 BFLOPs."""
    return _yolov3("yolov3", size=416, classes=COCO_CLASSES)


def yolov3_spp() -> Cfg:
    """YOLOv3 with a pyramid of pools before the first head, for COCO at 608x608."""
    return _yolov3("yolov3-spp", size=608, classes=COCO_CLASSES, pyramid=True)


def yolov3_openimages() -> Cfg:
    """YOLOv3 for the 601 classes of Open Images at 608x608."""
    return _yolov3("yolov3-openimages", size=608, classes=OPEN_IMAGES_CLASSES)


def yolov3_tiny() -> Cfg:
    """YOLOv3-tiny for COCO at 416x416: seven convolutions, two heads."""
    net = CfgWriter("yolov3-tiny", size=416)
    for filters in (16, 32, 64, 128):
        net.convolutional(filters, 3)
        net.maxpool(2, 2)
    middle = net.convolutional(256, 3)
    net.maxpool(2, 2)
    net.convolutional(512, 3)
    net.maxpool(2, 1)
    net.convolutional(1024, 3)
    deep = net.convolutional(256, 1)
    _head(net, 512, TINY_ANCHORS, (3, 4, 5), COCO_CLASSES)
    _join_upsampled(net, deep, 128, middle)
    _head(net, 256, TINY_ANCHORS, (0, 1, 2), COCO_CLASSES)
    return net.cfg()


def pyramid_pool(net: CfgWriter) -> int:
    """Concatenate a layer with its maxima over 5x5, 9x9 and 13x13 pixels, the largest first."""
    entry = net.maxpool(5, 1) - 1
    pools = [entry + 1]
    for size in (9, 13):
        net.route(entry)
        pools.append(net.maxpool(size, 1))
    return net.route(*reversed(pools), entry)


def _yolov3(name: str, *, size: int, classes: int, pyramid: bool = False) -> Cfg:
    net = CfgWriter(name, size=size)
    *_, stride8, stride16, _stride32 = backbone(net)
    end = _neck(net, 512, pyramid=pyramid)
    _head(net, 1024, ANCHORS, (6, 7, 8), classes)
    _join_upsampled(net, end, 256, stride16)
    end = _neck(net, 256)
    _head(net, 512, ANCHORS, (3, 4, 5), classes)
    _join_upsampled(net, end, 128, stride8)
    _neck(net, 128)
    _head(net, 256, ANCHORS, (0, 1, 2), classes)
    return net.cfg()


def _neck(net: CfgWriter, filters: int, *, pyramid: bool = False) -> int:
    """Five convolutions, 1x1 and 3x3 in turn; the last is where the next head branches off."""
    net.convolutional(filters, 1)
    net.convolutional(2 * filters, 3)
    if pyramid:
        net.convolutional(filters, 1)
        pyramid_pool(net)
    net.convolutional(filters, 1)
    net.convolutional(2 * filters, 3)
    return net.convolutional(filters, 1)


def _head(
    net: CfgWriter, filters: int, anchors: tuple[tuple[int, int], ...], mask: tuple[int, ...], classes: int
) -> None:
    net.convolutional(filters, 3)
    net.prediction(len(mask) * (5 + classes))
    net.yolo(anchors, mask, classes)


def _join_upsampled(net: CfgWriter, deep: int, filters: int, shallow: int) -> None:
    """Go on from `deep`, narrowed and upsampled, together with the backbone's `shallow`."""
    net.route(deep)
    net.convolutional(filters, 1)
    net.route(net.upsample(), shallow)
