"""What GStreamer complains of, in our words: of devices that are not here, of the daemon of CSI cameras."""

from __future__ import annotations

from typing import Any

import pytest

from edgeyolo.camera.faults import Peer, refusal
from edgeyolo.camera.gst_faults import ARGUS_REMEDY, Complaint, error_from
from edgeyolo.errors import SourceError, SourceOpenError, SourceRefusedError

PEER = Peer(name="0", secrets=("rtsp://me:zq55qz@cam/",))


def complaint(element: str, code: str, *, text: str = "it fails", debug: str = "") -> Complaint:
    from gi.repository import GLib, Gst

    from edgeyolo.gstreamer import load_gst

    load_gst()
    gerror: Any = GLib.Error.new_literal(
        Gst.ResourceError.quark(), text, int(getattr(Gst.ResourceError, code))
    )
    return Complaint(element=element, text=text, debug=debug, status=None, gerror=gerror, is_source=True)


@pytest.mark.needs("gstreamer")
@pytest.mark.parametrize(
    ("element", "code", "kind", "says", "hint"),
    [
        ("v4l2src", "BUSY", SourceOpenError, "0: another program has the camera", "fuser"),
        ("v4l2src", "NOT_FOUND", SourceOpenError, "0: no such camera", "edgeyolo doctor"),
        ("v4l2src", "OPEN_READ_WRITE", SourceOpenError, "0: the camera cannot be opened", "usermod"),
        ("v4l2src", "READ", SourceError, "0: v4l2src: it fails", None),
        ("nvarguscamerasrc", "READ", SourceOpenError, "0: the camera daemon fails", ARGUS_REMEDY),
        ("filesrc", "NOT_FOUND", SourceError, "0: filesrc: it fails", None),
    ],
)
def test_complaints(element: str, code: str, kind: type[SourceError], says: str, hint: str | None) -> None:
    error = error_from(complaint(element, code), PEER)
    assert isinstance(error, kind)
    assert error.message.startswith(says)
    assert (hint or "") in (error.hint or "")


@pytest.mark.needs("gstreamer")
def test_a_daemon_behind_another_element_is_known_by_its_words() -> None:
    error = error_from(
        complaint("bin", "READ", debug="(Argus) Error Timeout: Failed to create CaptureSession"), PEER
    )
    assert error.hint == ARGUS_REMEDY


@pytest.mark.needs("gstreamer")
def test_no_words_of_gstreamers_show_a_password() -> None:
    said = complaint(
        "x", "READ", text="at rtsp://me:zq55qz@cam/", debug="f.c(1): g (): user-pw=zq55qz\nzq55qz"
    )
    assert "zq" not in error_from(said, PEER).message


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, SourceRefusedError, "asks for a login"),
        (403, SourceRefusedError, "asks for a login"),
        (404, SourceRefusedError, "no such stream"),
        (454, SourceRefusedError, "no such stream"),
        (461, SourceRefusedError, "does not do this transport"),
        (503, SourceError, "answers with an error (503)"),
    ],
)
def test_statuses(status: int, kind: type[SourceError], says: str) -> None:
    error = refusal(status, PEER)
    assert type(error) is kind
    assert says in error.message
