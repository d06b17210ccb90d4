"""The parts a machine may lack: a test that needs one skips with the reason, or fails where CI promised it.

Use it as a marker, ``@pytest.mark.needs("libdarknet", "shared-data")`` (a module's ``pytestmark`` too), or
call `require_part` inside a test. ``EDGEYOLO_REQUIRE=shared-data,libdarknet`` turns the skip into a failure,
so that a run which is meant to have a part cannot pass by skipping.
"""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["LIBDARKNET", "PARTS", "PROJECT", "SHARED_DATA", "require_part", "required_parts"]

PROJECT = Path(__file__).resolve().parent.parent
SHARED_DATA = PROJECT.parent / "shared" / "data"
LIBDARKNET = Path("/usr/lib/darknet/libdarknet.so")


def _package(*names: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        for name in names:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a package's own deprecations are not our test
                    importlib.import_module(name)
            except ImportError as exc:
                return f"the package {name} does not import: {exc}"
        return None

    return missing


def _program(*names: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        return None if any(map(shutil.which, names)) else f"no {' or '.join(names)} on the PATH"

    return missing


def _programs(*names: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        lacking = [name for name in names if shutil.which(name) is None]
        return f"no {' and '.join(lacking)} on the PATH" if lacking else None

    return missing


def _path(path: Path, what: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        return None if path.exists() else f"{what} is not at {path}"

    return missing


def _simulated_cuda() -> str | None:
    from tests.sim.cuda import build  # which imports PROJECT from here

    return build.missing()


def _tensorrt_bindings() -> str | None:
    from tests.sim.tensorrt import wheels

    return wheels.missing()


def _gstreamer() -> str | None:
    from edgeyolo.errors import EdgeYoloError
    from edgeyolo.gstreamer import load_gst, missing_elements

    try:
        load_gst()
    except EdgeYoloError as exc:
        return exc.message
    wanted = (
        "rtspsrc souphttpsrc multipartdemux jpegdec avdec_h264 avdec_h265 hlsdemux videoflip mpegtsmux "
        "h264parse x264enc"
    )
    missing = missing_elements(wanted.split())
    return f"GStreamer is here without {', '.join(missing)}" if missing else None


def _rtsp_server() -> str | None:
    if (missing := _gstreamer()) is not None:
        return missing
    import gi

    try:
        gi.require_version("GstRtspServer", "1.0")
    except ValueError as exc:
        return f"GStreamer's RTSP server is not here: {exc}"
    return None


# Name -> why it is missing, or None where it is there.
PARTS: dict[str, Callable[[], str | None]] = {
    "av": _package("av"),
    "chromium": _program("chromium", "chromium-browser", "google-chrome"),
    "cudasim": _simulated_cuda,
    "darknet-cfgs": _path(Path("/usr/share/darknet/cfg"), "Debian's darknet package"),
    "eval": _package("faster_coco_eval"),
    "ffmpeg": _program("ffmpeg"),
    "gstreamer": _gstreamer,
    "libdarknet": _path(LIBDARKNET, "Debian's darknet package"),
    "mypy": _package("mypy"),
    "mosquitto": _program("mosquitto"),
    "onnx": _package("onnx"),
    "onnxruntime": _package("onnxruntime"),
    "onnxsim": _package("onnxsim"),
    "opencv": _package("cv2"),
    "paho": _package("paho.mqtt.client"),
    "pooch": _package("pooch"),
    "rtsp-server": _rtsp_server,
    "shapely": _package("shapely"),
    "shared-data": _path(SHARED_DATA, "the folder of real data"),
    "tensorrt": _package("tensorrt"),
    "tensorrt-bindings": _tensorrt_bindings,
    "tensorrt-rtx": _package("tensorrt_rtx"),
    "torch": _package("torch"),
    "web": _package("uvicorn", "prometheus_client"),
    "qemu": _program("qemu-x86_64-static", "qemu-x86_64"),
    "xvfb": _programs("Xvfb", "xdotool"),
}


def required_parts() -> frozenset[str]:
    """Give the parts whose absence fails a test; a misspelt one must not pass for a promise."""
    names = frozenset(filter(None, os.environ.get("EDGEYOLO_REQUIRE", "").split(",")))
    if unknown := names - PARTS.keys():
        raise pytest.UsageError(
            f"EDGEYOLO_REQUIRE: {', '.join(sorted(unknown))}: one of {', '.join(PARTS)} expected"
        )
    return names


def require_part(name: str) -> None:
    """Skip the running test (or module, while it is imported) with a reason unless `name` is here.

    Args:
        name: A key of `PARTS`.
    """
    why = _why_missing(name)
    if why is None:
        return
    if name in required_parts():
        pytest.fail(f"EDGEYOLO_REQUIRE names {name!r}, but {why}", pytrace=False)
    pytest.skip(why, allow_module_level=True)


@functools.cache
def _why_missing(name: str) -> str | None:
    return PARTS[name]()
