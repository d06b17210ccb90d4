"""No password in any text: the one function that takes credentials out of it.

Owns what counts as a secret in an address: user and password, whatever is called token, key, auth and the
like in the query or the path, and long values that look drawn by lot. Foreign libraries put addresses into
their messages; every such message goes through `scrub`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus

__all__ = ["MASK", "masked_values", "scrub", "split_login"]

MASK = "***"

# Names of parameters whose value lets one in. Some cameras have them in the path: /user=a_password=b.sdp
_SECRET_NAME = (
    r"[\w.\-\[\]%]*(?:token|pass|pw|psw|auth|secret|key|sig|session|sid|jwt|code|user|usr|login|account|cred)"
    r"[\w.\-\[\]%]*"
)
_SECRET_VALUE = re.compile(rf"(?i)({_SECRET_NAME})(=|%3[Dd])([^&;\s\"'<>#]+)")
_LONG_VALUE = re.compile(r"(=)(?!/)([A-Za-z0-9+/_\-.~%]{20,})")
_LOGIN = re.compile(r"(?i)([a-z][a-z0-9+.\-]*:/{2,})\S*@")
_HEADER = re.compile(r"(?i)(authorization\W+(?:basic|digest|bearer)\s+).*")
# A shorter secret is a part of ordinary words; it is replaced only where it stands alone.
_SHORT = 4


def scrub(text: str, *addresses: str) -> str:
    """Take credentials out of a text.

    Args:
        text: Any text, such as the message of a foreign library.
        addresses: Addresses as the user gave them; their credentials are found wherever they are in the
            text, plain, percent-encoded or as the header of HTTP's basic authentication.

    Returns:
        The text with `MASK` in their place.

    Examples:
        >>> scrub("no route to rtsp://me:pa55@cam/1?token=abc&channel=1")
        'no route to rtsp://***@cam/1?token=***&channel=1'
        >>> scrub("login 'me' with 'pa 55' failed", "rtsp://me:pa%2055@cam/1")
        "login '***' with '***' failed"
    """
    secrets = {form for address in addresses for form in _forms_of(address)}
    for secret, alone in sorted(secrets, key=lambda pair: -len(pair[0])):
        text = _without(text, secret, alone=alone)
    text = _HEADER.sub(rf"\g<1>{MASK}", _LOGIN.sub(rf"\g<1>{MASK}@", text))
    return masked_values(text)


def masked_values(text: str) -> str:
    """Mask what a path or a query gives as a secret, by its name or by its length.

    Examples:
        >>> masked_values("/cam?channel=1&apiKey=x")
        '/cam?channel=1&apiKey=***'
        >>> masked_values("/user=admin_password=x_channel=1.sdp")
        '/user=***'
    """
    return _LONG_VALUE.sub(rf"\g<1>{MASK}", _SECRET_VALUE.sub(rf"\g<1>\g<2>{MASK}", text))


def split_login(address: str) -> tuple[str, str | None, str | None]:
    """Split user and password off an address, still as they were written.

    Returns:
        The address without them, the user, the password; None for what is not there.

    Examples:
        >>> split_login("rtsp://me:p%40ss@cam/1")
        ('rtsp://cam/1', 'me', 'p%40ss')
        >>> split_login("http://cam/a@b")
        ('http://cam/a@b', None, None)
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address, None, None
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, _ = authority.rpartition("@")
    if not at:
        return address, None, None
    user, colon, password = login.partition(":")
    return f"{scheme}://{rest[len(login) + 1 :]}", user, password if colon else None


def _forms_of(address: str) -> Iterator[tuple[str, bool]]:
    """Give every spelling of every secret in an address, and whether it counts only where it stands alone."""
    rest, user, password = split_login(address)
    if password:
        yield from ((form, len(form) < _SHORT) for form in _spellings(password))
        for name in _spellings(user or ""):
            for word in _spellings(password):
                yield base64.b64encode(f"{name}:{word}".encode()).decode(), False
    if user:
        yield from ((form, True) for form in _spellings(user))
    for pattern in (_SECRET_VALUE, _LONG_VALUE):
        for found in pattern.finditer(rest):
            yield from ((form, len(form) < _SHORT) for form in _spellings(found[found.re.groups]))
    for name, value in parse_qsl(re.split(r"[?#]", rest, maxsplit=1)[-1]):
        if re.fullmatch(_SECRET_NAME, name, re.IGNORECASE):
            yield from ((form, len(form) < _SHORT) for form in _spellings(value))


def _spellings(written: str) -> set[str]:
    plain = {written, unquote(written), unquote_plus(written)}
    encoded = {form for text in plain for form in (quote(text), quote(text, safe=""), quote_plus(text))}
    lower = {re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), text) for text in encoded}
    return {text for text in plain | encoded | lower if text}


def _without(text: str, secret: str, *, alone: bool) -> str:
    if not alone:
        return text.replace(secret, MASK)
    return re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", MASK, text)
