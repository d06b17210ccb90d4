#!/usr/bin/env python3
"""Train the demo model: edgeyolo/assets/demo.cfg on pictures of the synthetic scene, on a CPU.

    python tools/train_demo.py -o demo.weights --minutes 40

A developer's tool: it needs PyTorch (made with 2.13.0), which EdgeYOLO itself never does. The network is
built from the cfg by EdgeYOLO's own reader, fed by its own preprocessing and saved by its own writer, so that
training and conversion share one truth. The loss is that of later YOLOs (CIoU, objectness that follows the
IoU, every anchor of about the right size takes part) on the decode of plain YOLOv3.
"""

from __future__ import annotations

import argparse
import copy
import math
import multiprocessing
import queue
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from yolo_torch import Darknet, decode, loss

from edgeyolo.camera.scene import render_scene
from edgeyolo.darknet.cfg import read_cfg
from edgeyolo.darknet.layers import Yolo
from edgeyolo.darknet.network import Network, network_from_cfg
from edgeyolo.darknet.weights import write_weights
from edgeyolo.detections import Detections
from edgeyolo.spec import Preprocess
from edgeyolo.vision.boxes import iou_matrix
from edgeyolo.vision.letterbox import Letterbox
from edgeyolo.vision.postprocess import detections_from_outputs
from edgeyolo.vision.preprocess import Preprocessor

SIZES_WH = ((640, 480), (640, 480), (640, 480), (640, 360), (480, 480), (416, 312), (960, 720))
EVALUATION_SEED = 10**9  # training seeds stay below
POOL = 6000


# --- pictures --------------------------------------------------------------------------------------------


class Sample(NamedTuple):
    """A picture as the network sees it, uint8 RGB ``(3, H, W)``, and its boxes, ``class, x0, y0, x1, y1``."""

    image: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]


def make_sample(seed: int, input_wh: tuple[int, int], wh: tuple[int, int] | None = None) -> Sample:
    """Render a scene and lay it into the network input."""
    wh = wh or SIZES_WH[seed % len(SIZES_WH)]
    image, truth = render_scene(seed, wh)
    # Whole numbers 0..255, a quarter of the memory; the padding of 127.5 becomes 127.
    prepare = Preprocessor(Preprocess(scale=1.0), input_wh)
    tensor = np.empty(prepare.shape, np.float32)
    boxes = prepare(image, tensor).to_net(truth.xyxy)
    rows = np.concatenate([truth.class_ids[:, None].astype(np.float32), boxes], 1)
    return Sample(tensor.astype(np.uint8), rows)


def generate(
    first_seed: int, step: int, input_wh: tuple[int, int], out: multiprocessing.Queue[list[Sample]]
) -> None:
    """Fill a queue with new pictures for ever."""
    cv2.setNumThreads(1)
    seed = first_seed
    while True:
        out.put([make_sample(seed + step * i, input_wh) for i in range(16)])
        seed = (seed + 16 * step) % EVALUATION_SEED


