"""Where the page is served: ``HOST:PORT``, its socket, and the names it may be asked by.

Owns the reading of ``--web``, the opened socket with its errors, and which ``Host`` and ``Origin`` are ours.
Refuses to know who may come in (``access``).
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgeyolo.errors import ConfigError

__all__ = ["Address", "Names", "bind", "is_loopback", "parse_address", "reachable_urls"]

_EXAMPLE = "--web 127.0.0.1:8080, or --web 0.0.0.0:8080 for other machines (then a token is asked for)"
_BACKLOG = 64


@dataclass(frozen=True)
class Address:
    """Host and port to serve at.

    Args:
        host: A name or an IP address.
        port: 0 lets the system choose.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``[IPV6]:PORT`` or a port alone, which is one of this machine only.

    Raises:
        ConfigError: It is none of them.

    Examples:
        >>> str(parse_address("8080")), str(parse_address("[::1]:80"))
        ('127.0.0.1:8080', '[::1]:80')
    """
    host, separator, port = text.rpartition(":")
    if not separator:
        host = "127.0.0.1"
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(
            f"--web {text}: an IPv6 address in brackets expected", hint=f"--web [{host}]:{port}"
        )
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f"--web {text}: HOST:PORT expected", hint=_EXAMPLE)
    return Address(host, int(port))


def bind(address: Address) -> socket.socket:
    """Open the listening socket.

    Raises:
        ConfigError: The port is in use or not allowed, or the host is none of this machine.
    """
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as exc:
        raise ConfigError(f"--web {address}: no such host: {exc.strerror or exc}", hint=_EXAMPLE) from exc
    # "localhost" is both; whoever types 127.0.0.1 must find it.
    family, kind, protocol, _, where = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except OSError as exc:
        listener.close()
        raise _bind_error(address, exc) from exc
    listener.setblocking(False)
    return listener


def _bind_error(address: Address, exc: OSError) -> ConfigError:
    other = Address(address.host, min(address.port + 1, 65535) if address.port >= 1024 else 8080)
    if exc.errno == errno.EADDRINUSE:
        return ConfigError(
            f"--web {address}: the port is in use",
            hint=f"--web {other}, or find who has it: ss -ltnp 'sport = :{address.port}'",
        )
    if exc.errno == errno.EACCES:
        return ConfigError(f"--web {address}: ports below 1024 need root", hint=f"--web {other}")
    if exc.errno == errno.EADDRNOTAVAIL:
        return ConfigError(f"--web {address}: not an address of this machine", hint=_EXAMPLE)
    return ConfigError(f"--web {address}: {exc.strerror or exc}", hint=_EXAMPLE)


def is_loopback(listener: socket.socket) -> bool:
    """Tell whether only this machine can reach a socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def reachable_urls(listener: socket.socket) -> list[str]:
    """Give the addresses by which a browser reaches a socket.

    A socket of every interface is reached by this machine's name, and by the address of its way out.
    """
    host, port = listener.getsockname()[:2]
    if not ipaddress.ip_address(host).is_unspecified:
        return [f"http://{Address(host, port)}"]
    hosts = [f"{socket.gethostname()}.local" if "." not in socket.gethostname() else socket.gethostname()]
    # Connecting a datagram socket sends nothing; it asks the routing table. Source: RFC 5737, TEST-NET-1.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        hosts.insert(0, probe.getsockname()[0])
    return [f"http://{Address(name, port)}" for name in hosts]


class Names:
    """The names that a request may ask us by, and the origins that may act on us.

    A page of another site can point its own name at 127.0.0.1 (DNS rebinding); its requests then carry that
    name. IP addresses cannot be pointed elsewhere, so any is taken.

    Args:
        more: Further host names, such as that of a reverse proxy.

    Raises:
        ConfigError: One of them is no name.

    Examples:
        >>> names = Names(["cam.example.org"])
        >>> [names.serves(h) for h in ("localhost:80", "10.0.0.7:80", "[::1]", "evil.example", "")]
        [True, True, True, False, False]
        >>> names.may_act("http://10.0.0.7:80", host="10.0.0.7:80")
        True
        >>> names.may_act("http://10.0.0.8:80", host="10.0.0.7:80"), names.may_act("null", host="x")
        (False, False)
        >>> names.may_act("https://cam.example.org", host="127.0.0.1:8080")
        True
    """

    def __init__(self, more: Iterable[str] = ()) -> None:
        more = tuple(more)
        for name in more:
            if _host_name(name) != name.lower():
                raise ConfigError(
                    f"--web-host {name}: a name alone expected, such as cam.example.org",
                    hint="without http:// and without a port",
                )
        own = socket.gethostname().lower()
        self._more = frozenset(name.lower() for name in more)
        self._names = self._more | {"localhost", own, f"{own}.local"}

    def serves(self, host: str) -> bool:
        """Tell whether a ``Host`` header names us."""
        name = _host_name(host)
        return name is not None and (name in self._names or _is_ip(name))

    def may_act(self, origin: str, *, host: str) -> bool:
        """Tell whether a page of this ``Origin`` is ours: the host that was asked, or one the user named."""
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https"):
            return False
        return parts.netloc.lower() == host.lower() or _host_name(parts.netloc) in self._more


def _host_name(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        valid = bool(parts.hostname) and parts.netloc == host and "@" not in host and (parts.port or True)
    except ValueError:
        return None
    return parts.hostname if valid else None


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
