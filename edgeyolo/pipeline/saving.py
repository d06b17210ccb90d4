"""The sink of ``--save``: which kind of file a name means, for which kind of source.

Owns the names of the files of several cameras, and the refusal of an output that would replace a source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgeyolo.errors import ConfigError
from edgeyolo.frames import Sink, Source
from edgeyolo.show import ImageFileSink, ImageFolderSink, PerCamera, RecorderSink, VideoSink
from edgeyolo.vision.images import is_image_path

__all__ = ["open_save", "refuse_overwrite"]

_VIDEO_SUFFIX = ".mp4"


def open_save(
    path: Path,
    sources: Mapping[str, Source],
    *,
    segment_s: float | None = None,
    max_bytes: int | None = None,
    hurry: Callable[[], bool] = lambda: False,
) -> Sink:
    """Make the sink of ``--save``, which is one for each camera.

    Args:
        path: ``.mp4`` is a video; a folder, or a name without suffix, gets pictures; an image's name gets
            the picture of a source that is one image. With several cameras ``out.mp4`` is ``out-CAMERA.mp4``
            for each, and a folder has a folder for each.
        sources: Camera to source.
        segment_s: Seconds of a video's segments; None for one file.
        max_bytes: Most bytes of all segments of a camera; the oldest are deleted.
        hurry: Whether the run must end now.

    Raises:
        ConfigError: The name means nothing that these sources could fill, or is one of them.
        OutputError: A folder cannot be made.
        MissingDependencyError: Nothing here encodes a video.
    """

    def video(to: Path, source: Source) -> Sink:
        if not source.live and segment_s is None:
            return VideoSink(to, fps=source.fps)
        return RecorderSink(
            to, live=source.live, fps=source.fps, segment_s=segment_s, max_bytes=max_bytes, hurry=hurry
        )

    if path.suffix.lower() == _VIDEO_SUFFIX and not path.is_dir():
        return _each(sources, path, lambda camera: path.with_stem(f"{path.stem}-{camera}"), video)
    if segment_s is not None:
        raise ConfigError(f"--segment: --save FILE.mp4 expected, --save {path} found", hint="--save out.mp4")
    if path.is_dir() or not path.suffix:
        return _each(sources, path, lambda camera: path / camera, lambda to, _: ImageFolderSink(to))
    if not is_image_path(path):
        raise ConfigError(
            f"--save {path}: a name that ends in .mp4, a folder, or an image's name expected, "
            f"{path.suffix!r} found",
            hint=f"--save {path.with_suffix(_VIDEO_SUFFIX)}",
        )
    counts = [source.frame_count for source in sources.values()]
    if counts != [1]:
        raise ConfigError(
            f"--save {path}: one image, and the source has {counts[0] or 'many'} frames",
            hint=f"--save {path.stem}.mp4, or --save {path.stem}/ for one image a frame",
        )
    refuse_overwrite("--save", path, sources)
    return ImageFileSink(path)


def _each(
    sources: Mapping[str, Source],
    path: Path,
    path_for: Callable[[str], Path],
    make: Callable[[Path, Source], Sink],
) -> Sink:
    """Make one sink a camera; a single one has the name that the user gave."""
    paths = {camera: path if len(sources) == 1 else path_for(camera) for camera in sources}
    for to in paths.values():
        refuse_overwrite("--save", to, sources)
    return PerCamera({camera: make(paths[camera], source) for camera, source in sources.items()})


def refuse_overwrite(option: str, path: Path, sources: Mapping[str, Source]) -> None:
    """Refuse an output that is a source itself.

    Raises:
        ConfigError: It is.
    """
    for source in sources.values():
        name = Path(source.name)
        if path.exists() and name.exists() and path.resolve() == name.resolve():
            raise ConfigError(f"{option} {path}: would overwrite the source", hint="choose another name")
