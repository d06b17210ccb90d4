"""What ``edgeyolo compare`` does: two engines, one set of pictures, how far they agree.

Owns running both over the pictures and the files for the eye. The figures are `edgeyolo.evaluate.compare`'s.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.calibrate.check import check
from edgeyolo.calibrate.gather import gather
from edgeyolo.calibrate.manifest import Item, Manifest
from edgeyolo.calibrate.pictures import PictureReader, iter_pictures
from edgeyolo.errors import ConfigError, EvaluationError
from edgeyolo.evaluate.compare import Agreement, Pair, above, compare
from edgeyolo.evaluate.side_by_side import side_by_side
from edgeyolo.files import write_bytes
from edgeyolo.optional import require
from edgeyolo.pipeline.open_any import open_any
from edgeyolo.runtime import Detector
from edgeyolo.runtime.detector import CONF, IOU
from edgeyolo.vision.draw import Painter
from edgeyolo.vision.images import is_image_path

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.detections import Detections
    from edgeyolo.runtime.predictor import Predictor

__all__ = ["CompareConfig", "Comparison", "compare_detectors", "compare_engines", "worst_pictures"]

# Far below what a user sees: the pseudo-mAP needs the tail of the precision curve.
FLOOR = 0.01
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """What to compare on what.

    Args:
        reference: Engine that counts as right.
        engine: Engine under test.
        images: A folder, or anything else that ``calibrate`` takes for pictures.
        output: Folder for the worst pictures, drawn side by side; none are written without.
        limit: At most so many pictures, spread over all.
        conf: Boxes above it are what a user sees, 0..1.
        iou: Overlap of two boxes of one object, 0..1.
        min_agreement: Less than this is a failure, 0..1.
    """

    reference: Path
    engine: Path
    images: str
    output: Path | None = None
    limit: int | None = None
    conf: float = CONF
    iou: float = IOU
    min_agreement: float | None = None

    def __post_init__(self) -> None:
        if not FLOOR <= self.conf < 1:
            raise ConfigError(f"--conf: {FLOOR} to 1 expected, {self.conf} found")
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise ConfigError(f"--min-agreement: 0..1 expected, {self.min_agreement} found")


@dataclass(frozen=True)
class Comparison:
    """What ``edgeyolo compare`` found.

    Args:
        config: What was asked for.
        figures: How far the two agree.
        skipped: Pictures that could not be read.
        files: Pictures that were written.
    """

    config: CompareConfig
    figures: Agreement
    skipped: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def passed(self) -> bool:
        """Whether the agreement is what was asked for; nothing asked for is always met."""
        wanted = self.config.min_agreement
        return wanted is None or self.figures.agreement >= wanted

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values; what is not defined is null."""
        figures = dataclasses.asdict(self.figures)
        return {
            "reference": str(self.config.reference),
            "engine": str(self.config.engine),
            "images": self.config.images,
            "agreement": self.figures.agreement,
            "min_agreement": self.config.min_agreement,
            "passed": self.passed,
            **{key: _number(value) for key, value in figures.items()},
            "skipped": list(self.skipped),
            "files": [str(path) for path in self.files],
        }

    def lines(self) -> Iterator[str]:
        """Give the figures as text."""
        found = self.figures
        wanted = self.config.min_agreement
        verdict = "" if wanted is None else f"  ({'at least' if self.passed else 'LESS THAN'} {wanted})"
        yield f"agreement      {found.agreement:.4f}{verdict}"
        yield (
            f"boxes          {found.matched} matched, {found.lost} lost, {found.invented} invented "
            f"(score above {found.conf}, same class, IoU 0.5 or more)"
        )
        yield f"IoU            {found.mean_iou:.4f} mean of matched boxes"
        yield (
            f"score          {found.score_bias:+.4f} bias, {found.score_drift:.4f} mean drift, "
            f"{found.score_drift_p95:.4f} at most for 95 %"
        )
        yield (
            f"pseudo-mAP     {found.pseudo_map:.4f}, {found.pseudo_map50:.4f} at IoU 0.5 "
            "(truth: the reference's boxes)"
        )
        yield f"pictures       {found.pictures}" + (
            f", {len(self.skipped)} unreadable" if self.skipped else ""
        )
        for picture in found.worst:
            yield (
                f"  {picture.name}: {picture.matched} matched, {picture.lost} lost, "
                f"{picture.invented} invented, IoU {picture.iou:.3f}, score drift {picture.drift:.3f}"
            )


