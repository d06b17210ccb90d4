"""Where MQTT messages go: ``mqtt://[USER:PASSWORD@]HOST[:PORT][/PREFIX][?rate=N&ca=FILE]``.

Owns reading the address strictly, and its form without credentials, which is the only one that is ever shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from edgeyolo.errors import ConfigError

__all__ = ["MqttAddress", "mqtt_address"]

_FORM = "mqtt://[USER:PASSWORD@]HOST[:PORT][/PREFIX][?rate=N&ca=FILE], or mqtts:// for TLS"
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_PREFIX = "edgeyolo"


@dataclass(frozen=True, kw_only=True)
class MqttAddress:
    """A broker, and what goes to it.

    Args:
        host: Name or address.
        port: TCP port.
        prefix: What every topic begins with, without a slash at its end.
        tls: Whether the connection is encrypted, and the broker's certificate checked.
        ca: File of the authority that signed it; None is those that the system trusts.
        rate: Most detections messages a second of each camera; None is one a frame.
        user: Name to log in with.
        password: Its password.
    """

    host: str
    port: int
    prefix: str = _PREFIX
    tls: bool = False
    ca: Path | None = None
    rate: float | None = None
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.tls else ''}://{host}:{self.port}/{self.prefix}"


def mqtt_address(text: str) -> MqttAddress:
    """Read an address.

    Raises:
        ConfigError: It is none; the message shows nothing in front of an ``@``.

    Examples:
        >>> address = mqtt_address("mqtts://me:p%40ss@broker.local/shop/door?rate=5")
        >>> str(address), address.rate, address.password
        ('mqtts://broker.local:8883/shop/door', 5.0, 'p@ss')
        >>> mqtt_address("http://me:secret@broker")
        Traceback (most recent call last):
        ...
        edgeyolo.errors.ConfigError: --mqtt: mqtt:// or mqtts:// expected, http:// found
    """
    if "#" in text:
        raise _error("no '#' expected; one in a password is %23")
    try:
        parts = urlsplit(text)
        port = parts.port
        (parts.hostname or "").encode("idna")  # what a connection makes of it
    except ValueError:  # whose text may have the password
        raise _error("a port from 1 to 65535 and a well-formed host expected") from None
    if parts.scheme not in _PORTS:
        raise _error(f"mqtt:// or mqtts:// expected, {parts.scheme or 'no scheme'}:// found")
    if not parts.hostname or port == 0:
        raise _error("a host, and a port that is not 0, expected")
    if parts.password and not parts.username:
        raise _error("a user before the password expected")
    options = _options(parts)
    ca = options.get("ca")
    if ca is not None and (parts.scheme != "mqtts" or not Path(ca).is_file()):
        raise _error(f"ca={ca}: mqtts:// and a file that is there expected")
    return MqttAddress(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        prefix=_prefix(parts.path),
        tls=parts.scheme == "mqtts",
        ca=None if ca is None else Path(ca),
        rate=_rate(options.get("rate")),
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def _options(parts: SplitResult) -> dict[str, str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as exc:
        raise _error("?rate=N&ca=FILE expected after the prefix") from exc
    for key, _ in pairs:
        if key not in ("rate", "ca"):
            raise _error(f"?rate=N or ?ca=FILE expected, {key!r} found")
    return dict(pairs)


def _prefix(path: str) -> str:
    prefix = unquote(path).strip("/")
    if any(char in prefix for char in "+#\0") or prefix.startswith("$"):
        raise _error(f"a prefix without +, # and a leading $ expected, {prefix!r} found")
    return prefix or _PREFIX


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.001 <= rate <= 1000:
        raise _error(f"rate=N: 0.001 to 1000 messages a second expected, {text!r} found")
    return rate


def _error(text: str) -> ConfigError:
    return ConfigError(f"--mqtt: {text}", hint=f"--mqtt {_FORM}")
