"""Several looks at each picture: as it is, mirrored, and parts of it enlarged.

A few dozen pictures are few to learn from and few to decide by: what INT8 does to a box is half luck, the
luck of how a value fell between two steps. Another look at the same picture is another draw.

Owns the looks, the same for the same pictures. Refuses to know what they are for
(`edgeyolo.calibrate.learn`, `judge`, `auto`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Tensor = npt.NDArray[np.float32]

__all__ = ["EachLook", "Looks", "endless_looks"]

_MOST_ZOOM = 1.6


class Looks(Sequence["Tensor"]):
    """So many looks at a few pictures, made when they are asked for.

    Args:
        pictures: Input tensors of one image each.
        count: Looks in all; the first are the pictures as they are, then come these mirrored, then parts.
    """

    def __init__(self, pictures: Sequence[Tensor], count: int) -> None:
        self._pictures, self._count = pictures, max(count, len(pictures))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        look, place = divmod(index % self._count, len(self._pictures))
        return _look(self._pictures[place], look, np.random.default_rng((look, place)))


class EachLook(Iterable["Tensor"]):
    """Every image so many times, each time in another way, read from the images as it goes.

    Args:
        batches: Input tensors of one image each.
        times: Looks at each; the first is the image as it is.
    """

    def __init__(self, batches: Iterable[Tensor], times: int) -> None:
        self._batches, self._times = batches, times

    def __iter__(self) -> Iterator[Tensor]:
        for place, image in enumerate(self._batches):
            for look in range(self._times):
                yield _look(image, look, np.random.default_rng((look, place)))


def endless_looks(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Give the images again and again, each in another way: half of them mirrored, half enlarged."""
    generator = np.random.default_rng(0)
    for look in itertools.count():
        for index, image in enumerate(batches):
            yield _look(image, look + index, generator)


def _look(image: Tensor, look: int, generator: np.random.Generator) -> Tensor:
    turned = image[..., ::-1] if look % 2 else image
    return _part(turned, generator) if look // 2 % 2 else np.ascontiguousarray(turned)


def _part(image: Tensor, generator: np.random.Generator) -> Tensor:
    """Enlarge a random part of an image to its whole size, up to 1.6 times, by its nearest pixels."""
    places = []
    zoom = generator.uniform(1, _MOST_ZOOM)
    for size in image.shape[2:]:
        kept = int(size / zoom)
        places.append(generator.integers(0, size - kept + 1) + np.arange(size) * kept // size)
    return np.ascontiguousarray(image[:, :, places[0]][..., places[1]])
