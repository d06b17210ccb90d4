"""Addresses of live cameras: what is the camera's and what is ours."""

from __future__ import annotations

import pytest

from edgeyolo.camera.address import Address, Options
from edgeyolo.errors import SourceOpenError


@pytest.mark.parametrize(
    ("uri", "location", "options"),
    [
        ("rtsp://cam/1?channel=2&subtype=0", "rtsp://cam/1?channel=2&subtype=0", Options()),
        ("rtsp://cam/1?channel=2&width=640&flip=cw", "rtsp://cam/1?channel=2", Options(width=640, flip="cw")),
        ("rtsp://cam/1?transport=udp&latency=50", "rtsp://cam/1", Options(transport="udp", latency=50)),
        ("RTSP://cam/1?fps=5", "rtsp://cam/1", Options(fps=5.0)),
        ("http://cam/v.cgi?fps=15#", "http://cam/v.cgi?fps=15", Options()),
        ("http://cam/v.cgi?fps=15#fps=5", "http://cam/v.cgi?fps=15", Options(fps=5.0)),
        ("http://cam/v?a=%26b%3D&x", "http://cam/v?a=%26b%3D&x", Options()),
        ("https://me:p%40ss@[fd00::1]:8443/v?verify=0", "https://[fd00::1]:8443/v", Options(verify=False)),
        ("0", "/dev/video0", Options()),
        ("2?width=640&height=480&fps=29.97", "/dev/video2", Options(width=640, height=480, fps=29.97)),
        ("v4l2:///dev/video1?backend=opencv", "/dev/video1", Options(backend="opencv")),
        ("csi://1?flip=180&fps=60", "1", Options(flip="180", fps=60.0)),
    ],
)
def test_what_is_whose(uri: str, location: str, options: Options) -> None:
    address = Address.parse(uri)
    assert (address.location, address.options) == (location, options)


@pytest.mark.parametrize(
    ("uri", "host", "port", "login"),
    [
        ("rtsp://cam/1", "cam", 554, (None, None)),
        ("rtsps://me@cam/1", "cam", 322, ("me", None)),
        ("https://me:@cam", "cam", 443, ("me", "")),
        ("http://m%C3%A9:p%3A%2F%40@10.0.0.3:8080/v", "10.0.0.3", 8080, ("mé", "p:/@")),
        ("rtsp://me:a@b@cam/1", "cam", 554, ("me", "a@b")),
        ("rtsp://[::1]:8554/1", "::1", 8554, (None, None)),
    ],
)
def test_host_and_login(uri: str, host: str, port: int, login: tuple[str | None, str | None]) -> None:
    address = Address.parse(uri)
    assert (address.host, address.port, (address.user, address.password)) == (host, port, login)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("0?flip=3", "flip: one of none, cw, 180, ccw, h, v expected, '3' found"),
        ("0?width=640.5", "width: a number from 16 to 16384 expected, '640.5' found"),
        ("0?width=8", "width: a number from 16 to 16384"),
        ("0?fps=0", "fps: a number from 0.1 to 1000"),
        ("0?fps=1e3", "fps: a number from"),
        ("0?width=1&width=2", "width: a number"),
        ("0?width=640&width=640", "width is given twice"),
        ("0?transport=udp", "one of the options width, height, fps, flip, backend, decoder expected"),
        ("csi://0?decoder=x", "one of the options width"),
        ("http://cam/#width", "options: key=value&key=value expected"),
        ("http://cam/#colour=1", "one of the options"),
        ("http://cam/?transport=udp#transport=udp", "one of the options"),
        ("rtsp://cam/?decoder=a b", "decoder: the name of a GStreamer element"),
        ("rtsp://cam:port/", "rtsp://user:password@host:port/path expected"),
        ("rtsp:///1", "rtsp://user:password@host:port/path expected"),
        ("rtsp://cam:99999/", "rtsp://user:password@host:port/path expected"),
        ("http:", "http://user:password@host:port/path expected"),
    ],
)
def test_a_wrong_address_is_refused_with_its_reason(uri: str, says: str) -> None:
    with pytest.raises(SourceOpenError) as raised:
        Address.parse(uri)
    assert says in raised.value.message


def test_a_misspelt_option_has_a_proposal() -> None:
    with pytest.raises(SourceOpenError) as raised:
        Address.parse("0?widht=640")
    assert raised.value.hint == "did you mean width?"
