"""What a run saw, in a few lines: for a user who asked for no file and no window.

Owns counting by class and the wording. Keeps a few numbers a class, however long the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgeyolo.detections import Classification
from edgeyolo.frames import Result

__all__ = ["SummarySink"]


@dataclass
class _Seen:
    """One class: frames it was in, times it was found, most in one frame, best score."""

    frames: int = 0
    count: int = 0
    most: int = 0
    best: float = 0.0


class SummarySink:
    """A `edgeyolo.frames.Sink` that counts.

    Args:
        names: Class names; the index is the class id.
    """

    wants_picture = False

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._seen: dict[int, _Seen] = {}
        self._classifier = False
        self.frames = 0

    def write(self, result: Result) -> None:
        """Count one result; of a classification its best class only."""
        self.frames += 1
        output = result.output
        self._classifier = isinstance(output, Classification)
        ids, scores = output.class_ids.tolist(), output.scores.tolist()
        if self._classifier:
            ids, scores = ids[:1], scores[:1]
        for class_id in set(ids):
            seen = self._seen.setdefault(class_id, _Seen())
            seen.frames += 1
            seen.count += ids.count(class_id)
            seen.most = max(seen.most, ids.count(class_id))
        for class_id, score in zip(ids, scores, strict=True):
            self._seen[class_id].best = max(self._seen[class_id].best, score)

    def close(self) -> None:
        """Nothing is held."""

    def lines(self) -> Iterator[str]:
        """Give the table, most frequent class first."""
        if not self._seen:
            yield f"nothing found in {self.frames} frame{'s' * (self.frames != 1)}"
            return
        ranked = sorted(self._seen.items(), key=lambda item: (-item[1].count, item[0]))
        wide = max(5, *(len(self._names[class_id]) for class_id, _ in ranked))
        if self._classifier:
            yield f"{'class':<{wide}}  frames  best score"
            for class_id, seen in ranked:
                yield f"{self._names[class_id]:<{wide}}  {seen.frames:6d}  {seen.best:10.2f}"
            return
        yield f"{'class':<{wide}}  found  frames  most at once  best score"
        for class_id, seen in ranked:
            yield (
                f"{self._names[class_id]:<{wide}}  {seen.count:5d}  {seen.frames:6d}  {seen.most:12d}"
                f"  {seen.best:10.2f}"
            )
