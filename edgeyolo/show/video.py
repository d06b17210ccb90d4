"""The annotated video of a source that ends: an mp4 that appears whole when it is finished.

Owns the file's temporary name and the proof that every frame got into it. A live source has no end to wait
for: `edgeyolo.show.recorder`.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from pathlib import Path

from edgeyolo.errors import OutputError
from edgeyolo.files import whole_file
from edgeyolo.frames import Result
from edgeyolo.show.mp4 import Mp4Writer, count_frames, fitted
from edgeyolo.show.video_encoder import best_encoder

__all__ = ["VideoSink"]

_log = logging.getLogger(__name__)

_DEFAULT_FPS = 25.0


class VideoSink:
    """A `edgeyolo.frames.Sink` that writes annotated frames into an mp4, at a constant rate.

    The file is written under a temporary name and appears when `close` has proved it. The first frame sets
    its size; a later one of another size is scaled into it with black bars, which is said once.

    Args:
        path: The file, ``.mp4``.
        fps: Frames a second; 25 where the source has no rate.

    Raises:
        MissingDependencyError: Nothing here encodes H.264.
    """

    wants_picture = True

    def __init__(self, path: Path | str, *, fps: float | None = None) -> None:
        self._path = Path(path)
        self._fps = fps or _DEFAULT_FPS
        self._encoder = best_encoder()
        self._stack = ExitStack()
        self._file: Mp4Writer | None = None
        self._temporary: Path | None = None
        self._size_wh = (0, 0)
        self._count = 0
        self._said_fitted = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Which encoder was taken, and why."""
        return (f"{self._path}: {self._encoder.note}",)

    def write(self, result: Result) -> None:
        """Encode one frame.

        Raises:
            OutputError: The file cannot be made, or the disk is full.
        """
        assert result.picture_bgr is not None, "a sink that wants pictures was given none"
        picture = result.picture_bgr
        size_wh = (picture.shape[1], picture.shape[0])
        file = self._file or self._begin(size_wh)
        if size_wh != self._size_wh and not self._said_fitted:
            self._said_fitted = True
            _log.warning("%s: frames of another size are scaled into %dx%d", self._path, *self._size_wh)
        try:
            file.write(fitted(picture, self._size_wh), self._count / self._fps)
        except OSError:
            self._file = None
            with self._stack:  # which removes the file, and says so
                with suppress(OSError):
                    file.close()
                raise
        self._count += 1

    def close(self) -> None:
        """Finish the file and give it its name; twice is harmless.

        Raises:
            OutputError: Not every frame is in the file, as when the disk is full; nothing is left behind.
        """
        file, self._file = self._file, None
        if file is None:
            return
        with self._stack:
            file.close()
            self._prove()

    def _begin(self, size_wh: tuple[int, int]) -> Mp4Writer:
        with ExitStack() as stack:
            temporary = stack.enter_context(whole_file(self._path))
            self._file = self._encoder.open(temporary, size_wh, fps=self._fps, recording=False)
            self._temporary, self._size_wh = temporary, size_wh
            self._stack = stack.pop_all()
        return self._file

    def _prove(self) -> None:
        """Count the frames that are in the file."""
        assert self._temporary is not None
        found = count_frames(self._temporary)
        if found != self._count:
            raise OutputError(
                f"cannot write {self._path}: {self._count} frames were given to the encoder, {found} are in "
                "the file",
                hint="--save FOLDER writes pictures instead",
            )
