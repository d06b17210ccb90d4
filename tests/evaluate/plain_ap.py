"""COCO's average precision written out for reading: the reference of the tests.

Source: the text of cocodataset.org/#detection-eval and Lin et al., "Microsoft COCO", arXiv:1405.0312.
"""

from __future__ import annotations

LIMITS = [0.5 + 0.05 * i for i in range(10)]


def iou(a: tuple, b: tuple, *, crowd: bool) -> float:
    """xywh; inside a crowd only the found box's own area counts as the union."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / (a[2] * a[3] if crowd else a[2] * a[3] + b[2] * b[3] - both)


def judge(found: list, truth: list, limit: float) -> list[bool | None]:
    """Say of each found box of one picture, best first: right, wrong, or None where it does not count."""
    taken: set[int] = set()
    verdicts: list[bool | None] = []
    for box, _ in found:
        best, best_iou = None, min(limit, 1 - 1e-10)
        for crowd_round in (False, True):  # real objects first; crowds take what is left, many times
            for index, (true_box, crowd) in enumerate(truth):
                if crowd != crowd_round or index in taken:
                    continue
                overlap = iou(box, true_box, crowd=crowd)
                if overlap >= best_iou:
                    best, best_iou = index, overlap
            if best is not None:
                break
        if best is None:
            verdicts.append(False)
        elif truth[best][1]:
            verdicts.append(None)
        else:
            taken.add(best)
            verdicts.append(True)
    return verdicts


def average_precision(pictures: list[tuple[list, list]], limit: float) -> float | None:
    """Of one category; a picture is (found [(xywh, score)], truth [(xywh, crowd)]). None: nothing to find."""
    total = sum(not crowd for _, truth in pictures for _, crowd in truth)
    if not total:
        return None
    rows = []
    for number, (found, truth) in enumerate(pictures):
        best_first = sorted(found, key=lambda entry: -entry[1])[:100]
        verdicts = judge(best_first, truth, limit)
        rows += [
            (-score, number, v) for (_, score), v in zip(best_first, verdicts, strict=True) if v is not None
        ]
    rows.sort(key=lambda row: row[:2])
    right, curve = 0, []
    for count, (_, _, verdict) in enumerate(rows, 1):
        right += verdict
        curve.append((right / total, right / count))
    # At each of 101 recalls the best precision that is reached at this recall or beyond. The products are
    # COCO's own recalls: 70 * 0.01 is a little more than 0.7.
    return sum(max([p for r, p in curve if r >= i * 0.01], default=0) for i in range(101)) / 101
