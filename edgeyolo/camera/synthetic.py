"""The source ``test://``: a synthetic video with ground truth, the same on every machine.

Owns its URI and its time line. What is to be seen is ``edgeyolo.camera.scene``.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from edgeyolo.camera.outlines import NAMES
from edgeyolo.camera.scene import SyntheticScene
from edgeyolo.errors import SourceOpenError
from edgeyolo.frames import Frame

__all__ = ["NAMES", "SyntheticSource"]

_EXAMPLE = "test://?width=640&height=480&fps=30&frames=300&seed=0&objects=8&cut=90&live=1"
_LIMITS = {
    "width": (64, 7680),
    "height": (64, 4320),
    "fps": (1, 1000),
    "frames": (0, 10**9),
    "seed": (0, 2**63 - 1),
    "objects": (0, 200),
    "cut": (0, 10**9),
    "live": (0, 1),
}


@dataclass(frozen=True, kw_only=True)
class SyntheticSource:
    """A `edgeyolo.frames.Source` of synthetic frames, each with its truth; several iterations give the same.

    Args:
        width: Pixels, 64 to 7680. The size of objects follows the height: 12 to 200 px at 480.
        height: Pixels, 64 to 4320.
        fps: Frames a second of the time line, 1 to 1000.
        frames: Number of frames; 0 never ends.
        seed: Of the first scene.
        objects: Number of objects a scene, up to 200; None draws 4 to 12.
        cut: Frames until the next scene, that of the next seed; 0 stays in the first.
        live: Whether it is a camera: a frame comes at its time on the clock, and those that nobody took in
            time are left out. Otherwise frames come as fast as they are taken.

    Raises:
        SourceOpenError: A value is out of its range.

    Examples:
        >>> source = SyntheticSource(width=320, height=240, frames=2, objects=3)
        >>> [(frame.index, round(frame.time_s, 3), frame.image_bgr.shape) for frame in source]
        [(0, 0.0, (240, 320, 3)), (1, 0.033, (240, 320, 3))]
        >>> SyntheticSource.from_uri("test://?seed=7&frames=9").name
        'test://?frames=9&seed=7'
    """

    width: int = 640
    height: int = 480
    fps: float = 30.0
    frames: int = 300
    seed: int = 0
    objects: int | None = None
    cut: int = 0
    live: bool = False
    _closed: threading.Event = dataclasses.field(default_factory=threading.Event, init=False, compare=False)

    def __post_init__(self) -> None:
        for key, (low, high) in _LIMITS.items():
            value = getattr(self, key)
            if value is not None and not low <= value <= high:
                raise SourceOpenError(
                    f"{self.name}: {key} from {low} to {high} expected, {value} found", hint=_EXAMPLE
                )
        object.__setattr__(self, "live", bool(self.live))  # 0 or 1 in a URI

    @classmethod
    def from_uri(cls, uri: str) -> SyntheticSource:
        """Read ``test://?width=640&height=480&...``; every key is an argument of this class.

        Raises:
            SourceOpenError: Another scheme, a path, an unknown or doubled key, a wrong value.
        """
        where, _, query = uri.partition("?")
        scheme, _, path = where.partition(":")
        if scheme.lower() != "test" or path.strip("/"):
            raise SourceOpenError(f"{uri}: test:// or test://?key=value&... expected", hint=_EXAMPLE)
        values: dict[str, int | float] = {}
        for key, text in parse_qsl(query, keep_blank_values=True):
            if key not in _LIMITS:
                near = difflib.get_close_matches(key, _LIMITS, n=1)
                guess = f"; did you mean {near[0]}?" if near else ""
                raise SourceOpenError(f"{uri}: one of {', '.join(_LIMITS)} expected, {key!r} found{guess}")
            if key in values:
                raise SourceOpenError(f"{uri}: {key} is given twice")
            values[key] = _number(uri, key, text)
        return cls(**values)  # type: ignore[arg-type]  # each value has the type of its key: see _number

    @property
    def name(self) -> str:
        """The shortest URI that means this source."""
        given = [
            f"{field.name}={getattr(self, field.name):.12g}"
            if field.name == "fps"
            else f"{field.name}={int(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if field.init and getattr(self, field.name) != field.default
        ]
        return "test://" + ("?" + "&".join(given) if given else "")

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing to tell."""
        return ()

    @property
    def frame_count(self) -> int | None:
        """Number of frames; None where it never ends."""
        return self.frames or None

    def __iter__(self) -> Iterator[Frame]:
        """Draw the frames one by one."""
        self._closed.clear()
        return self._frames()

    def close(self) -> None:
        """End a wait for the next frame; nothing is held open."""
        self._closed.set()

    def _frames(self) -> Iterator[Frame]:
        scenes = functools.lru_cache(maxsize=1)(self._scene)
        start_s = time.monotonic()
        for index in self._due(start_s) if self.live else self._all():
            scene = scenes(index // self.cut if self.cut else 0)
            image, truth = scene.render((index % self.cut if self.cut else index) / self.fps)
            yield Frame(
                image_bgr=image,
                source=self.name,
                index=index,
                time_s=index / self.fps,
                captured_at_s=start_s + index / self.fps if self.live else time.monotonic(),
                truth=truth,
            )

    def _all(self) -> Iterable[int]:
        return range(self.frames) if self.frames else itertools.count()

    def _due(self, start_s: float) -> Iterator[int]:
        """Give the newest frame's number, waiting where it has been given already."""
        index = 0
        while not self._closed.is_set() and (not self.frames or index < self.frames):
            yield index
            now = int((time.monotonic() - start_s) * self.fps)
            index = max(index + 1, now)
            wait_s = start_s + index / self.fps - time.monotonic()
            if wait_s > 0:
                self._closed.wait(wait_s)

    def _scene(self, number: int) -> SyntheticScene:
        return SyntheticScene(self.seed + number, (self.width, self.height), objects=self.objects)


def _number(uri: str, key: str, text: str) -> int | float:
    """Read a value; nothing but digits, and a point where a fraction makes sense."""
    whole = text.isascii() and text.isdigit() and len(text) <= 20
    if key != "fps":
        if whole:
            return int(text)
        raise SourceOpenError(f"{uri}: {key}: a whole number expected, {text!r} found", hint=_EXAMPLE)
    left, _, right = text.partition(".")
    if text.isascii() and left.isdigit() and (right.isdigit() or not right) and len(text) <= 20:
        return float(text)
    raise SourceOpenError(f"{uri}: {key}: a number expected, {text!r} found", hint=_EXAMPLE)
