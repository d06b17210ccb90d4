"""Engine, source and sinks by name, wired into the frame loop: what ``edgeyolo run`` does.

Owns the choice of sinks from options and the order in which things are opened, cheapest mistake first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgeyolo.camera import open_source
from edgeyolo.errors import ConfigError
from edgeyolo.frames import Sink, Source
from edgeyolo.pipeline.loop import FrameLoop, LoopReport, Model
from edgeyolo.pipeline.progress import ProgressSink
from edgeyolo.pipeline.signals import stopping_on_signals
from edgeyolo.runtime import Classifier, Detector, open_engine
from edgeyolo.runtime.detector import CONF, IOU
from edgeyolo.show import (
    ImageFileSink,
    ImageFolderSink,
    JsonLinesSink,
    SummarySink,
    VideoSink,
    WindowSink,
)
from edgeyolo.vision.draw import Painter
from edgeyolo.vision.images import is_image_path
from edgeyolo.vision.nms import Suppression

__all__ = ["RunConfig", "RunReport", "open_model", "refuse_idle_iou", "run"]

_VIDEO_SUFFIX = ".mp4"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What to run on what, and where results go.

    Args:
        engine: The engine file.
        source: URI of the source.
        save: ``.mp4`` is a video; a folder, or a name without suffix, gets pictures; an image's name gets
            the picture of a source that is one image.
        jsonl: JSON lines; ``-`` is stdout.
        show: Whether to open a window.
        frames: Take at most so many.
        conf: Least score of a detector's box, 0..1; 0.25 by default.
        iou: Overlap of two boxes of one object, 0..1; 0.45 by default.
        nms: How boxes of one object are made one, as for `Detector`; None is its default.
        classes: Names or ids to report; all by default.
        progress: Whether to tell on stderr how far it is.
        trust: Run an engine whose hash is not its sidecar's.
    """

    engine: Path
    source: str
    save: Path | None = None
    jsonl: Path | None = None
    show: bool = False
    frames: int | None = None
    conf: float | None = None
    iou: float | None = None
    nms: Suppression | None = None
    classes: Sequence[str] | None = None
    progress: bool = False
    trust: bool = False

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise ConfigError(f"--frames: 1 or more expected, {self.frames} found")


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """How a run went.

    Args:
        loop: Frames and times.
        interrupted: Whether a signal ended it; its files are whole.
        summary: What was seen, as lines of text.
        notes: What the user should know, such as which codec was taken and why.
    """

    loop: LoopReport
    interrupted: bool
    summary: tuple[str, ...]
    notes: tuple[str, ...]


def run(config: RunConfig) -> RunReport:
    """Run an engine on a source until it ends, or until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: An option has no meaning for this engine or source.
        EngineError: The engine cannot be used.
        SourceError: The source cannot be opened, or fails.
        OutputError: A result cannot be written.
    """
    stop = threading.Event()
    with ExitStack() as stack:
        model = open_model(
            config.engine,
            conf=config.conf,
            iou=config.iou,
            nms=config.nms,
            classes=config.classes,
            trust=config.trust,
        )
        stack.callback(model.close)
        source = open_source(config.source)
        stack.callback(source.close)
        summary = SummarySink(model.names)
        sinks: list[Sink] = [summary]
        for sink in _sinks(config, source, model.names, stop):
            stack.callback(sink.close)
            sinks.append(sink)
        notes = model.engine.notes + tuple(
            f"{config.save}: {s.codec} video, {s.codec_reason}" for s in sinks if isinstance(s, VideoSink)
        )
        draw = Painter(model.names).draw
        with stopping_on_signals(stop) as signalled:
            loop = FrameLoop(source, model, sinks, draw=draw, limit=config.frames, stop=stop).run()
    return RunReport(loop=loop, interrupted=signalled.is_set(), summary=tuple(summary.lines()), notes=notes)


def open_model(
    engine: Path | str,
    *,
    conf: float | None = None,
    iou: float | None = None,
    nms: Suppression | None = None,
    classes: Sequence[str | int] | None = None,
    trust: bool = False,
) -> Model:
    """Open an engine as what it is, a detector or a classifier.

    Args:
        engine: The engine file.
        conf: As for `Detector`; None is its default.
        iou: As for `Detector`; None is its default.
        nms: As for `Detector`; None is its default.
        classes: Names or ids to report.
        trust: As for `open_engine`.

    Raises:
        ConfigError: An option has no meaning for this engine, or a value is out of range.
        EngineError: The engine cannot be used.
    """
    opened = open_engine(engine, trust=trust)
    try:
        if opened.info.spec.task == "detect":
            refuse_idle_iou(nms, iou)
            return Detector(
                opened,
                conf=CONF if conf is None else conf,
                iou=IOU if iou is None else iou,
                nms=nms,
                classes=classes,
            )
        if (conf, iou, nms) != (None, None, None):
            raise ConfigError(f"--conf, --iou and --nms are for detectors; {engine} is a classifier")
        return Classifier(opened, classes=classes)
    except BaseException:
        opened.close()
        raise


def refuse_idle_iou(nms: Suppression | None, iou: float | None) -> None:
    """Refuse an overlap where nothing is compared with it.

    Raises:
        ConfigError: Both were given.
    """
    if nms in ("none", "soft") and iou is not None:
        raise ConfigError(f"--iou has no use with --nms {nms}", hint="leave --iou out, or --nms class")


def _sinks(
    config: RunConfig, source: Source, names: tuple[str, ...], stop: threading.Event
) -> Iterator[Sink]:
    """Open one after the other; the one that empties its file when opened comes after those that can fail."""
    if config.show:
        yield WindowSink(on_quit=stop.set)
    if config.save is not None:
        yield _picture_sink(config.save, source)
    if config.jsonl is not None:
        _refuse_overwrite("--jsonl", config.jsonl, source)
        yield JsonLinesSink(config.jsonl, names)
    if config.progress:
        known = [n for n in (source.frame_count, config.frames) if n is not None]
        yield ProgressSink(min(known) if known else None)


def _picture_sink(save: Path, source: Source) -> Sink:
    _refuse_overwrite("--save", save, source)
    if save.is_dir() or not save.suffix:
        return ImageFolderSink(save)
    if save.suffix.lower() == _VIDEO_SUFFIX:
        return VideoSink(save, fps=source.fps)
    if is_image_path(save):
        if source.frame_count == 1:
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


def _refuse_overwrite(option: str, path: Path, source: Source) -> None:
    """Refuse an output that is the source itself, or a folder whose images it would replace."""
    name = Path(source.name)
    if path.exists() and name.exists() and path.resolve() == name.resolve():
        raise ConfigError(f"{option} {path}: would overwrite the source", hint="choose another name")
