"""Agreement by hand, and pseudo-mAP against the package that evaluates COCO."""

import math

import numpy as np
import pytest

from edgeyolo.detections import Detections
from edgeyolo.errors import EvaluationError
from edgeyolo.evaluate.compare import Pair, above, compare, match_detections, pseudo_map
from edgeyolo.evaluate.side_by_side import side_by_side


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """Rows of x0 y0 x1 y1 score class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


A = (0, 0, 10, 10)
B = (100, 0, 110, 10)
NEAR_A = (0, 0, 10, 8)  # IoU 0.8
FAR_A = (0, 0, 10, 4)  # IoU 0.4


@pytest.mark.parametrize(
    ("reference", "candidate", "matched", "lost", "invented"),
    [
        ([(*A, 0.9, 0)], [(*A, 0.9, 0)], 1, 0, 0),
        ([(*A, 0.9, 0)], [(*NEAR_A, 0.8, 0)], 1, 0, 0),
        ([(*A, 0.9, 0)], [(*FAR_A, 0.9, 0)], 0, 1, 1),
        ([(*A, 0.9, 0)], [(*A, 0.9, 1)], 0, 1, 1),  # another class
        ([(*A, 0.9, 0)], [(*A, 0.2, 0)], 0, 1, 0),  # below the threshold
        ([(*A, 0.9, 0)], [(*A, 0.9, 0), (*NEAR_A, 0.8, 0)], 1, 0, 1),  # one partner each
        ([(*A, 0.9, 0), (*B, 0.9, 0)], [(*B, 0.9, 0), (*A, 0.9, 0)], 2, 0, 0),
        ([], [(*A, 0.9, 0)], 0, 0, 1),
        ([(*A, 0.9, 0)], [], 0, 1, 0),
        ([], [], 0, 0, 0),
    ],
)
def test_matching_by_hand(reference: list, candidate: list, matched: int, lost: int, invented: int) -> None:
    figures = compare([Pair("x", found(*reference), found(*candidate))])
    assert (figures.matched, figures.lost, figures.invented) == (matched, lost, invented)
    total = 2 * matched + lost + invented
    assert figures.agreement == (2 * matched / total if total else 1.0)


def test_the_closest_pair_is_taken_first() -> None:
    # All four pairs overlap enough, and taken in order they would go crosswise at 0.8 each; closest first
    # gives each box its exact partner.
    a = found((*A, 0.9, 0), (*NEAR_A, 0.8, 0))
    b = found((*NEAR_A, 0.9, 0), (*A, 0.8, 0))
    rows, columns, iou = match_detections(a, b)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert iou.tolist() == [1.0, 1.0]


def test_figures_by_hand() -> None:
    pairs = [
        Pair("same", found((*A, 0.9, 0)), found((*A, 0.9, 0))),
        Pair("shy", found((*A, 0.9, 0), (*B, 0.6, 1)), found((*NEAR_A, 0.7, 0), (*B, 0.5, 1))),
        Pair("lost", found((*B, 0.9, 1)), found()),
    ]
    figures = compare(pairs)
    assert figures.pictures == 3
    assert figures.agreement == pytest.approx(6 / 7)
    assert figures.mean_iou == pytest.approx((1 + 0.8 + 1) / 3)
    assert figures.score_bias == pytest.approx(-0.1, abs=1e-6)
    assert figures.score_drift == pytest.approx(0.1, abs=1e-6)
    assert [picture.name for picture in figures.worst] == ["lost", "shy"]
    assert figures.worst[1].drift == pytest.approx(0.2, abs=1e-6)


def test_nothing_to_compare_is_said_and_an_empty_truth_has_no_map() -> None:
    with pytest.raises(EvaluationError, match="no picture"):
        compare([])
    figures = compare([Pair("x", found(), found())])
    assert (figures.agreement, figures.worst) == (1.0, ())
    assert math.isnan(figures.pseudo_map)


def random_pairs(seed: int) -> list[Pair]:
    """A reference, and a candidate that shakes, loses, doubles and invents boxes."""
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> list[tuple[float, ...]]:
        corner = rng.uniform(0, 80, (count, 2))
        size = rng.uniform(5, 40, (count, 2))
        rest = [rng.uniform(0.05, 1, (count, 1)), rng.integers(0, 3, (count, 1))]
        return [tuple(row) for row in np.concatenate([corner, corner + size, *rest], axis=1)]

    pairs = []
    for n in range(12):
        truth = boxes(int(rng.integers(0, 7)))
        shaken = [
            (
                *(np.array(row[:4]) + rng.normal(0, 1.5, 4)),
                float(np.clip(row[4] + rng.normal(0, 0.1), 0.01, 1)),
                row[5],
            )
            for row in truth
            if rng.random() < 0.85
        ]
        pairs.append(Pair(str(n), found(*truth), found(*shaken, *boxes(int(rng.integers(0, 3))))))
    return pairs


@pytest.mark.needs("eval")
@pytest.mark.parametrize("seed", range(6))
def test_pseudo_map_is_what_coco_computes(seed: int) -> None:
    from edgeyolo.evaluate.annotations import TrueBox
    from edgeyolo.evaluate.average_precision import AveragePrecision, FoundBox, average_precision

    pairs = random_pairs(seed)

    def xywh(row: np.ndarray) -> tuple[float, float, float, float]:
        x0, y0, x1, y1 = row.tolist()
        return x0, y0, x1 - x0, y1 - y0

    def rows(detections: Detections) -> list:
        return list(
            zip(detections.xyxy, detections.scores.tolist(), detections.class_ids.tolist(), strict=True)
        )

    truth = [
        TrueBox(image_id=n, category_id=c, xywh=xywh(box), crowd=False)
        for n, pair in enumerate(pairs, 1)
        for box, _, c in rows(above(pair.reference, 0.25))
    ]
    results = [
        FoundBox(image_id=n, category_id=c, xywh=xywh(box), score=score)
        for n, pair in enumerate(pairs, 1)
        for box, score, c in rows(pair.candidate)
    ]
    each = average_precision(range(1, len(pairs) + 1), [0, 1, 2], truth, results)
    wanted = AveragePrecision.mean(each.values())
    ours = pseudo_map(pairs, conf=0.25)
    assert np.mean(list(ours.values())) == pytest.approx(wanted.ap, abs=1e-6)
    assert ours[0.5] == pytest.approx(wanted.ap50, abs=1e-6)
    assert 0.2 < wanted.ap < 0.98  # the comparison is one of numbers that could differ


@pytest.mark.needs("opencv")
def test_both_halves_show_the_picture_and_their_own_boxes() -> None:
    from edgeyolo.vision.draw import Painter

    image = np.full((60, 80, 3), 200, np.uint8)
    drawn = side_by_side(image, (("a", found((10, 20, 40, 50, 0.9, 0))), ("b", found())), Painter(("car",)))
    line = drawn.shape[0] - 60
    assert drawn.shape == (60 + line, 2 * 80 + 4, 3)
    assert (drawn[line:, 84:] == 200).all()
    assert (drawn[line + 20 : line + 50, 10] != 200).any()
    assert (image == 200).all()
    large = side_by_side(
        np.zeros((3000, 2000, 3), np.uint8), (("a", found()), ("b", found())), Painter(()), max_side=300
    )
    assert max(large.shape) <= 2 * 300 + 4
