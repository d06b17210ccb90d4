"""A live camera's address: what belongs to the camera, what is ours, and what may be shown.

Owns the options that every live source has, and telling them from a network camera's own parameters.
Refuses to know what a scheme does with them.

In an address of a network camera, our keys are taken out of the query and the rest goes to the camera. Where
the camera has a key of the same name, ours go behind ``#``, and the query is left as it is; a bare ``#`` does
that too.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from edgeyolo.camera.credentials import MASK, masked_values, split_login
from edgeyolo.errors import SourceOpenError

__all__ = ["FLIPS", "NETWORK", "STALL_TIMEOUT_S", "Address", "Backend", "Flip", "Options", "Transport"]

Flip = Literal["none", "cw", "180", "ccw", "h", "v"]
Transport = Literal["tcp", "udp"]
Backend = Literal["gstreamer", "opencv"]

FLIPS: tuple[Flip, ...] = ("none", "cw", "180", "ccw", "h", "v")
NETWORK = ("rtsp", "rtsps", "http", "https")
"""Schemes whose cameras have a host."""

# Ten times what a camera at 2 frames a second needs; one that reboots is away for longer anyway.
STALL_TIMEOUT_S = 5.0
"""Seconds without a picture after which a camera counts as failed, where nothing else is said."""

_CHOICES = {
    "flip": FLIPS,
    "transport": ("tcp", "udp"),
    "backend": ("gstreamer", "opencv"),
    "verify": ("1", "0"),
}
_WHOLE = {"width": (16, 16384), "height": (16, 16384), "latency": (0, 60_000)}
_MOST_FPS = 1000.0
_COMMON = ("width", "height", "fps", "flip", "backend", "decoder")
_KEYS = {
    "v4l2": _COMMON,
    "csi": ("width", "height", "fps", "flip", "backend"),
    "rtsp": (*_COMMON, "transport", "latency"),
    "rtsps": (*_COMMON, "transport", "latency", "verify"),
    "http": _COMMON,
    "https": (*_COMMON, "verify"),
}
_HINTS = {
    "flip": "cw is a quarter turn clockwise, ccw the other way, h swaps left and right, v top and bottom",
    "transport": "tcp loses nothing; udp is for networks where a late picture is worse than a broken one",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may ask of a live source; None is whatever the camera does by itself.

    Args:
        width: Pixels, before `flip`.
        height: Pixels, before `flip`.
        fps: Frames a second.
        flip: ``cw`` and ``ccw`` turn by a quarter, ``h`` and ``v`` mirror horizontally and vertically.
        backend: Forced; None takes GStreamer where it is.
        decoder: A GStreamer decoder by name; None probes them.
        transport: Of RTSP.
        latency: Milliseconds that RTSP waits for packets that are missing or out of order.
        verify: Whether the certificate of a camera is checked.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    flip: Flip = "none"
    backend: Backend | None = None
    decoder: str | None = None
    transport: Transport = "tcp"
    latency: int = 200
    verify: bool = True


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address, taken apart.

    Args:
        given: As the user wrote it, credentials and all: for `edgeyolo.camera.credentials.scrub` only.
        scheme: In lower case: a key of what `parse` knows.
        location: What is left for the camera, without credentials and without our options: a URL, a device
            or a number.
        name: Printable.
        options: Ours.
        user: Decoded.
        password: Decoded.
    """

    given: str
    scheme: str
    location: str
    name: str
    options: Options
    user: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, uri: str) -> Address:
        """Read an address of a live camera.

        Raises:
            SourceOpenError: It is malformed, or an option is unknown or out of its range.

        Examples:
            >>> address = Address.parse("rtsp://me:secret@cam:554/1?channel=2&width=640")
            >>> address.location, address.name, address.options.width
            ('rtsp://cam:554/1?channel=2', 'rtsp://cam:554/1?channel=2', 640)
            >>> Address.parse("http://cam/video?width=640#fps=5").location
            'http://cam/video?width=640'
        """
        where, _, query = uri.partition("?")
        scheme = where.partition(":")[0].lower()
        if scheme in NETWORK:
            return cls._of_network(uri, scheme)
        location = where.partition(":")[2].removeprefix("//")
        if where.isdecimal():
            scheme, location = "v4l2", f"/dev/video{where}"
        options = _options(scheme, _pairs(where, query), where)
        return cls(given=uri, scheme=scheme, location=location, name=where, options=options)

    @classmethod
    def _of_network(cls, uri: str, scheme: str) -> Address:
        without_login, user, password = split_login(uri)
        url, hash_sign, fragment = without_login.partition("#")
        host = _checked_host(url, scheme, fragment)
        bare, _, query = url.partition("?")
        rest = bare.partition("://")[2]
        path = rest[len(re.split("/", rest, maxsplit=1)[0]) :]
        known = _KEYS[scheme]
        shown = f"{scheme}://{host}{_shown(path)}"
        if hash_sign:
            ours = _pairs(shown, fragment)
        else:
            ours = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] in known]
            query = "&".join(p for p in query.split("&") if unquote(p.partition("=")[0]) not in known)
        return cls(
            given=uri,
            scheme=scheme,
            location=f"{scheme}://{rest}" + (f"?{query}" if query else ""),
            name=f"{shown}?{_shown(query)}" if query else shown,
            options=_options(scheme, ours, shown),
            user=None if user is None else unquote(user),
            password=None if password is None else unquote(password),
        )

    @property
    def host(self) -> str:
        """Host of a network camera."""
        return urlsplit(self.location).hostname or ""

    @property
    def port(self) -> int:
        """Port of a network camera, its scheme's own where none is given."""
        return (
            urlsplit(self.location).port or {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}[self.scheme]
        )


