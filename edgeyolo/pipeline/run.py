"""Engine, sources and sinks by name, wired into the frame loop: what ``edgeyolo run`` does.

Owns the order in which things are opened, cheapest mistake first. Which option makes which sink is
``edgeyolo.pipeline.sinks``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from edgeyolo.camera import STALL_TIMEOUT_S
from edgeyolo.errors import ConfigError
from edgeyolo.events import WEAK
from edgeyolo.frames import NotedSink, Sink
from edgeyolo.pipeline.cameras import open_cameras
from edgeyolo.pipeline.drawing import drawer
from edgeyolo.pipeline.inference import Model
from edgeyolo.pipeline.loop import FrameLoop, LoopConfig, LoopReport
from edgeyolo.pipeline.monitor import Monitor
from edgeyolo.pipeline.open_any import open_any
from edgeyolo.pipeline.signals import stopping_on_signals
from edgeyolo.pipeline.sinks import SinkConfig, open_sinks
from edgeyolo.pipeline.watch import Watch, WatchConfig
from edgeyolo.runtime import Classifier, Detector, Engine
from edgeyolo.runtime.detector import CONF, IOU
from edgeyolo.show import SummarySink
from edgeyolo.show.web import WebSink
from edgeyolo.vision.nms import Suppression

__all__ = ["RunConfig", "RunReport", "open_model", "refuse_idle_iou", "run"]

# More pictures at once only make each wait longer for its result.
_MAX_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What to run on what.

    Args:
        engine: The engine file.
        sources: URIs of the sources, or ``NAME=URI``.
        sinks: Where results go.
        frames: Take at most so many of each source.
        conf: Least score of a detector's box, 0..1; 0.25 by default.
        iou: Overlap of two boxes of one object, 0..1; 0.45 by default.
        nms: How boxes of one object are made one, as for `Detector`; None is its default.
        classes: Names or ids to report; all by default.
        stall_timeout_s: Seconds without a frame after which a live source is connected to again.
        retries: Failures in a row after which a live source is given up; never by default.
        watch: Whether objects are followed, and what they are watched for.
        trust: Run an engine whose hash is not its sidecar's.
    """

    engine: Path
    sources: Sequence[str]
    sinks: SinkConfig = field(default_factory=SinkConfig)
    frames: int | None = None
    conf: float | None = None
    iou: float | None = None
    nms: Suppression | None = None
    classes: Sequence[str] | None = None
    stall_timeout_s: float = STALL_TIMEOUT_S
    retries: int | None = None
    watch: WatchConfig = field(default_factory=WatchConfig)
    trust: bool = False

    def __post_init__(self) -> None:
        if self.watch.editable and self.sinks.web is None:
            raise ConfigError("--events-editable is for --web HOST:PORT, whose page changes the file")
        if self.sinks.webhook is not None and self.watch.events is None:
            raise ConfigError("--webhook posts events; --events FILE expected")
        if self.frames is not None and self.frames < 1:
            raise ConfigError(f"--frames: 1 or more expected, {self.frames} found")
        if self.retries is not None and self.retries < 0:
            raise ConfigError(f"--retries: 0 or more expected, {self.retries} found")
        if not 0.1 <= self.stall_timeout_s <= 3600:
            raise ConfigError(f"--stall-timeout: 0.1 to 3600 seconds expected, {self.stall_timeout_s} found")


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """How a run went.

    Args:
        loop: Frames and times.
        interrupted: Whether a signal ended it; its files are whole.
        summary: What was seen, as lines of text.
        notes: What the user should know, such as which encoder was taken and why, and what was dropped.
    """

    loop: LoopReport
    interrupted: bool
    summary: tuple[str, ...]
    notes: tuple[str, ...]


