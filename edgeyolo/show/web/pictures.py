"""The newest picture of each camera, encoded once for everyone who watches it, and not at all for nobody.

    frame loop ──offer──► newest picture ──encoder thread──► newest JPEG ──event loop──► viewers
                          of each camera                     of each camera

Owns who watches what, the encoder's thread, and that nobody waits for anybody: every arrow keeps the newest
only, so that a slow encoder, viewer or network makes its own picture late and nothing else. Refuses to know
how a viewer is reached.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["FULL_WIDTH", "Encoded", "Pictures", "Viewer"]

_log = logging.getLogger(__name__)

FULL_WIDTH = 1 << 16
_WIDTH_STEP = 160
# Pictures sent a second, over all viewers and cameras: detection comes first, whoever looks. Each costs the
# event loop 0.06 ms or so (tools/bench_web.py), and takes the interpreter from the frame loop for as long.
_SENT_PER_S = 300
_STREAM_QUALITY, _SNAPSHOT_QUALITY = 80, 92


@dataclass(frozen=True)
class Encoded:
    """A picture as JPEG.

    Args:
        camera: As `edgeyolo.frames.Frame.camera`.
        frame: As `edgeyolo.frames.Frame.index`.
        unix_s: Wall clock of its capture, seconds since 1970.
        jpeg: The file.
    """

    camera: str
    frame: int
    unix_s: float
    jpeg: bytes
    _forms: dict[Callable[[Encoded], bytes], bytes] = field(default_factory=dict, compare=False, repr=False)

    def once(self, form: Callable[[Encoded], bytes]) -> bytes:
        """Give what a function makes of it, made once for everyone."""
        if form not in self._forms:
            self._forms[form] = form(self)
        return self._forms[form]


@dataclass(frozen=True)
class _Offered:
    camera: str
    frame: int
    unix_s: float
    picture_bgr: npt.NDArray[np.uint8]


class Viewer:
    """Someone who watches cameras; lives in the event loop.

    Args:
        widths: Camera to the width in pixels that is enough.
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        self.widths = dict(widths)
        self._newest: dict[str, Encoded] = {}
        self._news = asyncio.Event()
        self._closed = False

    def put(self, encoded: Encoded) -> None:
        """Replace what it has not taken yet."""
        self._newest[encoded.camera] = encoded
        self._news.set()

    async def take(self) -> list[Encoded]:
        """Wait for pictures; nothing is the end."""
        await self._news.wait()
        if self._closed:
            return []
        self._news.clear()
        taken, self._newest = list(self._newest.values()), {}
        return taken

    def close(self) -> None:
        """End the waiting; twice is harmless."""
        self._closed = True
        self._news.set()


