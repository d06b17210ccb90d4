"""The layers of a Darknet network: one frozen class a section kind, every default resolved."""

from edgeyolo.darknet.layers.base import Activation, Layer, Parameter, Shape
from edgeyolo.darknet.layers.heads import AnchorHead, Detection, GaussianYolo, Region, Yolo
from edgeyolo.darknet.layers.joining import Route, Sam, ScaleChannels, Shortcut
from edgeyolo.darknet.layers.pointwise import ActivationOnly, Cost, Dropout, L2Norm, Softmax
from edgeyolo.darknet.layers.spatial import AvgPool, Crop, LocalAvgPool, MaxPool, Reorg, Reorg3d, Upsample
from edgeyolo.darknet.layers.weighted import BatchNorm, Connected, Convolutional, Deconvolutional

__all__ = [
    "Activation",
    "ActivationOnly",
    "AnchorHead",
    "AvgPool",
    "BatchNorm",
    "Connected",
    "Convolutional",
    "Cost",
    "Crop",
    "Deconvolutional",
    "Detection",
    "Dropout",
    "GaussianYolo",
    "L2Norm",
    "Layer",
    "LocalAvgPool",
    "MaxPool",
    "Parameter",
    "Region",
    "Reorg",
    "Reorg3d",
    "Route",
    "Sam",
    "ScaleChannels",
    "Shape",
    "Shortcut",
    "Softmax",
    "Upsample",
    "Yolo",
]