def augment(samples: list[Sample], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, swap channels and change the exposure: cheap, and what a class is does not depend on it.

    Returns:
        Images, float32 ``(B, 3, H, W)``, 0..1, and truth, float32 ``(T, 6)``: image, class, x0, y0, x1, y1.
    """
    images, rows = [], []
    for number, (image, boxes) in enumerate(samples):
        height, width = image.shape[1:]
        boxes = boxes.copy()
        if rng.random() < 0.5:
            image = image[:, :, ::-1]
            boxes[:, [1, 3]] = width - boxes[:, [3, 1]]
        if rng.random() < 0.5:
            image = image[:, ::-1]
            boxes[:, [2, 4]] = height - boxes[:, [4, 2]]
        if rng.random() < 0.5:
            image = image[rng.permutation(3)]
        images.append(np.ascontiguousarray(image))
        rows.append(np.concatenate([np.full((len(boxes), 1), number, np.float32), boxes], 1))
    batch = torch.from_numpy(np.stack(images)).float() / 255
    gain = torch.from_numpy(rng.uniform(0.8, 1.2, (len(samples), 1, 1, 1)).astype(np.float32))
    batch = (batch * gain).clamp_(0, 1).contiguous(memory_format=torch.channels_last)
    return batch, torch.from_numpy(np.concatenate(rows))


# --- evaluation ------------------------------------------------------------------------------------------


def average_precision(model: Darknet, heads: list[Yolo], samples: list[Sample]) -> float:
    """Give mAP at IoU 0.5, all points of the curve: a guide while training, not the published number."""
    found: list[list[tuple[float, bool]]] = [[] for _ in range(heads[0].classes)]
    wanted = np.zeros(heads[0].classes)
    for sample in samples:
        detections = _detect(model, heads, sample.image)
        for class_id in range(heads[0].classes):
            mine = detections.class_ids == class_id
            truth = sample.boxes[sample.boxes[:, 0] == class_id, 1:]
            wanted[class_id] += len(truth)
            found[class_id] += _match(detections.xyxy[mine], detections.scores[mine], truth)
    return float(np.mean([_area(hits, count) for hits, count in zip(found, wanted, strict=True) if count]))


@torch.no_grad()
def _detect(model: Darknet, heads: list[Yolo], image: npt.NDArray[np.uint8]) -> Detections:
    model.eval()
    outputs = model(torch.from_numpy(image)[None].float() / 255)
    decoded = [decode(raw, head) for raw, head in zip(outputs, heads, strict=True)]
    boxes = torch.cat([box.reshape(-1, 4) for box, _, _ in decoded])
    scores = torch.cat(
        [(o.sigmoid()[..., None] * c.sigmoid()).reshape(-1, c.shape[-1]) for _, o, c in decoded]
    )
    input_wh = image.shape[2], image.shape[1]
    unmoved = Letterbox.fit(input_wh, input_wh)
    return detections_from_outputs(boxes.numpy(), scores.numpy(), unmoved, conf=0.01, iou=0.45)


def _match(
    xyxy: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], truth: npt.NDArray[np.float32]
) -> list[tuple[float, bool]]:
    """Pair each box, best score first, with the truth that it overlaps most, if that is still free."""
    overlap = iou_matrix(xyxy, truth)
    hits = []
    for row, score in zip(overlap, scores.tolist(), strict=True):
        hit = row.size > 0 and row.max() >= 0.5
        if hit:
            overlap[:, row.argmax()] = 0
        hits.append((score, hit))
    return hits


def _area(hits: list[tuple[float, bool]], wanted: float) -> float:
    good = np.array([hit for _, hit in sorted(hits, reverse=True)], float)
    recall = np.cumsum(good) / wanted
    precision = np.cumsum(good) / (np.arange(len(good)) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


# --- training --------------------------------------------------------------------------------------------


def train(args: argparse.Namespace, network: Network) -> None:
    """Train for some minutes of wall clock; save the best averaged weights as they come."""
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    heads = [layer for layer in network.layers if isinstance(layer, Yolo)]
    input_wh = network.input_shape.w, network.input_shape.h
    model = Darknet(network).to(memory_format=torch.channels_last)
    _start_quiet(model, heads)
    if args.resume:
        model.load_state_dict(torch.load(args.resume))
    averaged = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.02},
            {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ]
    )
    fresh = _start_workers(args, input_wh)
    held_out = [make_sample(EVALUATION_SEED + i, input_wh, (640, 480)) for i in range(200)]
    pool: list[Sample] = []
    while len(pool) < args.batch * 20:
        pool += fresh.get()
    begun, best, step, lost = time.monotonic(), 0.0, 0, 0.0
    while (done := (time.monotonic() - begun) / 60 / args.minutes) < 1:
        _refresh(pool, fresh, rng)
        images, truth = augment([pool[i] for i in rng.integers(len(pool), size=args.batch)], rng)
        rate = args.rate * min(1, (step + 1) / 200) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        model.train()
        value = loss(model(images), heads, truth)
        _descend(value, model, optimiser, rate)
        _average(averaged, model, decay=min(0.998, (step + 1) / (step + 20)))
        step += 1
        lost = value.item() if step == 1 else 0.98 * lost + 0.02 * value.item()
        if step % 50 == 0:
            print(f"{done:6.1%} step {step} loss {lost:.3f} rate {rate:.1e} pool {len(pool)}", flush=True)
        if step % args.every == 0:
            best = _keep(averaged, heads, held_out, best, args.output)
    _keep(averaged, heads, held_out, best, args.output)


def _start_workers(
    args: argparse.Namespace, input_wh: tuple[int, int]
) -> multiprocessing.Queue[list[Sample]]:
    fresh: multiprocessing.Queue[list[Sample]] = multiprocessing.Queue(8)
    for number in range(args.workers):
        call = (args.seed * 10**7 + number, args.workers, input_wh, fresh)
        multiprocessing.Process(target=generate, args=call, daemon=True).start()
    return fresh


def _descend(value: Tensor, model: Darknet, optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    value.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimiser.step()


def _start_quiet(model: Darknet, heads: list[Yolo]) -> None:
    """Start from "nothing here", objectness of one in a hundred: no steps are spent on learning that."""
    for head in heads:
        bias = model.blocks[str(head.inputs[0])][0].bias
        with torch.no_grad():
            bias.view(len(head.anchors_wh), -1)[:, 4] = -4.6


def _refresh(
    pool: list[Sample], fresh: multiprocessing.Queue[list[Sample]], rng: np.random.Generator
) -> None:
    """Take what new pictures there are; old ones go at random once the pool is full."""
    try:
        for sample in fresh.get_nowait():
            if len(pool) < POOL:
                pool.append(sample)
            else:
                pool[rng.integers(POOL)] = sample
    except queue.Empty:
        pass


def _average(averaged: Darknet, model: Darknet, decay: float) -> None:
    with torch.no_grad():
        for mine, theirs in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - decay)


def _keep(averaged: Darknet, heads: list[Yolo], held_out: list[Sample], best: float, output: Path) -> float:
    """Save what is better than all before; give the best score so far."""
    score = average_precision(averaged, heads, held_out)
    print(f"       mAP50 {score:.4f} on {len(held_out)} held-out scenes, best {best:.4f}", flush=True)
    if score <= best:
        return best
    torch.save(averaged.state_dict(), output.with_suffix(".pt"))
    write_weights(output, averaged.network, averaged.parameters_by_layer())
    return score


def main() -> None:
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cfg", type=Path, default=root / "edgeyolo" / "assets" / "demo.cfg")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo.weights"))
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--every", type=int, default=500, help="steps between two evaluations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", type=Path, help="a .pt file of an earlier run")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args, network_from_cfg(read_cfg(args.cfg)))


if __name__ == "__main__":
    main()
