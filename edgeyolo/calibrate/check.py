"""Are these good calibration pictures? Asked before the work, answered with numbers.

Owns the judgement on pictures (unreadable, copies, near copies, dark, flat, blurred), on their number, and
on how much scales still move as pictures are added. Refuses to change a picture: what cannot be read or is
a copy is left out, everything else is kept and told, because nights and fog are what some cameras see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.calibrate.gather import Finding, Gathered
from edgeyolo.calibrate.manifest import Item, Manifest
from edgeyolo.calibrate.pictures import PictureReader
from edgeyolo.errors import CalibrationError, EmptyManifestError, SourceError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Checked", "Movement", "advice_on_count", "check", "movement"]

# Judged on the grey picture with its long side at most 512. On 494 COCO photographs the least mean is 25,
# the least deviation 17 and the least sharpness 0.027; blurred by a Gaussian of 2 pixels at 640 pixels the
# median sharpness is 0.005.
_LONG_SIDE = 512
DARK_MEAN = 16.0
FLAT_DEVIATION = 4.0
BLURRED_SHARPNESS = 0.01
# Of 64 bits. No two of the 494 photographs differ by less than 10; 99 of 100 differ from themselves at half
# the size and JPEG quality 50 by 4 or less, shifted by 2 % by 7 or less.
NEAR_BITS = 6

# What each method needs to say anything, and what it wants. Histogram tails are made by rare pictures:
# NVIDIA asks for 500 (ModelOpt's onnx_ptq), NNCF takes 300; 64 COCO pictures came within 1 % of 294 here.
_LEAST = {"auto": 4, "entropy": 1, "mse": 1, "percentile": 1, "minmax": 1}
_WANTED = {"auto": 64, "entropy": 64, "mse": 64, "percentile": 64, "minmax": 32}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Checked:
    """The pictures that calibration will see, and what was found on the way.

    Args:
        manifest: Readable pictures, no copies, at most as many as asked for.
        findings: In the order of discovery.
        considered: How many pictures were there.
        described: Where they came from.
    """

    manifest: Manifest
    findings: tuple[Finding, ...]
    considered: int
    described: str

    def count(self, kind: str) -> int:
        """Give the number of findings of one kind."""
        return sum(finding.kind == kind for finding in self.findings)


@dataclass(frozen=True)
class _Look:
    """What one picture looks like; `bits` is its perceptual hash, shape ``(64,)``, of -1 and 1."""

    mean: float
    deviation: float
    sharpness: float
    bits: npt.NDArray[np.float32]


def check(gathered: Gathered, *, limit: int | None = None, progress: Progress | None = None) -> Checked:
    """Open the pictures and choose those that calibration will see.

    Args:
        gathered: Where they lie.
        limit: How many at most; the choice is `Manifest.subset`'s, with unreadable ones replaced.
        progress: Called with pictures done and pictures to do.

    Raises:
        EmptyManifestError: None can be read.
        CalibrationError: Not one has anything to see in it, or `limit` is less than 1.
    """
    if limit is not None and limit < 1:
        raise CalibrationError(f"--limit: 1 or more expected, {limit} found")
    originals, copies = _without_copies(gathered.manifest)
    looks: dict[Item, _Look] = {}
    unreadable: list[Finding] = []
    waiting = list(originals.ranked())
    wanted = min(limit or len(waiting), len(waiting))
    while waiting and len(looks) < wanted:
        batch, waiting = waiting[: wanted - len(looks)], waiting[wanted - len(looks) :]
        for item, look in _looked(originals, sorted(batch)):
            if isinstance(look, Finding):
                unreadable.append(look)
            else:
                looks[item] = look
            if progress is not None:
                progress(len(looks), wanted)
    findings = (*gathered.findings, *copies, *unreadable, *_judged(looks), *_near_copies(looks))
    checked = Checked(
        Manifest.of(originals.root, looks), findings, len(gathered.manifest), gathered.described
    )
    _require_content(checked, looks)
    return checked


def advice_on_count(count: int, method: str) -> str | None:
    """Say whether there are too few pictures for a method; None where there are enough.

    Raises:
        CalibrationError: The method cannot work with so few at all.

    Examples:
        >>> advice_on_count(300, "entropy") is None
        True
        >>> advice_on_count(12, "entropy")
        '12 pictures: entropy wants 64 or more (300 are better); scales depend on which 12 these are'
    """
    least, wanted = _LEAST[method], _WANTED[method]
    if count < least:
        raise CalibrationError(
            f"{count} picture{'s' * (count != 1)}: --method {method} holds some back to choose by, so it "
            f"needs {least} or more",
            hint="add pictures, or choose blindly: --method percentile",
        )
    if count >= wanted:
        return None
    return (
        f"{count} picture{'s' * (count != 1)}: {method} wants {wanted} or more (300 are better); "
        f"scales depend on which {count} {'these are' if count != 1 else 'this is'}"
    )


@dataclass(frozen=True)
class Movement:
    """How much amax moved from one sample of pictures to a larger one that contains it.

    Args:
        images_from: Pictures in the smaller sample.
        images_to: Pictures in the larger sample.
        median: Median over tensors of ``|larger / smaller - 1|``.
        p95: 95th percentile over tensors of the same.
        most: The tensor that moved most.
    """

    images_from: int
    images_to: int
    median: float
    p95: float
    most: str

    def __str__(self) -> str:
        return (
            f"from {self.images_from} to {self.images_to} pictures half of the scales moved by less than "
            f"{self.median:.1%}, 95 % by less than {self.p95:.1%}"
        )


def movement(samples: Sequence[tuple[int, Mapping[str, float]]]) -> tuple[Movement, ...]:
    """Tell whether more pictures would still change the scales.

    Args:
        samples: Number of pictures and amax per tensor, for samples that grow and contain each other.

    Returns:
        One step for each pair of neighbours, over the tensors that both have and that are not 0 in the
        smaller.

    Examples:
        >>> print(movement([(32, {"a": 1.0, "b": 2.0}), (64, {"a": 1.1, "b": 2.0})])[0])
        from 32 to 64 pictures half of the scales moved by less than 5.0%, 95 % by less than 9.5%
    """
    return tuple(_moved(small, large) for small, large in pairwise(samples) if small[1])


def _moved(small: tuple[int, Mapping[str, float]], large: tuple[int, Mapping[str, float]]) -> Movement:
    names = [name for name, amax in small[1].items() if amax > 0 and name in large[1]]
    if not names:
        return Movement(small[0], large[0], 0.0, 0.0, "")
    moves = np.array([abs(large[1][name] / small[1][name] - 1) for name in names])
    median, p95 = (float(value) for value in np.percentile(moves, (50, 95)))
    return Movement(small[0], large[0], median, p95, names[int(moves.argmax())])


def _without_copies(manifest: Manifest) -> tuple[Manifest, list[Finding]]:
    first: dict[tuple[str, int], Item] = {}
    copies = []
    for item in manifest.items:
        original = first.setdefault((item.sha256, item.frame), item)
        if original is not item:
            copies.append(Finding("duplicate", item.name, f"a copy of {original.name}"))
    return Manifest.of(manifest.root, first.values()), copies


def _looked(manifest: Manifest, items: Sequence[Item]) -> Iterator[tuple[Item, _Look | Finding]]:
    with PictureReader(manifest) as reader:
        for item in items:
            try:
                image = reader.read(item)
            except SourceError as exc:
                text = exc.message.removeprefix(f"{manifest.root / item.name}: ")
                yield item, Finding("unreadable", item.name, text)
            else:
                yield item, _look(image)


def _look(image_bgr: npt.NDArray[np.uint8]) -> _Look:
    cv2 = require("cv2", why="to look at calibration pictures")
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)
    height, width = grey.shape
    shrink = min(1.0, _LONG_SIDE / max(height, width))
    small_wh = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    grey = cv2.resize(grey, small_wh, interpolation=cv2.INTER_AREA)
    variance = float(grey.var())
    edges = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    # Difference hash: is a cell brighter than its right neighbour?
    cells = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.where(cells[:, 1:] > cells[:, :-1], 1, -1).astype(np.float32).ravel()
    return _Look(float(grey.mean()), variance**0.5, edges / max(variance, 1e-9), bits)


def _judged(looks: Mapping[Item, _Look]) -> Iterator[Finding]:
    for item, look in looks.items():
        if look.deviation < FLAT_DEVIATION:
            yield Finding("flat", item.name, f"one tone (standard deviation {look.deviation:.1f} of 255)")
        elif look.mean < DARK_MEAN:
            yield Finding("dark", item.name, f"mean brightness {look.mean:.0f} of 255")
        elif look.sharpness < BLURRED_SHARPNESS:
            yield Finding("blurred", item.name, f"sharpness {look.sharpness:.4f}, photographs have 0.03 up")


def _near_copies(looks: Mapping[Item, _Look]) -> Iterator[Finding]:
    """Compare each picture's hash with those before it; a group is told by its first picture."""
    items = [item for item, look in looks.items() if look.deviation >= FLAT_DEVIATION]
    if len(items) < 2:
        return
    bits = np.stack([looks[item].bits for item in items])
    for place in range(1, len(items)):
        differing = (64 - bits[:place] @ bits[place]) / 2
        nearest = int(differing.argmin())
        if differing[nearest] <= NEAR_BITS:
            text = f"looks like {items[nearest].name} ({int(differing[nearest])} of 64 bits differ)"
            yield Finding("near_duplicate", items[place].name, text)


def _require_content(checked: Checked, looks: Mapping[Item, _Look]) -> None:
    if not looks:
        first = "".join(f"\n  {finding.name}: {finding.text}" for finding in checked.findings[:5])
        raise EmptyManifestError(
            f"{checked.described}: none of {checked.considered} pictures can be read{first}",
            hint="open one with another program; what that program cannot read is damaged",
        )
    if all(look.deviation < FLAT_DEVIATION for look in looks.values()):
        raise CalibrationError(
            f"{checked.described}: nothing to see in any of {len(looks)} pictures: each is of one tone "
            f"(mean brightness {np.mean([look.mean for look in looks.values()]):.0f} of 255)",
            hint="scales made from them would clip every real picture; take pictures with the lens cap off",
        )
