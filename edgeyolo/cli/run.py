"""``edgeyolo run``: an engine on a source."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import typer

from edgeyolo.cli import run_options as opt

if TYPE_CHECKING:
    from edgeyolo.pipeline.run import RunReport
    from edgeyolo.vision.nms import Suppression

__all__ = ["register"]

_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(  # noqa: PLR0913 - one parameter an option
    engine: opt.Engine,
    sources: opt.Sources,
    save: opt.Save = None,
    jsonl: opt.Jsonl = None,
    show: opt.Show = False,
    frames: opt.Frames = None,
    conf: opt.Conf = None,
    iou: opt.Iou = None,
    nms: opt.Nms = None,
    classes: opt.Classes = None,
    trust: opt.Trust = False,
    stall_timeout: opt.StallTimeout = 5.0,
    retries: opt.Retries = None,
    segment: opt.Segment = None,
    max_size: opt.MaxSize = None,
    jsonl_rotate: opt.JsonlRotate = None,
    jsonl_keep: opt.JsonlKeep = 5,
    events: opt.Events = None,
    events_state: opt.EventsState = None,
    events_editable: opt.EventsEditable = False,
    track: opt.Track = False,
    every: opt.Every = 1,
    web: opt.Web = None,
    web_token_file: opt.WebTokenFile = None,
    web_host: opt.WebHost = None,
    web_clients: opt.WebClients = 128,
    web_fps: opt.WebFps = 15.0,
    mqtt: opt.Mqtt = None,
    webhook: opt.Webhook = None,
    webhook_secret_file: opt.WebhookSecretFile = None,
    webhook_pictures: opt.WebhookPictures = False,
) -> None:
    """Detect in pictures, videos and cameras; without --save, --jsonl or --show it prints what was found."""
    from edgeyolo.pipeline.quantities import bytes_from_text, seconds_from_text
    from edgeyolo.pipeline.run import RunConfig
    from edgeyolo.pipeline.run import run as run_engine
    from edgeyolo.pipeline.sinks import SinkConfig, WebConfig, WebhookConfig
    from edgeyolo.pipeline.watch import WatchConfig

    if web is None and (web_token_file or web_host):
        raise typer.BadParameter("--web-token-file and --web-host are for --web HOST:PORT")
    page = None
    if web is not None:
        page = WebConfig(
            address=web, token_file=web_token_file, hosts=web_host or (), clients=web_clients, fps=web_fps
        )
    if webhook is None and (webhook_secret_file or webhook_pictures):
        raise typer.BadParameter("--webhook-secret-file and --webhook-pictures are for --webhook URL")
    hook = None
    if webhook is not None:
        hook = WebhookConfig(url=webhook, secret_file=webhook_secret_file, pictures=webhook_pictures)
    if str(jsonl) == "-":
        _keep_stdout_for_results()
    report = run_engine(
        RunConfig(
            engine=engine,
            sources=sources,
            sinks=SinkConfig(
                save=save,
                segment_s=None if segment is None else seconds_from_text(segment, option="--segment"),
                max_bytes=None if max_size is None else bytes_from_text(max_size, option="--max-size"),
                jsonl=jsonl,
                jsonl_rotate_bytes=(
                    None if jsonl_rotate is None else bytes_from_text(jsonl_rotate, option="--jsonl-rotate")
                ),
                jsonl_keep=jsonl_keep,
                show=show,
                web=page,
                mqtt=mqtt,
                webhook=hook,
                progress=True,
            ),
            frames=frames,
            conf=conf,
            iou=iou,
            nms=cast("Suppression | None", nms),  # Detector refuses a wrong word, and knows the right ones
            classes=None if classes is None else [name for name in classes.split(",") if name.strip()],
            stall_timeout_s=stall_timeout,
            retries=retries,
            watch=WatchConfig(
                events=events, editable=events_editable, state=events_state, track=track, every=every
            ),
            trust=trust,
        ),
        say=lambda line: print(line, file=sys.stderr),
    )
    _print_report(report, to_stderr=str(jsonl) == "-")
    if report.interrupted:
        raise typer.Exit(_INTERRUPTED)


def _keep_stdout_for_results() -> None:
    """Send to stderr what libraries print on stdout past Python, such as NVIDIA's camera daemon's client.

    Source: nvarguscamerasrc prints its lines that begin with ``GST_ARGUS`` on stdout.
    """
    sys.stdout.flush()
    results = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = os.fdopen(results, "w", encoding="utf-8")


def _print_report(report: RunReport, *, to_stderr: bool) -> None:
    """Print what was found on stdout, unless JSON lines have it, and how fast it went on stderr."""
    for line in report.summary:
        print(line, file=sys.stderr if to_stderr else sys.stdout)
    loop = report.loop
    stages = ("capture", "preprocess", "infer", "postprocess", "draw", "output")
    medians = ", ".join(f"{s} {loop.times.percentile(s, 50):.1f}" for s in stages if loop.times.count(s))
    ended = ", interrupted" if report.interrupted else ""
    frames = "1 frame" if loop.frames == 1 else f"{loop.frames} frames"
    print(
        f"{frames} in {loop.seconds:.1f} s, {loop.fps:.1f} FPS{ended}; median ms: {medians}",
        file=sys.stderr,
    )
    for line in (*_camera_lines(report), *report.notes):
        print(line, file=sys.stderr)


def _camera_lines(report: RunReport) -> Iterator[str]:
    """Tell how each camera went; a file has no age and drops nothing."""
    for camera in report.loop.status.sources:
        if not camera.live:
            continue
        ages = ", ".join(f"{p} {camera.age_ms[p]:.0f}" for p in ("p50", "p99") if p in camera.age_ms)
        yield (
            f"{camera.camera} ({camera.name}): {camera.captured} frames, {camera.results} answered, "
            f"{camera.dropped} passed over for a newer one, {camera.reconnects} reconnects; age ms: {ages}"
        )
