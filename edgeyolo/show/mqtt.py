"""Results to an MQTT broker: detections, events, and whether the run is there.

    PREFIX/CAMERA/detections   the JSON line of a frame, without its events
    PREFIX/CAMERA/events       an event
    PREFIX/status              "online" or "offline", retained; the broker's last will says the latter

Owns the topics, the queue while the broker is away, and what is dropped from it. Everything goes with QoS 1:
the broker has acknowledged what counts as sent, so that the count of the dropped is true. After a broken
connection a message may come twice; ``frame`` tells. paho keeps the connection, on its own thread.

Memory stays flat whatever the broker does: at most `_IN_FLIGHT` messages are with paho, and `_WAITING` events
and as many detections wait here, of which the oldest are given up. Events go first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, NamedTuple

from edgeyolo.errors import ConfigError
from edgeyolo.frames import Result
from edgeyolo.optional import require
from edgeyolo.show.mqtt_address import MqttAddress
from edgeyolo.show.result_json import event_values, json_text, result_values

__all__ = ["MqttSink"]

_log = logging.getLogger(__name__)

_QOS = 1
_IN_FLIGHT = 20
_WAITING = 1000
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1, 60
_KEEP_ALIVE_S = 30  # a broker that says nothing for so long is gone
_DRAIN_S = 30.0  # where a file ended and nobody waits
_CLOSE_S = 0.4  # with the other sinks, a run ends within 2 s of a signal
_LEAVE_S = 0.2
_LOOK_EVERY_S = 0.05


class _Message(NamedTuple):
    topic: str
    payload: str


class MqttSink:
    """A `edgeyolo.frames.Sink` that publishes results; it never waits for the broker.

    Args:
        address: The broker; one that is not there is tried again for ever, after 1 s and up to 60 s.
        names: Class names; the index is the class id.
        live: Cameras whose messages say how old the result is.
        hurry: Whether the run must end now; until then `close` waits for a broker that is there.

    Raises:
        MissingDependencyError: paho-mqtt is not here.
        ConfigError: The file of the certificate authority is none.
    """

    wants_picture = False

    def __init__(
        self,
        address: MqttAddress,
        names: tuple[str, ...],
        *,
        live: Collection[str] = (),
        hurry: Callable[[], bool] = lambda: True,
    ) -> None:
        self._address = address
        self._names = names
        self._live = frozenset(live)
        self._hurry = hurry
        self._due_s: dict[str, float] = {}
        self._events: deque[_Message] = deque()
        self._detections: deque[_Message] = deque()
        self._changed = threading.Condition()
        self._connected = self._closing = False
        self._told_away = False
        self._in_flight = 0
        self.dropped = 0
        self._client = self._new_client()
        self._client.connect_async(address.host, address.port, keepalive=_KEEP_ALIVE_S)
        self._client.loop_start()
        self._sender = threading.Thread(target=self._send, name="edgeyolo-mqtt", daemon=True)
        self._sender.start()

    @property
    def notes(self) -> tuple[str, ...]:
        """How much was dropped."""
        return (f"{self._address}: {self.dropped} messages were dropped",) if self.dropped else ()

    def write(self, result: Result) -> None:
        """Leave a result and its events to be published."""
        camera = result.frame.camera
        with self._changed:
            for event in result.events:
                self._queue(
                    self._events, _Message(self._topic(camera, "events"), json_text(event_values(event)))
                )
            if self._is_due(camera):
                values = result_values(result, self._names, with_camera=True, with_age=camera in self._live)
                values.pop("events", None)
                self._queue(self._detections, _Message(self._topic(camera, "detections"), json_text(values)))
            self._changed.notify_all()

    def close(self) -> None:
        """Publish what waits, as far as there is time, and say goodbye; twice is harmless."""
        with self._changed:
            if self._closing:
                return
            begun_s = time.monotonic()
            while self._left() and not self._told_away:
                if time.monotonic() - begun_s > (_CLOSE_S if self._hurry() else _DRAIN_S):
                    break
                self._changed.wait(_LOOK_EVERY_S)
            self._closing = True
            self.dropped += self._left()
            self._changed.notify_all()
        self._sender.join()
        if self._connected:
            goodbye = self._client.publish(f"{self._address.prefix}/status", "offline", qos=_QOS, retain=True)
            with suppress(RuntimeError, ValueError):  # the connection broke just now
                goodbye.wait_for_publish(_LEAVE_S)
        self._client.disconnect()
        # Joins paho's thread, which may be in a name server or a handshake: it is left to itself then.
        stopper = threading.Thread(target=self._client.loop_stop, name="edgeyolo-mqtt-stop", daemon=True)
        stopper.start()
        stopper.join(_LEAVE_S)

    def _left(self) -> int:
        return len(self._events) + len(self._detections) + self._in_flight

    def _topic(self, camera: str, kind: str) -> str:
        return f"{self._address.prefix}/{camera}/{kind}"

    def _queue(self, waiting: deque[_Message], message: _Message) -> None:
        if len(waiting) >= _WAITING:
            waiting.popleft()
            self.dropped += 1
            if self.dropped == 1:
                _log.warning(
                    "%s: more than %d messages wait; the oldest are dropped", self._address, _WAITING
                )
        waiting.append(message)

    def _is_due(self, camera: str) -> bool:
        if self._address.rate is None:
            return True
        now, every_s = time.monotonic(), 1 / self._address.rate
        due = self._due_s.get(camera, now)
        if now < due:
            return False
        # One that comes late does not delay those after it, unless it comes very late.
        self._due_s[camera] = max(due, now - every_s) + every_s
        return True

    # --- this sink's thread --------------------------------------------------------------------------------

    def _send(self) -> None:
        while (message := self._next()) is not None:
            # Outside the lock: paho calls us back under locks of its own.
            self._client.publish(message.topic, message.payload, qos=_QOS)

    def _next(self) -> _Message | None:
        def ready() -> bool:
            waits = bool(self._events or self._detections)
            return self._closing or (waits and self._connected and self._in_flight < _IN_FLIGHT)

        with self._changed:
            self._changed.wait_for(ready)
            if self._closing:
                return None
            self._in_flight += 1
            return (self._events or self._detections).popleft()

    # --- paho's thread -------------------------------------------------------------------------------------

    def _new_client(self) -> Any:
        mqtt = require("paho.mqtt.client", why="for --mqtt")
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if self._address.user is not None:
            client.username_pw_set(self._address.user, self._address.password)
        if self._address.tls:
            try:
                client.tls_set(ca_certs=None if self._address.ca is None else str(self._address.ca))
            except OSError as exc:
                raise ConfigError(f"--mqtt: ca={self._address.ca}: no certificates in it: {exc}") from exc
        client.will_set(f"{self._address.prefix}/status", "offline", qos=_QOS, retain=True)
        client.reconnect_delay_set(_FIRST_RETRY_S, _LONGEST_RETRY_S)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._say_away(f"refused: {reason}")
            return
        client.publish(f"{self._address.prefix}/status", "online", qos=_QOS, retain=True)
        with self._changed:
            self._connected = True
            self._in_flight += 1  # the word above
            self._changed.notify_all()
        if self._told_away:
            self._told_away = False
            _log.warning("%s: connected", self._address)

    def _on_connect_fail(self, client: Any, userdata: Any) -> None:
        self._say_away(
            "not reachable, or its certificate is not trusted" if self._address.tls else "not reachable"
        )

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._changed:
            self._connected = False
            self._changed.notify_all()
        if not self._closing:
            self._say_away(f"disconnected: {reason}")

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def _say_away(self, reason: str) -> None:
        if not self._told_away:
            self._told_away = True
            _log.warning("%s: %s; up to %d messages of a kind wait for it", self._address, reason, _WAITING)