class Pictures:
    """Takes pictures from the frame loop and gives them to viewers.

    Args:
        fps: Pictures a second and camera at most; fewer where many watch.
        publish_in: Runs a function in the viewers' event loop.
    """

    def __init__(self, *, fps: float, publish_in: Callable[[Callable[[], None]], object]) -> None:
        self._cv2 = require("cv2", why="to encode pictures for the web page")
        self._least_interval_s = self._interval_s = 1 / fps
        self._publish_in = publish_in
        self._changed = threading.Condition()
        self._offered: dict[str, _Offered] = {}
        self._due_s: dict[str, float] = {}
        self._stills: dict[str, list[asyncio.Future[bytes]]] = {}
        self._viewers: list[Viewer] = []
        self._wanted: frozenset[str] = frozenset()
        self._newest: dict[str, Encoded] = {}
        self._closed = False
        self.encoded: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._encode_all, name="edgeyolo-web-jpeg", daemon=True)
        self._thread.start()

    # --- the frame loop's side -------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether anyone waits for a picture of any camera, and its turn has come."""
        if not self._wanted:
            return False
        # Without the lock: each look-up is whole by itself, and a late answer costs one picture.
        now = time.monotonic()
        return any(
            camera in self._stills or (camera not in self._offered and self._due_s.get(camera, 0.0) <= now)
            for camera in self._wanted
        )

    def offer(self, camera: str, frame: int, unix_s: float, picture_bgr: npt.NDArray[np.uint8]) -> None:
        """Take a picture that nobody will write to any more; costs nothing where nobody watches."""
        if camera not in self._wanted:
            return
        with self._changed:
            self._offered[camera] = _Offered(camera, frame, unix_s, picture_bgr)
            self._changed.notify()

    def close(self) -> None:
        """End the encoder; twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    # --- the event loop's side -------------------------------------------------------------------------

    def add(self, viewer: Viewer) -> None:
        """Let someone watch; the newest picture that there is comes at once."""
        with self._changed:
            self._viewers.append(viewer)
            self._note_wanted()
        for camera in viewer.widths:
            if camera in self._newest:
                viewer.put(self._newest[camera])

    def remove(self, viewer: Viewer) -> None:
        """Forget someone who has gone."""
        with self._changed:
            self._viewers.remove(viewer)
            self._note_wanted()

    async def still(self, camera: str, *, timeout_s: float) -> bytes:
        """Wait for the next picture of a camera, in full size.

        Raises:
            asyncio.TimeoutError: None came.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._stills.setdefault(camera, []).append(future)
            self._note_wanted()
        try:
            return await asyncio.wait_for(future, timeout_s)
        finally:
            with self._changed:
                waiting = self._stills.get(camera, [])
                if future in waiting:
                    waiting.remove(future)
                if not waiting:
                    self._stills.pop(camera, None)
                self._note_wanted()

    def close_viewers(self) -> None:
        """End every viewer's waiting."""
        for viewer in self._viewers:
            viewer.close()

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    def _note_wanted(self) -> None:
        watched = {camera for viewer in self._viewers for camera in viewer.widths}
        self._wanted = frozenset(watched | self._stills.keys())
        sent = sum(len(viewer.widths) for viewer in self._viewers)
        self._interval_s = max(self._least_interval_s, sent / _SENT_PER_S)
        for camera in self._offered.keys() - self._wanted:
            del self._offered[camera]
        for camera in self._newest.keys() - watched:
            # Whoever comes next must not take an old picture for what the camera sees now.
            del self._newest[camera]

    # --- the encoder's thread ---------------------------------------------------------------------------

    def _encode_all(self) -> None:
        while True:
            with self._changed:
                while (camera := self._next_camera()) is None:
                    if self._closed:
                        return
                    self._changed.wait(self._wait_s())
                offered = self._offered.pop(camera)
                width = max((v.widths[camera] for v in self._viewers if camera in v.widths), default=0)
                stills = self._stills.pop(camera, [])
                self._due_s[camera] = max(self._due_s.get(camera, 0), time.monotonic() - self._interval_s)
                self._due_s[camera] += self._interval_s
            try:
                self._encode(offered, width, stills)
            except self._cv2.error:
                _log.exception("camera %s: a picture could not be encoded for the web page", camera)

    def _next_camera(self) -> str | None:
        """Give the camera whose turn it is; a still does not wait for its turn."""
        if self._closed or not self._offered:
            return None
        now = time.monotonic()
        due_s = {c: 0.0 if c in self._stills else self._due_s.get(c, 0.0) for c in self._offered}
        camera = min(due_s, key=due_s.__getitem__)
        return camera if due_s[camera] <= now else None

    def _wait_s(self) -> float | None:
        due_s = [self._due_s.get(camera, 0.0) for camera in self._offered]
        return max(min(due_s) - time.monotonic(), 0.0) if due_s else None

    def _encode(self, offered: _Offered, width: int, stills: list[asyncio.Future[bytes]]) -> None:
        if stills:
            still = self._jpeg(offered.picture_bgr, _SNAPSHOT_QUALITY)
            self._publish_in(lambda: _resolve(stills, still))
        if width:
            picture = self._narrowed(offered.picture_bgr, width)
            jpeg = self._jpeg(picture, _STREAM_QUALITY)
            self.encoded[offered.camera] += 1
            encoded = Encoded(offered.camera, offered.frame, offered.unix_s, jpeg)
            self._publish_in(lambda: self._publish(encoded))

    def _narrowed(self, picture: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
        # Steps, so that tiles of nearly the same size do not change the size of everyone's picture.
        target = -(-width // _WIDTH_STEP) * _WIDTH_STEP
        rows, columns = picture.shape[:2]
        if target >= columns:
            return picture
        size_wh = target, max(1, round(rows * target / columns))
        narrowed: npt.NDArray[np.uint8] = self._cv2.resize(
            picture, size_wh, interpolation=self._cv2.INTER_AREA
        )
        return narrowed

    def _jpeg(self, picture: npt.NDArray[np.uint8], quality: int) -> bytes:
        _, data = self._cv2.imencode(".jpg", picture, [self._cv2.IMWRITE_JPEG_QUALITY, quality])
        return bytes(data)

    def _publish(self, encoded: Encoded) -> None:
        with self._changed:
            watching = [viewer for viewer in self._viewers if encoded.camera in viewer.widths]
            if watching:
                self._newest[encoded.camera] = encoded
        for viewer in watching:
            viewer.put(encoded)


def _resolve(futures: list[asyncio.Future[bytes]], jpeg: bytes) -> None:
    for future in futures:
        if not future.done():
            future.set_result(jpeg)
