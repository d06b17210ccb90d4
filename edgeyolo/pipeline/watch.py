"""Objects followed and watched in a run: analysts from options, the page's rules, and counters that are kept.

Owns what ``--track``, ``--every``, ``--events``, ``--events-state`` and ``--events-editable`` mean together.
How objects are followed and what happens at zones is ``edgeyolo.events``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from edgeyolo.errors import ConfigError, OutputError
from edgeyolo.events import CameraAnalyst, analyst_for, read_counts, write_counts
from edgeyolo.frames import Result, Source
from edgeyolo.pipeline.monitor import Monitor
from edgeyolo.rules import Rules, read_rules
from edgeyolo.runtime.detector import Detector
from edgeyolo.show.web import ZoneDesk

__all__ = ["CountsSink", "Watch", "WatchConfig"]

_log = logging.getLogger(__name__)

# A power cut loses the counts of at most so long; a card of flash memory lasts.
_SAVE_EVERY_S = 10.0


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """What is watched.

    Args:
        events: File of rules.
        editable: Whether the page may change that file; it may then be absent.
        state: File of counters, read at the start and kept up to date.
        track: Whether objects get numbers; so they do where anything else here is asked for.
        every: The model sees every so manieth frame of a camera; boxes are followed in between.
    """

    events: Path | None = None
    editable: bool = False
    state: Path | None = None
    track: bool = False
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"--every: 1 or more expected, {self.every} found")
        for option, given in (
            ("--events-state", self.state is not None),
            ("--events-editable", self.editable),
        ):
            if given and self.events is None:
                raise ConfigError(f"{option} is for --events FILE")

    @property
    def follows(self) -> bool:
        """Whether objects are followed."""
        return self.track or self.every > 1 or self.events is not None

    def rules(self) -> Rules:
        """Read the rules; none where no events are asked for.

        Raises:
            ConfigError: The file is absent or wrong.
        """
        if self.events is None or (self.editable and not self.events.exists()):
            return Rules(source=str(self.events or ""))
        return read_rules(self.events)


class Watch:
    """The analysts of a run.

    Args:
        config: What is watched.
        sources: Camera to source.
        names: Class names; the index is the class id.
        monitor: Knows the least score in force.

    Raises:
        ConfigError: A source has no time, the engine is no detector, a rule is for a camera or a class that
            there is not, or a file is wrong.
    """

    def __init__(
        self, config: WatchConfig, sources: Mapping[str, Source], names: tuple[str, ...], monitor: Monitor
    ) -> None:
        self.analysts: dict[str, CameraAnalyst] = {}
        self.rules = config.rules()
        self._config = config
        self._names = names
        self._cameras = tuple(sources)
        if not config.follows:
            return
        if not isinstance(monitor.model, Detector):
            raise ConfigError("--track, --every and --events are for detectors; this engine is a classifier")
        for source in sources.values():
            if not source.live and source.fps is None:
                raise ConfigError(
                    f"{source.name}: a video or a camera expected, to follow objects in time; pictures found",
                    hint="leave --track, --every and --events out, or make a video of them",
                )
        self.rules.require_cameras(tuple(sources))
        self.rules.require_classes(names)
        self._refuse_idle_rules(monitor.model.class_ids)
        counts = read_counts(config.state) if config.state is not None else {}
        for camera, source in sources.items():
            analyst = analyst_for(
                camera, self.rules, names, live=source.live, conf=lambda: monitor.conf or 0.0
            )
            analyst.restore(counts.get(camera, {}))
            self.analysts[camera] = analyst

    def _refuse_idle_rules(self, reported: Sequence[int] | None) -> None:
        """Refuse a rule for classes that the run leaves out: nothing would ever happen there."""
        if reported is None:
            return
        for rule in (*self.rules.zones, *self.rules.lines):
            wanted = rule.class_ids(self._names)
            if wanted is not None and wanted.isdisjoint(reported):
                raise ConfigError(
                    f"{self.rules.source}: {rule.name}: it is for classes that --classes leaves out",
                    hint=f"--classes {','.join(self._names[i] for i in sorted({*reported, *wanted}))}",
                )

    def desk(self) -> ZoneDesk:
        """Give the rules as the page may see, and perhaps change, them."""
        editable = self._config.editable
        return ZoneDesk(
            self.rules,
            cameras=self._cameras,
            names=self._names,
            file=self._config.events if editable else None,
            apply=self.replace_rules if editable else None,
        )

    def sinks(self) -> Iterator[CountsSink]:
        """Open the sink that keeps the file of counters, where there is one.

        Raises:
            OutputError: The file cannot be written.
        """
        if self._config.state is not None:
            yield CountsSink(self._config.state, self.analysts)

    def lines(self) -> Iterator[str]:
        """Give the counters, a line each zone and line of a camera."""
        for camera, analyst in self.analysts.items():
            for name, counts in analyst.counts.items():
                where = name if len(self.analysts) == 1 else f"{camera}: {name}"
                yield f"{where}: " + ", ".join(f"{count} {word}" for word, count in counts.items())

    def replace_rules(self, rules: Rules) -> None:
        """Put other rules in force; any thread.

        Raises:
            ConfigError: A rule is for a class that there is not.
        """
        for analyst in self.analysts.values():
            analyst.replace_rules(rules)


class CountsSink:
    """A `edgeyolo.frames.Sink` that keeps the file of counters up to date.

    Args:
        path: The file.
        analysts: Camera to its analyst.

    Raises:
        OutputError: The file cannot be written.
    """

    wants_picture = False

    def __init__(self, path: Path, analysts: Mapping[str, CameraAnalyst]) -> None:
        self._path = path
        self._analysts = analysts
        self._changed, self._failing = True, False
        self._saved_at = 0.0
        self._save()  # a folder that is not there is told now, and not after a day

    def write(self, result: Result) -> None:
        """Save, if something has happened and the last time is a while ago; a full disk ends no run."""
        self._changed |= bool(result.events)
        self.idle()

    def idle(self) -> None:
        """Save what happened last, also while no camera gives a frame."""
        if not self._changed or monotonic() - self._saved_at < _SAVE_EVERY_S:
            return
        try:
            self._save()
            self._failing = False
        except OutputError as exc:
            if not self._failing:
                _log.warning("the counters are not kept: %s", exc)
            self._failing, self._saved_at = True, monotonic()

    def close(self) -> None:
        """Save what happened last; twice is harmless.

        Raises:
            OutputError: The file cannot be written.
        """
        if self._changed:
            self._save()

    def _save(self) -> None:
        write_counts(self._path, {camera: analyst.counts for camera, analyst in self._analysts.items()})
        self._changed, self._saved_at = False, monotonic()
