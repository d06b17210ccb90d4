"""The annotated recording of a source without end, or in segments: playable at any moment.

Owns the thread that encodes, when a segment ends, and what happens when the disk is full. A recording has
its final name from its first frame on, because nobody knows which frame is its last: whatever ends the
process, the file plays. (The whole of a source that ends is `edgeyolo.show.video`'s.)

Frames come when they come, so each has its own time: a recording lasts as long as what it shows did.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeyolo.errors import OutputError
from edgeyolo.frames import Result
from edgeyolo.show.mp4 import Mp4Writer, count_frames, fitted
from edgeyolo.show.outbox import Outbox
from edgeyolo.show.segments import Segments, place_stamp, wall_stamp
from edgeyolo.show.video_encoder import best_encoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["RecorderSink"]

_log = logging.getLogger(__name__)

_USUAL_FPS = 30.0
# Frames that wait for the encoder: a third of a second at the usual rate, 60 MB at 1080p.
_WAITING = 10
_DRAIN_S = 30.0
_CLOSE_S = 0.8  # with the other sinks, a run ends within 2 s of a signal
_TRY_AGAIN_AFTER_S = 10.0
_CHECK_SIZE_EVERY_S = 1.0
# Recording starts again when a minute or so fits.
_ROOM_BYTES = 64 << 20


class _Picture(NamedTuple):
    bgr: npt.NDArray[np.uint8]
    at_s: float
    stamp: str

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.bgr.shape[1], self.bgr.shape[0]


@dataclass
class _Piece:
    """The file that is being written; `given` counts its pictures."""

    path: Path
    writer: Mp4Writer
    size_wh: tuple[int, int]
    began_s: float
    given: int = 0


class RecorderSink:
    """A `edgeyolo.frames.Sink` that records annotated frames as they come, on a thread of its own.

    A live source never waits for it: a frame that finds the encoder behind is not recorded, and counted. A
    file waits, and loses nothing.

    When nothing can be written (the disk is full) the recording ends as it is, and says so once. The frames
    of a live source pass by, counted, until there is room for another file; of a file source it is an error.

    Args:
        path: ``out.mp4``; with segments, and after a full disk, ``out-20261129T081500Z.mp4`` (UTC, when the
            first frame was captured), or ``out-00h10m00s.mp4`` of a file.
        live: Whether the source is live: frames have their capture times; else places on their time line.
        fps: Usual frames a second.
        segment_s: Seconds of a segment; None for one file.
        max_bytes: Most bytes of all segments, those of earlier runs too; the oldest are deleted.
        hurry: Whether the run must end now; until then `close` waits for the encoder.

    Raises:
        MissingDependencyError: Nothing here encodes H.264.
    """

    wants_picture = True

    def __init__(
        self,
        path: Path | str,
        *,
        live: bool,
        fps: float | None = None,
        segment_s: float | None = None,
        max_bytes: int | None = None,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        self._path = Path(path)
        self._live = live
        self._hurry = hurry
        self._fps = fps or _USUAL_FPS
        self._segment_s = segment_s
        self._segments = None if segment_s is None else Segments(self._path, max_bytes=max_bytes)
        self._encoder = best_encoder()
        self._piece: _Piece | None = None
        self._checked_s = self._try_again_s = 0.0
        self._stopped = self._again = self._told_behind = False
        self._missed = 0
        self._outbox = Outbox(
            self._record, name="record", size=_WAITING, when_full="drop_new" if live else "wait"
        )

    @property
    def dropped(self) -> int:
        """Frames that are not recorded: the encoder was behind, or the disk full."""
        return self._outbox.dropped + self._missed

    @property
    def notes(self) -> tuple[str, ...]:
        """Which encoder was taken, why, and how many frames it missed."""
        missing = f"; {self.dropped} frames are not in it" if self.dropped else ""
        return (f"{self._path}: {self._encoder.note}{missing}",)

    def write(self, result: Result) -> None:
        """Leave a frame to be recorded.

        Raises:
            OutputError: A file source's frames cannot be written.
        """
        assert result.picture_bgr is not None, "a sink that wants pictures was given none"
        frame = result.frame
        if self._live:
            ago_s = time.monotonic() - frame.captured_at_s
            picture = _Picture(result.picture_bgr, frame.captured_at_s, wall_stamp(time.time() - ago_s))
        else:
            picture = _Picture(result.picture_bgr, frame.time_s, place_stamp(frame.time_s))
        self._outbox.put(picture)
        if self._outbox.dropped and not self._told_behind:
            self._told_behind = True
            _log.warning("%s: the encoder is behind; frames are left out, and counted", self._path)

    def close(self) -> None:
        """Record what waits and finish the file; twice is harmless.

        Raises:
            OutputError: A file source's frames cannot be written.
        """
        if self._outbox.closing:
            return
        if self._live:
            self._outbox.drain(self._hurry, _DRAIN_S)
        if not self._outbox.close(_CLOSE_S if self._live else None):
            _log.warning("%s: the encoder did not finish in time", self._path)
            return  # the file plays as it is
        try:
            self._end_piece()
        except OSError as exc:
            self._failed(exc)

    def _record(self, picture: _Picture) -> None:
        if self._waits_for_room():
            self._missed += 1
            return
        try:
            piece = self._piece_for(picture)
            piece.writer.write(fitted(picture.bgr, piece.size_wh), picture.at_s - piece.began_s)
            piece.given += 1
        except OSError as exc:
            self._missed += 1
            self._failed(exc)

    def _piece_for(self, picture: _Picture) -> _Piece:
        if self._piece is None or self._is_over(self._piece, picture):
            self._end_piece()
            self._piece = self._begin_piece(picture)
        return self._piece

    def _is_over(self, piece: _Piece, picture: _Picture) -> bool:
        """Tell whether a picture belongs into the next file."""
        if self._segments is None or self._segment_s is None:
            return False
        if picture.at_s - self._checked_s >= _CHECK_SIZE_EVERY_S:
            self._checked_s = picture.at_s
            self._segments.keep_within()
        # A camera that comes back with another size gets a file of that size.
        return picture.size_wh != piece.size_wh or picture.at_s - piece.began_s >= self._segment_s

    def _begin_piece(self, picture: _Picture) -> _Piece:
        path = self._path_for(picture.stamp)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            writer = self._encoder.open(path, picture.size_wh, fps=self._fps, recording=True)
        except OSError:
            _remove_empty(path)
            raise
        self._checked_s = picture.at_s
        if self._stopped:
            self._stopped = False
            _log.warning("%s: recorded again; %d frames are missing", path, self._missed)
        self._again = True
        return _Piece(path, writer, picture.size_wh, picture.at_s)

    def _path_for(self, stamp: str) -> Path:
        if self._segments is not None:
            return self._segments.begin(stamp)
        return self._path.with_stem(f"{self._path.stem}-{stamp}") if self._again else self._path

    def _end_piece(self) -> None:
        if self._piece is not None:
            self._piece.writer.close()
            self._piece = None
            if self._segments is not None:
                self._segments.keep_within()

    def _failed(self, exc: OSError) -> None:
        """Leave the file as it is: what is in it plays. Say so once, or end a run that can wait."""
        piece, self._piece = self._piece, None
        if piece is not None:
            with suppress(OSError):
                piece.writer.close()
            # What the encoder and the last fragment held is lost, too.
            self._missed += piece.given - count_frames(piece.path)
            _remove_empty(piece.path)
        error = OutputError(
            f"cannot write {exc.filename or self._path}: {exc.strerror or exc}",
            hint="free space, or choose another --save",
        )
        if not self._live:
            raise error from exc
        if not self._stopped:
            self._stopped = True
            _log.warning("%s; recording stops there and is tried again, detection goes on", error)
        self._try_again_s = time.monotonic() + _TRY_AGAIN_AFTER_S

    def _waits_for_room(self) -> bool:
        if not self._stopped:
            return False
        if time.monotonic() < self._try_again_s:
            return True
        self._try_again_s = time.monotonic() + _TRY_AGAIN_AFTER_S
        try:
            return shutil.disk_usage(self._path.parent).free < _ROOM_BYTES
        except OSError:
            return True


def _remove_empty(path: Path) -> None:
    with suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()
