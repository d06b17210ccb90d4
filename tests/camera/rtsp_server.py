"""A real RTSP server, GStreamer's own, to run as a process of its own: tests kill it, freeze it, restart it.

    python tests/camera/rtsp_server.py --port 0 --codec h264 --login user:password

Prints its port once it listens, on loopback. ``/cam`` is the picture, ``/sound`` has a sound track beside it,
and ``/words`` has sound alone.
"""

from __future__ import annotations

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
gi.require_version("GstRtsp", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

X26 = "tune=zerolatency speed-preset=ultrafast key-int-max={gop}"
PICTURES = {
    "h264": f"x264enc {X26} ! h264parse ! rtph264pay config-interval=-1",
    "openh264": "openh264enc gop-size={gop} ! h264parse ! rtph264pay config-interval=-1",
    "h265": f"x265enc {X26} ! h265parse ! rtph265pay config-interval=-1",
    "mjpeg": "jpegenc ! rtpjpegpay",
    "vp8": "vp8enc deadline=1 keyframe-max-dist={gop} ! rtpvp8pay",
}
SOUND = "audiotestsrc is-live=true ! opusenc ! rtpopuspay name=pay{number} pt=97"


def picture(options: argparse.Namespace) -> str:
    width, _, height = options.size.partition("x")
    caps = f"video/x-raw,format=I420,width={width},height={height},framerate={options.fps}/1"
    coded = PICTURES[options.codec].format(gop=options.gop)
    return f"videotestsrc is-live=true pattern=ball ! {caps} ! {coded} name=pay0 pt=96"


def recorded(path: str) -> str:
    """A file of H.264; every client begins at its start."""
    return f'filesrc location="{path}" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1'


def login(auth: GstRtspServer.RTSPAuth, text: str, *, digest: bool) -> None:
    user, _, password = text.partition(":")
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if digest:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)


def factory(launch: str, options: argparse.Namespace) -> GstRtspServer.RTSPMediaFactory:
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(f"( {launch} )")
    made.set_shared(not options.file)
    if options.login:
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        made.set_permissions(permissions)
    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0")
    parser.add_argument("--codec", choices=PICTURES, default="h264")
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--gop", type=int, default=10, help="pictures from one key frame to the next")
    parser.add_argument("--file")
    parser.add_argument("--login", help="user:password")
    parser.add_argument("--digest", action="store_true")
    parser.add_argument("--certificate", help="a file with key and certificate: the server speaks TLS")
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    video = recorded(options.file) if options.file else picture(options)
    mounts = server.get_mount_points()
    mounts.add_factory("/cam", factory(video, options))
    mounts.add_factory("/sound", factory(f"{video} {SOUND.format(number=1)}", options))
    mounts.add_factory("/words", factory(SOUND.format(number=0), options))
    if options.login or options.certificate:
        auth = GstRtspServer.RTSPAuth()
        if options.login:
            login(auth, options.login, digest=options.digest)
        if options.certificate:
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(options.certificate))
        server.set_auth(auth)
    if not server.attach(None):
        sys.exit(f"cannot listen on port {options.port}")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
