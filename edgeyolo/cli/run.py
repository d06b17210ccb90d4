"""``edgeyolo run``: an engine on a source."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from edgeyolo.cli import run_options as opt

if TYPE_CHECKING:
    from edgeyolo.pipeline.run import RunReport
    from edgeyolo.vision.nms import Suppression

__all__ = ["register"]

_INTERRUPTED = 130
_SOURCE = (
    "Images ('glob*.jpg', a folder), a video, test:// (a synthetic scene), or a camera: 0 or v4l2:// (USB), "
    "csi://0, rtsp://, http:// (MJPEG, HLS), gst:PIPELINE. Or NAME=URI."
)
_SAVE = "F.mp4 is an H.264 video; a folder gets one picture a frame."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(  # noqa: PLR0913 - one parameter an option
    engine: Annotated[Path, typer.Argument(metavar="ENGINE", help="From build, or an ONNX file.")],
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help=_SOURCE)],
    save: Annotated[Path | None, typer.Option(metavar="F.mp4|DIR", help=_SAVE)] = None,
    segment: opt.Segment = None,
    max_size: opt.MaxSize = None,
    jsonl: Annotated[
        Path | None, typer.Option(metavar="F|-", help="One JSON line a frame; - is stdout.")
    ] = None,
    jsonl_rotate: opt.JsonlRotate = None,
    jsonl_keep: opt.JsonlKeep = 5,
    show: Annotated[bool, typer.Option("--show", help="Open a window.")] = False,
    mqtt: opt.Mqtt = None,
    webhook: opt.Webhook = None,
    webhook_secret_file: opt.WebhookSecretFile = None,
    webhook_pictures: opt.WebhookPictures = False,
    web: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve a page; beyond this machine a token is asked for."),
    ] = None,
    web_token_file: Annotated[
        Path | None, typer.Option(metavar="F", help="The page's token.", show_default="$EDGEYOLO_WEB_TOKEN")
    ] = None,
    web_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="The page has this name, as behind a proxy.")
    ] = None,
    web_clients: Annotated[int, typer.Option(help="Streams of the page at a time.")] = 128,
    web_fps: Annotated[float, typer.Option(help="Pictures a second of the page, at most.")] = 15.0,
    frames: Annotated[int | None, typer.Option(help="Stop after so many frames.")] = None,
    conf: Annotated[
        float | None, typer.Option(help="Least score of a box, 0..1.", show_default="0.25")
    ] = None,
    iou: Annotated[
        float | None, typer.Option(help="Overlap of two boxes of one object, 0..1.", show_default="0.45")
    ] = None,
    nms: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="class, agnostic (across classes), soft or none.",
            show_default="class; none where the model's boxes are final",
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Names or ids to report; all by default.")
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(metavar="F.toml", help="Zones and lines: who enters, dwells, leaves, crosses."),
    ] = None,
    events_state: Annotated[
        Path | None, typer.Option(metavar="F", help="Keep their counters here from run to run.")
    ] = None,
    events_editable: Annotated[
        bool, typer.Option("--events-editable", help="The page may draw zones and lines, and save them.")
    ] = False,
    track: Annotated[
        bool, typer.Option("--track", help="Number objects, the same from frame to frame.")
    ] = False,
    every: Annotated[
        int, typer.Option(metavar="N", help="Detect in every Nth frame; boxes are followed in between.")
    ] = 1,
    stall_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Without a frame for so long, connect to a camera again.")
    ] = 5.0,
    retries: Annotated[
        int | None,
        typer.Option(help="Give a camera up after so many failures in a row.", show_default="never"),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run an engine whose hash is not its sidecar's.")
    ] = False,
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
