"""What a network camera answers when it is asked once, for a library that keeps it to itself.

Owns one request over RTSP or HTTP and its status, logins included. Refuses to read pictures.

Source: RFC 2326 (DESCRIBE), RFC 7617 (Basic), RFC 2617 (Digest, which RTSP cameras use with MD5).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import urllib.error
import urllib.request

from edgeyolo.camera.address import Address
from edgeyolo.camera.reach import tls_context

__all__ = ["status_of"]

_MOST_BYTES = 16384
_UNAUTHORIZED = 401


def status_of(address: Address, *, timeout_s: float) -> int | None:
    """Ask a camera for its stream, and give the status that it answers.

    Args:
        address: Of a network camera.
        timeout_s: Seconds for each step.

    Returns:
        Such as 200, 401 or 404; None where there is no answer of this protocol.
    """
    try:
        if address.scheme.startswith("http"):
            return _http_status(address, timeout_s)
        return _rtsp_status(address, timeout_s)
    except (OSError, ValueError):  # no connection, or an answer that is none
        return None


def _http_status(address: Address, timeout_s: float) -> int:
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=tls_context(address))]
    if address.user is not None:
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, address.location, address.user, address.password or "")
        handlers += [
            urllib.request.HTTPBasicAuthHandler(passwords),
            urllib.request.HTTPDigestAuthHandler(passwords),
        ]
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(address.location, timeout=timeout_s) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with contextlib.closing(exc):
            return exc.code


def _rtsp_status(address: Address, timeout_s: float) -> int:
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(
            socket.create_connection((address.host, address.port), timeout=timeout_s)
        )
        if address.scheme == "rtsps":
            connection = stack.enter_context(
                tls_context(address).wrap_socket(connection, server_hostname=address.host)
            )
        status, head = _describe(connection, address, 1, "")
        if status == _UNAUTHORIZED and address.user is not None:
            status, _ = _describe(connection, address, 2, _authorization(address, head))
    return status


def _describe(connection: socket.socket, address: Address, number: int, more: str) -> tuple[int, str]:
    request = (
        f"DESCRIBE {address.location} RTSP/1.0\r\nCSeq: {number}\r\nAccept: application/sdp\r\n{more}\r\n"
    )
    connection.sendall(request.encode())
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _MOST_BYTES:
        piece = connection.recv(4096)
        if not piece:
            break
        data += piece
    head = data.decode("latin-1")
    found = re.match(r"RTSP/1\.\d (\d{3})", head)
    if found is None:
        raise ValueError("no answer of RTSP")
    return int(found[1]), head


def _authorization(address: Address, head: str) -> str:
    """Give the header for the strongest way that the camera offers."""
    user, password = address.user or "", address.password or ""
    digest = re.search(r"(?im)^WWW-Authenticate:\s*Digest\s+(.*)$", head)
    if digest is None:
        return f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}\r\n"
    given = dict(re.findall(r'(\w+)="([^"]*)"', digest[1]))
    realm, nonce = given.get("realm", ""), given.get("nonce", "")
    who, what = _md5(f"{user}:{realm}:{password}"), _md5(f"DESCRIBE:{address.location}")
    return (
        f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", '
        f'uri="{address.location}", response="{_md5(f"{who}:{nonce}:{what}")}"\r\n'
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