def compare_engines(config: CompareConfig, *, progress: Progress | None = None) -> Comparison:
    """Run two engines over one set of pictures.

    Args:
        config: What on what.
        progress: Called with pictures done and pictures to do.

    Raises:
        CalibrationError: There are no pictures.
        EngineError: One of the engines cannot be used.
        EvaluationError: They do not know the same classes.
        OutputError: A picture cannot be written.
    """
    with ExitStack() as stack:
        reference, engine = (
            stack.enter_context(Detector(open_any(path), conf=FLOOR, iou=config.iou))
            for path in (config.reference, config.engine)
        )
        checked = check(gather(config.images), limit=config.limit)
        pairs, figures = compare_detectors(
            reference, engine, checked.manifest, conf=config.conf, progress=progress
        )
    files: tuple[Path, ...] = ()
    if config.output is not None:
        names = (f"reference {config.reference.name}", config.engine.name)
        pictures = worst_pictures(checked.manifest, pairs, figures, captions=names, classes=reference.names)
        files = tuple(_write_jpegs(config.output, pictures))
    skipped = tuple(f.name for f in checked.findings if f.kind in ("missing", "unreadable"))
    return Comparison(config, figures, skipped, files)


def compare_detectors(
    reference: Predictor[Detections],
    candidate: Predictor[Detections],
    manifest: Manifest,
    *,
    conf: float = CONF,
    progress: Progress | None = None,
) -> tuple[tuple[Pair, ...], Agreement]:
    """Run two open detectors over a manifest.

    Args:
        reference: Opened with a threshold far below `conf`.
        candidate: The same.
        manifest: Which pictures.
        conf: Boxes above it are what a user sees.
        progress: Called with pictures done and pictures to do.

    Returns:
        What each said of each picture, and the figures.

    Raises:
        EvaluationError: They do not know the same classes.
    """
    class_of = _class_map(reference.names, candidate.names)
    pairs = []
    for item, image in iter_pictures(manifest):
        theirs = candidate(image)
        theirs = dataclasses.replace(theirs, class_ids=class_of[theirs.class_ids])
        pairs.append(Pair(item.name, reference(image), theirs))
        if progress is not None:
            progress(len(pairs), len(manifest))
    return tuple(pairs), compare(pairs, conf=conf)


def worst_pictures(
    manifest: Manifest,
    pairs: tuple[Pair, ...],
    figures: Agreement,
    *,
    captions: tuple[str, str],
    classes: tuple[str, ...],
    max_side: int = 1280,
) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Draw the pictures that differ most, worst first.

    Args:
        manifest: Where the pictures are.
        pairs: What each engine said.
        figures: Which pictures are the worst.
        captions: What to call the two.
        classes: Class names.
        max_side: Of the picture, pixels.

    Yields:
        The picture's name and the drawing.
    """
    items: Mapping[str, Item] = {item.name: item for item in manifest.items}
    said = {pair.name: pair for pair in pairs}
    painter = Painter(classes)
    with PictureReader(manifest) as reader:
        for picture in figures.worst:
            pair = said[picture.name]
            left, right = above(pair.reference, figures.conf), above(pair.candidate, figures.conf)
            halves = (
                (f"{captions[0]}: {len(left)} boxes", left),
                (f"{captions[1]}: {len(right)} boxes, {picture.matched} matched", right),
            )
            image = reader.read(items[picture.name])
            yield picture.name, side_by_side(image, halves, painter, max_side=max_side)


def _class_map(reference: tuple[str, ...], candidate: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Give the reference's class id of every class of the candidate."""
    if reference == candidate:
        return np.arange(len(reference), dtype=np.int64)
    if {*reference} == {*candidate} and len({*reference}) == len(reference) == len(candidate):
        return np.array([reference.index(name) for name in candidate], np.int64)
    only = sorted({*reference} ^ {*candidate})
    raise EvaluationError(
        f"two engines of the same classes expected, {len(reference)} and {len(candidate)} classes found; "
        f"only one of them has {', '.join(only[:5]) or 'a name once'}",
        hint="compare engines that were built from one model",
    )


def _write_jpegs(folder: Path, pictures: Iterator[tuple[str, npt.NDArray[np.uint8]]]) -> Iterator[Path]:
    cv2 = require("cv2", why="to write pictures")
    for rank, (name, picture) in enumerate(pictures, start=1):
        own = Path(name).with_suffix("").as_posix() if is_image_path(name) else name
        stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in own)
        path = folder / f"{rank:02d}-{stem[-80:]}.jpg"
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
        write_bytes(path, data.tobytes())
        yield path


def _number(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value
