"""Darknet networks in PyTorch: the module, its way back to Darknet's arrays, and a loss to train it with.

Owns what is PyTorch's. Refuses to read or write files: the network comes from EdgeYOLO's own reader. For
developers' tools, see train_demo.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeyolo.darknet.layers import Activation, Convolutional, MaxPool, Route, Shortcut, Upsample, Yolo
from edgeyolo.darknet.network import Network, Parameters

BN_EPS = 1e-5
MIN_ANCHOR_IOU = 0.4  # an anchor that fits a truth this well answers for it, beside the best one
IGNORE_IOU = 0.6  # a prediction that overlaps a truth this much is no mistake


class Darknet(nn.Module):
    """The layers of a `Network` as a module; gives the raw output of each YOLO head, in cfg order."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.blocks = nn.ModuleDict(
            {str(layer.index): _block(layer) for layer in network.layers if isinstance(layer, Convolutional)}
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        done: dict[int, Tensor] = {-1: images}
        heads = []
        for layer in self.network.layers:
            x = [done[index] for index in layer.inputs]
            if isinstance(layer, Convolutional):
                out = self.blocks[str(layer.index)](x[0])
            elif isinstance(layer, Shortcut):
                out = x[0] + x[1]
            elif isinstance(layer, Route):
                out = torch.cat(x, 1)
            elif isinstance(layer, Upsample):
                out = functional.interpolate(x[0], scale_factor=layer.stride, mode="nearest")
            elif isinstance(layer, MaxPool):
                out = functional.max_pool2d(x[0], layer.size_wh[0], layer.stride_wh[0], layer.pad_begin_wh[0])
            elif isinstance(layer, Yolo):
                out = x[0]
                heads.append(out)
            else:
                raise NotImplementedError(f"{layer.name}: the demo model has no such layer")
            done[layer.index] = out
        return heads

    def parameters_by_layer(self) -> Parameters:
        """Give Darknet's arrays.

        Darknet divides by ``sqrt(variance) + 1e-6``, PyTorch by ``sqrt(variance + eps)``: the variance that
        is written makes the two the same number.
        """
        found = {}
        for key, block in self.blocks.items():
            conv = block[0]
            if len(block) == 1:
                arrays = {"biases": conv.bias, "weights": conv.weight}
            else:
                norm = block[1]
                variance = ((norm.running_var.double() + BN_EPS).sqrt() - 1e-6) ** 2
                arrays = {
                    "biases": norm.bias,
                    "scales": norm.weight,
                    "rolling_mean": norm.running_mean,
                    "rolling_variance": variance,
                    "weights": conv.weight,
                }
            found[int(key)] = {k: v.detach().float().contiguous().numpy() for k, v in arrays.items()}
        return found


def _block(layer: Convolutional) -> nn.Sequential:
    stride, pad, bias = layer.stride_wh[0], layer.pad_wh[0], not layer.batch_normalize
    conv = nn.Conv2d(layer.in_shape.c, layer.filters, layer.size, stride, pad, bias=bias)
    if not layer.batch_normalize:
        return nn.Sequential(conv)
    parts = [conv, nn.BatchNorm2d(layer.filters, eps=BN_EPS)]
    if layer.activation is Activation.LEAKY:
        parts.append(nn.LeakyReLU(0.1))
    return nn.Sequential(*parts)


def decode(raw: Tensor, head: Yolo) -> tuple[Tensor, Tensor, Tensor]:
    """Give boxes (``xyxy_net``), objectness logits and class logits, each ``(B, A, h, w, ...)``."""
    batch, _, height, width = raw.shape
    raw = raw.view(batch, len(head.anchors_wh), 5 + head.classes, height, width).permute(0, 1, 3, 4, 2)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grow = head.scale_x_y
    offset = raw[..., :2].sigmoid() * grow - (grow - 1) / 2
    centre = (offset + torch.stack([x, y], -1)) * torch.tensor(head.stride_wh)
    anchors = torch.tensor(head.anchors_wh).view(1, -1, 1, 1, 2)
    half = raw[..., 2:4].clamp(max=6).exp() * anchors / 2
    return torch.cat([centre - half, centre + half], -1), raw[..., 4], raw[..., 5:]


def iou(a: Tensor, b: Tensor, *, complete: bool = False) -> Tensor:
    """Give the IoU of boxes that broadcast, or CIoU (Zheng et al. 2020, arXiv:2005.03572, section 3)."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    a_wh, b_wh = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    overlap = shared / (a_wh.prod(-1) + b_wh.prod(-1) - shared + 1e-7)
    if not complete:
        return overlap
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) ** 2).sum(-1) / 4
    shape = 4 / math.pi**2 * (_slope(b_wh) - _slope(a_wh)) ** 2
    with torch.no_grad():
        weight = shape / (1 - overlap + shape + 1e-7)
    return overlap - apart / ((hull**2).sum(-1) + 1e-7) - weight * shape


def _slope(wh: Tensor) -> Tensor:
    return torch.atan(wh[..., 0] / (wh[..., 1] + 1e-7))


def loss(outputs: list[Tensor], heads: list[Yolo], truth: Tensor) -> Tensor:
    """Sum box, objectness and class loss over the heads, a positive."""
    chosen = _choose_anchors(heads, truth)
    total = outputs[0].new_zeros(())
    positives = 0
    for raw, head, pick in zip(outputs, heads, chosen, strict=True):
        boxes, objectness, classes = decode(raw, head)
        target, counted = torch.zeros_like(objectness), torch.ones_like(objectness)
        with torch.no_grad():
            counted[_near_truth(boxes, truth)] = 0
        row, anchor = pick.nonzero(as_tuple=True)
        wanted = truth[row, 2:]
        cell = ((wanted[:, :2] + wanted[:, 2:]) / 2 / torch.tensor(head.stride_wh)).long()
        x, y = cell[:, 0].clamp(0, raw.shape[3] - 1), cell[:, 1].clamp(0, raw.shape[2] - 1)
        place = truth[row, 0].long(), anchor, y, x
        overlap = iou(boxes[place], wanted, complete=True)
        target[place] = 0.4 + 0.6 * overlap.detach().clamp(0, 1)
        counted[place] = 1
        one_hot = functional.one_hot(truth[row, 1].long(), head.classes).float()
        total = total + 3 * (1 - overlap).sum() + _bce(classes[place], one_hot).sum()
        total = total + (_bce(objectness, target) * counted).sum()
        positives += len(row)
    return total / max(positives, 1)


def _bce(logits: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _choose_anchors(heads: list[Yolo], truth: Tensor) -> list[Tensor]:
    """Say which anchors answer for which truth, ``(T, A)`` a head: the best and all of about its size."""
    anchors = torch.tensor([wh for head in heads for wh in head.anchors_wh])
    wh = truth[:, None, 4:] - truth[:, None, 2:4]
    shared = torch.minimum(wh, anchors).prod(-1)
    overlap = shared / (wh.prod(-1) + anchors.prod(-1) - shared)
    pick = overlap > MIN_ANCHOR_IOU
    pick[torch.arange(len(truth)), overlap.argmax(1)] = True
    return list(pick.split([len(head.anchors_wh) for head in heads], 1))


def _near_truth(boxes: Tensor, truth: Tensor) -> Tensor:
    """Mark predictions that overlap some truth: no positives, but no mistakes either."""
    near = torch.zeros(boxes.shape[:-1], dtype=torch.bool)
    for number in range(len(boxes)):
        mine = truth[truth[:, 0] == number, 2:]
        if len(mine):
            near[number] = (iou(boxes[number].unsqueeze(-2), mine) > IGNORE_IOU).any(-1)
    return near