def _checked_host(url: str, scheme: str, fragment: str) -> str:
    """Give ``host`` or ``host:port``; what does not parse is not shown, for it may be half a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or re.search(r"[\s@]", host) or "@" in fragment:
        raise SourceOpenError(
            f"{scheme}://...: {scheme}://user:password@host:port/path expected, no host and port found",
            hint="/ ? # @ : and % in a user or password are written %2F %3F %23 %40 %3A %25",
        )
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port else host


def _shown(part: str) -> str:
    """Give a path or a query as it may be shown; what is before an ``@`` may be half a password."""
    return masked_values(re.sub(r".*@", f"{MASK}@", part, flags=re.DOTALL))


def _pairs(shown: str, text: str) -> list[tuple[str, str]]:
    """Read ``key=value&key=value`` of which every key must be ours."""
    if not text:
        return []
    try:
        return parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except ValueError as exc:
        raise SourceOpenError(f"{shown}: options: key=value&key=value expected") from exc


def _options(scheme: str, pairs: list[tuple[str, str]], shown: str) -> Options:
    known = _KEYS[scheme]
    values: dict[str, object] = {}
    for key, text in pairs:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise SourceOpenError(
                f"{shown}: one of the options {', '.join(known)} expected, another found",
                hint=f"did you mean {near[0]}?" if near else None,
            )
        if key in values:
            raise SourceOpenError(f"{shown}: {key} is given twice")
        values[key] = _value(shown, key, text)
    return Options(**values)  # type: ignore[arg-type]  # each value has the type of its key: see _value


def _value(shown: str, key: str, text: str) -> object:
    if key in _CHOICES:
        if text not in _CHOICES[key]:
            raise SourceOpenError(
                f"{shown}: {key}: one of {', '.join(_CHOICES[key])} expected, {text!r} found",
                hint=_HINTS.get(key),
            )
        return text == "1" if key == "verify" else text
    if key in _WHOLE:
        return int(_number(shown, key, text, *_WHOLE[key], pattern=r"\d{1,5}"))
    if key == "fps":
        return _number(shown, key, text, 0.1, _MOST_FPS, pattern=r"\d{1,4}(\.\d{1,6})?")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise SourceOpenError(f"{shown}: {key}: the name of a GStreamer element expected")
    return text


def _number(shown: str, key: str, text: str, low: float, high: float, *, pattern: str) -> float:
    if re.fullmatch(pattern, text, re.ASCII) and low <= float(text) <= high:
        return float(text)
    raise SourceOpenError(f"{shown}: {key}: a number from {low:g} to {high:g} expected, {text!r} found")