def run(config: RunConfig, *, say: Callable[[str], None] | None = None) -> RunReport:
    """Run an engine on sources until they end, or until Ctrl-C or SIGTERM.

    Args:
        config: What to run on what.
        say: Is told, in a line each, when a camera comes and goes; the log is by default.

    Raises:
        ConfigError: An option has no meaning for this engine or source.
        EngineError: The engine cannot be used.
        InferenceError: The engine failed, and failed again when it was loaded anew.
        SourceError: A source cannot be opened, or fails for good.
        OutputError: A result cannot be written.
    """
    with ExitStack() as stack:
        model = _model(config)
        stack.callback(model.close)
        sources = open_cameras(config.sources, stall_timeout_s=config.stall_timeout_s)
        for source in sources.values():
            stack.callback(source.close)
        monitor = Monitor(
            sources,
            model,
            engine=_title(config.engine, model),
            stall_timeout_s=config.stall_timeout_s,
            say=say,
        )
        summary = SummarySink(model.names)
        sinks: list[Sink] = [summary]
        watch = Watch(config.watch, sources, model.names, monitor)
        opened = open_sinks(
            config.sinks, sources, model.names, monitor, limit=config.frames, zones=watch.desk()
        )
        for sink in chain(watch.sinks(), opened):
            stack.callback(sink.close)
            sinks.append(sink)
            if isinstance(sink, WebSink):  # not to the log: a token may be in it
                (say or _say_on_stderr)(sink.invitation())
        engine_notes = model.engine.notes
        loop_config = LoopConfig(
            draw=drawer(model.names, watch.analysts),
            limit=config.frames,
            every=config.watch.every,
            analysts=watch.analysts,
            reopen=lambda: _model(config),
            retries=config.retries,
        )
        with stopping_on_signals(monitor.stop_event) as signalled:
            loop = FrameLoop(sources, model, sinks, loop_config, monitor).run()
    notes = tuple(note for sink in sinks if isinstance(sink, NotedSink) for note in sink.notes)
    return RunReport(
        loop=loop,
        interrupted=signalled.is_set(),
        summary=(*summary.lines(), *watch.lines()),
        notes=engine_notes + notes,
    )


def open_model(
    engine: Engine,
    *,
    conf: float | None = None,
    iou: float | None = None,
    nms: Suppression | None = None,
    classes: Sequence[str | int] | None = None,
) -> Model:
    """Take an open engine as what it is, a detector or a classifier.

    Args:
        engine: An open engine; is closed by the model, and where this raises.
        conf: As for `Detector`; None is its default.
        iou: As for `Detector`; None is its default.
        nms: As for `Detector`; None is its default.
        classes: Names or ids to report.

    Raises:
        ConfigError: An option has no meaning for this engine, or a value is out of range.
        EngineError: The engine cannot be used.
    """
    try:
        if engine.info.spec.task == "detect":
            detector = Detector(
                engine,
                conf=CONF if conf is None else conf,
                iou=IOU if iou is None else iou,
                nms=nms,
                classes=classes,
            )
            refuse_idle_iou(detector.nms, iou)
            return detector
        if (conf, iou, nms) != (None, None, None):
            raise ConfigError("--conf, --iou and --nms are for detectors; this engine is a classifier")
        return Classifier(engine, classes=classes)
    except BaseException:
        engine.close()
        raise


def refuse_idle_iou(nms: Suppression, iou: float | None) -> None:
    """Refuse an overlap where nothing is compared with it.

    Args:
        nms: The suppression in force: a model whose boxes are final has ``none`` unless asked for another.
        iou: The overlap that was given, if any.

    Raises:
        ConfigError: It was given and has no use.
    """
    if nms in ("none", "soft") and iou is not None:
        raise ConfigError(
            f"--iou has no use with --nms {nms}, which is in force here",
            hint="leave --iou out, or --nms class",
        )


def _model(config: RunConfig) -> Model:
    max_batch = max(1, min(len(config.sources), _MAX_BATCH))
    engine = open_any(config.engine, trust=config.trust, max_batch=max_batch)
    model = open_model(engine, conf=config.conf, iou=config.iou, nms=config.nms, classes=config.classes)
    if config.watch.follows and isinstance(model, Detector):
        model.weak = WEAK
    return model


def _say_on_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _title(engine: Path, model: Model) -> str:
    info = model.engine.info
    width, height = info.spec.input_wh
    return f"{engine.name}: {info.backend} {info.precision} {width}x{height}"
