"""The sinks of a run, from its options.

Owns which option makes which sink, and the refusal of an output that would replace the source. Each sink is a
class of ``edgeyolo.show``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeyolo.errors import ConfigError
from edgeyolo.frames import Sink, Source
from edgeyolo.live import Control
from edgeyolo.pipeline.progress import ProgressSink
from edgeyolo.show import ImageFileSink, ImageFolderSink, JsonLinesSink, VideoSink, WindowSink
from edgeyolo.show.web import WebConfig, WebSink
from edgeyolo.vision.images import is_image_path

__all__ = ["SinkConfig", "WebConfig", "open_sinks"]

_VIDEO_SUFFIX = ".mp4"


@dataclass(frozen=True, kw_only=True)
class SinkConfig:
    """Where results go.

    Args:
        save: ``.mp4`` is a video; a folder, or a name without suffix, gets pictures; an image's name gets
            the picture of a source that is one image.
        jsonl: JSON lines; ``-`` is stdout.
        show: Whether to open a window.
        web: The page for browsers.
        progress: Whether to tell on stderr how far it is.
    """

    save: Path | None = None
    jsonl: Path | None = None
    show: bool = False
    web: WebConfig | None = None
    progress: bool = False


def open_sinks(
    config: SinkConfig,
    sources: Mapping[str, Source],
    names: tuple[str, ...],
    control: Control,
    *,
    limit: int | None = None,
) -> Iterator[Sink]:
    """Open one after the other; the one that empties its file when opened comes after those that can fail.

    Args:
        config: The options.
        sources: Camera to source.
        names: Class names; the index is the class id.
        control: The run, for keys and pages.
        limit: Frames of each camera, where there is a limit.

    Yields:
        Each sink as soon as it is open, so that the caller can close it whatever the next one does.

    Raises:
        ConfigError: An option does not fit the sources.
        OutputError: A file cannot be begun.
        MissingDependencyError: What a sink needs is absent.
    """
    if config.show:
        yield WindowSink(control, {camera: source.live for camera, source in sources.items()})
    if config.web is not None:
        yield WebSink(config.web, names, control)
    if config.save is not None:
        yield _picture_sink(config.save, sources)
    if config.jsonl is not None:
        _refuse_overwrite("--jsonl", config.jsonl, sources)
        yield JsonLinesSink(config.jsonl, names)
    if config.progress:
        yield ProgressSink(
            _frames_to_come(sources, limit), live=any(source.live for source in sources.values())
        )


def _frames_to_come(sources: Mapping[str, Source], limit: int | None) -> int | None:
    """Add up the frames of all sources, where each of them ends."""
    total = 0
    for source in sources.values():
        known = [n for n in (source.frame_count, limit) if n is not None]
        if not known:
            return None
        total += min(known)
    return total


def _picture_sink(save: Path, sources: Mapping[str, Source]) -> Sink:
    _refuse_overwrite("--save", save, sources)
    source = next(iter(sources.values()))
    if save.is_dir() or not save.suffix:
        return ImageFolderSink(save)
    if save.suffix.lower() == _VIDEO_SUFFIX:
        return VideoSink(save, fps=source.fps)
    if is_image_path(save):
        if [s.frame_count for s in sources.values()] == [1]:
            return ImageFileSink(save)
        raise ConfigError(
            f"--save {save}: one image, and the source has {source.frame_count or 'many'} frames",
            hint=f"--save {save.stem}.mp4, or --save {save.stem}/ for one image a frame",
        )
    raise ConfigError(
        f"--save {save}: a name that ends in .mp4, a folder, or an image's name expected, "
        f"{save.suffix!r} found",
        hint=f"--save {save.with_suffix(_VIDEO_SUFFIX)}",
    )


def _refuse_overwrite(option: str, path: Path, sources: Mapping[str, Source]) -> None:
    """Refuse an output that is a source itself."""
    for source in sources.values():
        name = Path(source.name)
        if path.exists() and name.exists() and path.resolve() == name.resolve():
            raise ConfigError(f"{option} {path}: would overwrite the source", hint="choose another name")
