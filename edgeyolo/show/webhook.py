"""Events to a web address: one POST of JSON an event, on a thread of its own.

Owns what is sent again and what is given up. A receiver that is not there, or does not answer in time, gets
the latest `_WAITING` events when it is back; the older ones are dropped. One that answers with a fault of its
own (5xx, 429) is asked `_ATTEMPTS` times for the event; one that refuses it (4xx) is not asked again. An
event may come twice; ``X-EdgeYOLO-Delivery`` is the same then.

Follows no redirect: the body, its signature and the credentials are for the address that was given. Of that,
only scheme, host and port are ever shown, because many a path is a secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import logging
import ssl
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from edgeyolo import __version__
from edgeyolo.errors import ConfigError
from edgeyolo.frames import Result
from edgeyolo.optional import require
from edgeyolo.show.outbox import Outbox
from edgeyolo.show.result_json import event_values, json_text
from edgeyolo.vision.draw import Painter

__all__ = ["WebhookAddress", "WebhookSink", "webhook_address"]

_log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
_WAITING = 256
_ATTEMPTS = 5
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 60.0
_DRAIN_S = 30.0  # where a file ended and nobody waits
_CLOSE_S = 0.5  # with the other sinks, a run ends within 2 s of a signal
_BUSY = frozenset({408, 425, 429})  # not now, rather than not this
_PICTURE_WIDTH = 640
_PICTURE_QUALITY = 80


@dataclass(frozen=True, kw_only=True)
class WebhookAddress:
    """Where events are posted to.

    Args:
        tls: Whether it is https.
        host: Name or address.
        port: TCP port.
        target: Path and query.
        headers: What the credentials of the address become.
    """

    tls: bool
    host: str
    port: int
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"


def webhook_address(text: str) -> WebhookAddress:
    """Read an address.

    Raises:
        ConfigError: It is none; the message shows nothing of it but the scheme.

    Examples:
        >>> str(webhook_address("https://me:secret@hooks.example.com/T0/secret?key=secret"))
        'https://hooks.example.com:443'
    """
    hint = "--webhook https://HOST[:PORT]/PATH"
    try:
        parts = urlsplit(text)
        port = parts.port
        (parts.hostname or "").encode("idna")  # what a connection makes of it
    except ValueError:  # whose text may have the password
        raise ConfigError("--webhook: a port from 1 to 65535 and a host expected", hint=hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        found = parts.scheme or "no scheme"
        raise ConfigError(f"--webhook: http:// or https:// and a host expected, {found}:// found", hint=hint)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if any(ord(char) <= 32 or ord(char) > 126 for char in target):
        raise ConfigError("--webhook: an encoded path expected: %20 for a space", hint=hint)
    headers = {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = (
            f"Basic {base64.b64encode(login.encode(errors='surrogateescape')).decode()}"
        )
    tls = parts.scheme == "https"
    return WebhookAddress(
        tls=tls, host=parts.hostname, port=port or (443 if tls else 80), target=target, headers=headers
    )


class _Delivery(NamedTuple):
    body: bytes
    headers: dict[str, str]


class _Answer(NamedTuple):
    status: int | None
    said: str


class WebhookSink:
    """A `edgeyolo.frames.Sink` that posts events; it never waits for the receiver.

    Args:
        address: The receiver.
        names: Class names; the index is the class id.
        hurry: Whether the run must end now; until then `close` waits for a receiver that answers.
        secret: Signs each body: ``X-EdgeYOLO-Signature: sha256=HEX`` is its HMAC.
        pictures: Whether an event has its annotated picture: ``"picture"``, a JPEG in base64.
    """

    wants_picture = False

    def __init__(
        self,
        address: WebhookAddress,
        names: Sequence[str],
        *,
        hurry: Callable[[], bool] = lambda: True,
        secret: bytes | None = None,
        pictures: bool = False,
    ) -> None:
        self._address = address
        self._hurry = hurry
        self._secret = secret
        self._painter = Painter(names) if pictures else None
        self._tls = ssl.create_default_context() if address.tls else None
        self._refused = 0
        self._told_away = False
        self._outbox = Outbox(self._deliver, name="webhook", size=_WAITING, when_full="drop_oldest")

    @property
    def dropped(self) -> int:
        """Events that were given up."""
        return self._outbox.dropped + self._refused

    @property
    def notes(self) -> tuple[str, ...]:
        """How much was dropped."""
        return (f"{self._address}: {self.dropped} events were given up",) if self.dropped else ()

    def write(self, result: Result) -> None:
        """Leave the events of a result to be posted."""
        if not result.events:
            return
        picture = {} if self._painter is None else {"picture": _jpeg_base64(result, self._painter)}
        for event in result.events:
            body = json_text({**event_values(event), "source": result.frame.source, **picture}).encode()
            self._outbox.put(_Delivery(body, self._headers(body)))

    def close(self) -> None:
        """Post what waits, as far as there is time; twice is harmless."""
        if self._outbox.closing:
            return
        self._outbox.drain(lambda: self._told_away or self._hurry(), _DRAIN_S)
        if not self._outbox.close(_CLOSE_S):
            _log.warning("%s: does not answer; events are lost", self._address)

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"edgeyolo/{__version__}",
            "X-EdgeYOLO-Delivery": str(uuid.uuid4()),
            **self._address.headers,
        }
        if self._secret is not None:
            headers["X-EdgeYOLO-Signature"] = (
                f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}"
            )
        return headers

    # --- the outbox's thread -------------------------------------------------------------------------------

    def _deliver(self, delivery: _Delivery) -> None:
        wait_s, attempts = _FIRST_RETRY_S, 0
        while True:
            answer = self._post(delivery)
            if answer.status is not None and 200 <= answer.status < 300:
                self._say_back()
                return
            attempts += answer.status is not None
            asks_again = answer.status is None or answer.status >= 500 or answer.status in _BUSY
            if not asks_again or attempts >= _ATTEMPTS or self._outbox.closing:
                self._give_up(answer)
                return
            if answer.status is None:
                self._say_away(answer)
            self._outbox.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_RETRY_S)

    def _post(self, delivery: _Delivery) -> _Answer:
        host, port = self._address.host, self._address.port
        if self._tls is None:
            connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        else:
            connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=self._tls)
        try:
            connection.request("POST", self._address.target, delivery.body, delivery.headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as exc:
            return _Answer(None, str(exc) or type(exc).__name__)
        finally:
            connection.close()
        if 300 <= response.status < 400:
            return _Answer(response.status, f"{response.status}, a redirect, which is not followed")
        return _Answer(response.status, f"{response.status} {response.reason}")

    def _give_up(self, answer: _Answer) -> None:
        self._refused += 1
        if self._refused == 1:
            _log.warning("%s: an event is given up: %s; others are counted", self._address, answer.said)

    def _say_away(self, answer: _Answer) -> None:
        if not self._told_away:
            self._told_away = True
            _log.warning("%s: %s; up to %d events wait for it", self._address, answer.said, _WAITING)

    def _say_back(self) -> None:
        if self._told_away:
            self._told_away = False
            _log.warning("%s: answers again; %d events were given up", self._address, self.dropped)


def _jpeg_base64(result: Result, painter: Painter) -> str:
    """Encode the annotated picture once for all events of a frame, small enough for a message."""
    cv2 = require("cv2", why="for pictures of events")
    picture = result.frame.image_bgr.copy()
    painter.draw(picture, result.output)
    height, width = picture.shape[:2]
    if width > _PICTURE_WIDTH:
        size_wh = (_PICTURE_WIDTH, max(1, round(height * _PICTURE_WIDTH / width)))
        picture = cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _PICTURE_QUALITY])[1]
    return base64.b64encode(jpeg.tobytes()).decode()
