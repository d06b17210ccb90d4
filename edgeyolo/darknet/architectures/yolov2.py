"""Darknet-19, its classifier, YOLOv2 on it, and YOLOv2-tiny.

Owns the first generation with anchors: plain 3x3 and 1x1 convolutions between max pools, one ``[region]``
head.

Source: Redmon and Farhadi 2016, "YOLO9000: Better, Faster, Stronger", table 6 and section 2;
cfg/darknet19.cfg, yolov2.cfg, yolov2-tiny.cfg.
"""

from __future__ import annotations

from edgeyolo.darknet.architectures.writer import CfgWriter
from edgeyolo.darknet.cfg import Cfg

__all__ = ["darknet19", "yolov2", "yolov2_tiny"]

COCO_CLASSES = 80
STAGES = (
    (32,),
    (64,),
    (128, 64, 128),
    (256, 128, 256),
    (512, 256, 512, 256, 512),
    (1024, 512, 1024, 512, 1024),
)
"""Filters of each stage, 3x3 and 1x1 in turn; a max pool halves the picture between two stages."""
# In cells of 32 pixels, clustered on COCO.
ANCHORS = (
    (0.57273, 0.677385),
    (1.87446, 2.06253),
    (3.33843, 5.47434),
    (7.88282, 3.52778),
    (9.77052, 9.16828),
)


def darknet19() -> Cfg:
    """The ImageNet classifier at 256x256: 18 convolutions and the classifier's own."""
    net = CfgWriter("darknet19", size=256)
    _backbone(net)
    net.prediction(1000)
    net.avgpool()
    net.softmax()
    return net.cfg()


def yolov2() -> Cfg:
    """YOLOv2 for COCO at 416x416; the pass-through brings stride 16 to stride 32."""
    net = CfgWriter("yolov2", size=416)
    *_, stride16, _stride32 = _backbone(net)
    net.convolutional(1024, 3)
    deep = net.convolutional(1024, 3)
    net.route(stride16)
    net.convolutional(64, 1)
    net.route(net.reorg(), deep)
    net.convolutional(1024, 3)
    return _with_head(net)


def yolov2_tiny() -> Cfg:
    """YOLOv2-tiny for COCO at 416x416."""
    net = CfgWriter("yolov2-tiny", size=416)
    for filters in (16, 32, 64, 128, 256):
        net.convolutional(filters, 3)
        net.maxpool(2, 2)
    net.convolutional(512, 3)
    net.maxpool(2, 1)
    net.convolutional(1024, 3)
    net.convolutional(512, 3)
    return _with_head(net)


def _backbone(net: CfgWriter) -> list[int]:
    """Add 18 convolutions; give the last of each stage."""
    ends: list[int] = []
    for stage in STAGES:
        if ends:
            net.maxpool(2, 2)
        ends.append([net.convolutional(filters, 1 if i % 2 else 3) for i, filters in enumerate(stage)][-1])
    return ends


def _with_head(net: CfgWriter) -> Cfg:
    net.prediction(len(ANCHORS) * (5 + COCO_CLASSES))
    net.region(ANCHORS, COCO_CLASSES)
    return net.cfg()
