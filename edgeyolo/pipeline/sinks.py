"""The sinks of a run, from its options.

Owns which option makes which sink, and the order in which they open. Each sink is a class of
``edgeyolo.show``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeyolo.errors import ConfigError
from edgeyolo.frames import Sink, Source
from edgeyolo.live import Control
from edgeyolo.pipeline.progress import ProgressSink
from edgeyolo.pipeline.saving import open_save, refuse_overwrite
from edgeyolo.show import (
    JsonLinesSink,
    MqttSink,
    WebhookSink,
    WindowSink,
    mqtt_address,
    webhook_address,
)
from edgeyolo.show.web import WebConfig, WebSink, ZoneDesk

__all__ = ["SinkConfig", "WebConfig", "WebhookConfig", "open_sinks"]


@dataclass(frozen=True, kw_only=True)
class WebhookConfig:
    """Events to a web address.

    Args:
        url: The address.
        secret_file: Has what signs each post; without its line end.
        pictures: Whether an event has its picture.
    """

    url: str
    secret_file: Path | None = None
    pictures: bool = False


@dataclass(frozen=True, kw_only=True)
class SinkConfig:
    """Where results go.

    Args:
        save: ``.mp4`` is a video; a folder, or a name without suffix, gets pictures; an image's name gets
            the picture of a source that is one image.
        segment_s: Seconds of a video's segments; None for one file.
        max_bytes: Most bytes of all segments of a camera; the oldest are deleted.
        jsonl: JSON lines; ``-`` is stdout.
        jsonl_rotate_bytes: Most bytes of a file of them; None for one file without end.
        jsonl_keep: Earlier files of them to keep.
        show: Whether to open a window.
        web: The page for browsers.
        mqtt: The address of an MQTT broker.
        webhook: Who is told of events.
        progress: Whether to tell on stderr how far it is.
    """

    save: Path | None = None
    segment_s: float | None = None
    max_bytes: int | None = None
    jsonl: Path | None = None
    jsonl_rotate_bytes: int | None = None
    jsonl_keep: int = 5
    show: bool = False
    web: WebConfig | None = None
    mqtt: str | None = None
    webhook: WebhookConfig | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        if self.segment_s is not None and self.save is None:
            raise ConfigError("--segment cuts a video; --save FILE.mp4 expected", hint="--save out.mp4")
        if self.max_bytes is not None and self.segment_s is None:
            raise ConfigError("--max-size deletes whole segments; --segment expected", hint="--segment 10m")
        if self.jsonl_rotate_bytes is not None and (self.jsonl is None or str(self.jsonl) == "-"):
            raise ConfigError("--jsonl-rotate: --jsonl FILE expected", hint="--jsonl out.jsonl")
        if self.jsonl_keep < 1:
            raise ConfigError(f"--jsonl-keep: 1 or more expected, {self.jsonl_keep} found")


def open_sinks(
    config: SinkConfig,
    sources: Mapping[str, Source],
    names: tuple[str, ...],
    control: Control,
    *,
    limit: int | None = None,
    zones: ZoneDesk | None = None,
) -> Iterator[Sink]:
    """Open one after the other; the one that empties its file when opened comes after those that can fail.

    Args:
        config: The options.
        sources: Camera to source.
        names: Class names; the index is the class id.
        control: The run, for keys and pages.
        limit: Frames of each camera, where there is a limit.
        zones: Rules of events, for the page.

    Yields:
        Each sink as soon as it is open, so that the caller can close it whatever the next one does.

    Raises:
        ConfigError: An option does not fit the sources.
        OutputError: A file cannot be begun.
        MissingDependencyError: What a sink needs is absent.
    """

    def hurry() -> bool:
        return control.stopping

    live = {camera for camera, source in sources.items() if source.live}
    if config.show:  # before PyAV is loaded, in whose libxcb OpenCV's windows hang
        yield WindowSink(control, {camera: camera in live for camera in sources})
    if config.web is not None:
        yield WebSink(config.web, names, control, zones=zones)
    if config.mqtt is not None:
        yield MqttSink(mqtt_address(config.mqtt), names, live=live, hurry=hurry)
    if config.webhook is not None:
        yield _webhook_sink(config.webhook, names, hurry)
    if config.save is not None:
        yield open_save(
            config.save, sources, segment_s=config.segment_s, max_bytes=config.max_bytes, hurry=hurry
        )
    if config.jsonl is not None:
        refuse_overwrite("--jsonl", config.jsonl, sources)
        yield JsonLinesSink(
            config.jsonl,
            names,
            with_camera=len(sources) > 1,
            live=live,
            rotate_bytes=config.jsonl_rotate_bytes,
            keep=config.jsonl_keep,
        )
    if config.progress:
        yield ProgressSink(_frames_to_come(sources, limit), live=bool(live))


def _webhook_sink(config: WebhookConfig, names: tuple[str, ...], hurry: Callable[[], bool]) -> Sink:
    address, secret = webhook_address(config.url), None
    if config.secret_file is not None:
        try:
            secret = config.secret_file.read_bytes().rstrip(b"\r\n")
        except OSError as exc:
            raise ConfigError(f"--webhook-secret-file: {config.secret_file}: {exc.strerror}") from exc
        if not secret:
            raise ConfigError(f"--webhook-secret-file: a secret expected, {config.secret_file} is empty")
    return WebhookSink(address, names, hurry=hurry, secret=secret, pictures=config.pictures)


def _frames_to_come(sources: Mapping[str, Source], limit: int | None) -> int | None:
    """Add up the frames of all sources, where each of them ends."""
    total = 0
    for source in sources.values():
        known = [n for n in (source.frame_count, limit) if n is not None]
        if not known:
            return None
        total += min(known)
    return total
